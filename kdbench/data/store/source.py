"""Where a data set's recordings are: a folder of files, a packed copy, or a generator."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.data.card import Card
from kdbench.data.readers.base import Reader, grid, holds
from kdbench.data.store import packed
from kdbench.data.store.skeleton import SkeletonReader
from kdbench.errors import DataError, UsageError, unknown
from kdbench.registry import registry
from kdbench.util import paths

AUTO = "auto"


@dataclass(frozen=True)
class Source:
    """Recordings that can be read.

    Attributes:
        reader: Reads them.
        root: The folder that they are in; None where they are generated.
        views: The video views that are there, the preferred one first.
        packed: How a packed copy was coded (see `kdbench.data.store.pack`); None for recordings themselves.
    """

    reader: Reader
    root: Path | None
    views: tuple[str, ...]
    packed: Mapping[str, Any] | None = None

    @property
    def card(self) -> Card:
        """The data set's card."""
        return self.reader.card

    @property
    def typed(self) -> str:
        """What a command is given for these recordings: data set, and data folder where that is not searched."""
        if self.root is None or self.root.parent in paths.data_dirs() or self.root == beside(self.card):
            return self.card.typed
        return f"{self.card.typed} --data-dir {shlex.quote(str(self.root.parent))}"

    @property
    def place(self) -> str:
        """The folder, or `generated`."""
        return "generated" if self.root is None else str(self.root)


def find(card: Card, data_dir: Path | None = None, options: Mapping[str, Any] | None = None) -> Source | None:
    """Looks for the recordings in every data folder.

    Args:
        card: The data set's card.
        data_dir: What the user gave as `--data-dir`.
        options: Changes of the card's options.

    Returns:
        The first place that holds a packed copy or at least one of the card's folders, else what an installed package
        ships; None where there is none.

    Raises:
        UsageError: `data_dir` is no folder, or an option is unknown.
    """
    if data_dir is not None and not data_dir.expanduser().is_dir():
        raise UsageError(
            f"the data folder {data_dir} does not exist", hint=f"Give the folder that holds {card.places[-1]}/"
        )
    reader: type[Reader] = registry("dataset").get(card.reader)
    if reader.generated:
        return Source(reader(card, None, options), None, tuple(card.views))
    for root in searched(card, data_dir):
        if (root / packed.FILE).is_file():
            copy = packed.PackedReader(card, root, options)
            return Source(copy, root, copy.views, copy.coding)
        if (views := reader.found(card, root)) is not None:
            return Source(reader(card, root, options), root, views)
    shipped = reader.shipped()
    return (
        None if shipped is None else Source(reader(card, shipped, options), shipped, reader.found(card, shipped) or ())
    )


def searched(card: Card, data_dir: Path | None = None) -> list[Path]:
    """Where recordings are looked for, in this order.

    Args:
        card: The data set's card.
        data_dir: As for `find`.
    """
    named = [folder / name for folder in paths.data_dirs(data_dir) for name in card.places]
    own = beside(card)
    if own is None:
        return named
    # What lies beside the card is what it describes, unless the user names another place.
    return [own, *named] if data_dir is None else [*named, own]


def beside(card: Card) -> Path | None:
    """The folder of recordings that a card names, seen from itself; None where it names none."""
    if card.files is None or card.files.folder is None:
        return None
    return (card.folder / card.files.folder).resolve()


def of_skeleton(recordings: Source, name: str) -> Source:
    """The same recordings with the joints of one skeleton for all that is in them.

    Args:
        recordings: The data set's.
        name: The skeleton.

    Raises:
        UsageError: The data set has no such skeleton.
        DataError: They are a packed copy, which holds sensors and video alone; or no joints are there.
    """
    reader = SkeletonReader(recordings.reader, name)
    if recordings.packed is not None:
        raise DataError(
            f"the packed copy {recordings.root} holds sensors and video, and the joints of the {name} are asked for",
            hint=where_to_get(recordings.card),
        )
    template = recordings.card.skeletons[name].file
    if recordings.root is not None and template is not None and not holds(recordings.root, template):
        raise DataError(
            f"the joints of the {name} of '{recordings.card.name}' are not there", hint=where_to_get(recordings.card)
        )
    return Source(reader, recordings.root, ())


def choose_view(card: Card, there: tuple[str, ...], asked: str | None) -> tuple[str | None, str]:
    """Decides which video view a run sees.

    Args:
        card: The data set's card.
        there: The views that are there.
        asked: A view's name, `auto` for the first of the card's views that is there, or None for no video.

    Returns:
        The view and why: `asked`, `default`, `rgb not there` (naming what would have been preferred), `not needed`;
        or None for a data set that never had video.

    Raises:
        UsageError: The data set has no such view.
        DataError: The view is not there.
    """
    if asked is None:
        return None, "not needed"
    if asked == AUTO and not card.views:
        return None, "it has no video"
    if asked != AUTO:
        if not card.views:
            raise UsageError(
                f"'{card.name}' has no video, and the view '{asked}' was asked for",
                hint=f"Leave the view out. See what it has: kdbench describe {card.typed}",
            )
        if asked not in card.views:
            raise unknown(
                "video view",
                asked,
                card.views,
                of=f"data set '{card.name}'",
                hint="Leave --video out for the first that is there.",
            )
        if asked not in there:
            others = f" ({', '.join(there)} is)" if there else ""
            raise DataError(f"the {asked} video of '{card.name}' is not there{others}", hint=where_to_get(card, asked))
        return asked, "asked"
    passed: list[str] = []
    for view in card.views:
        if view in there:
            return view, f"{' and '.join(passed)} not there" if passed else "default"
        passed.append(view)
    raise DataError(f"no video of '{card.name}' is there ({' nor '.join(passed)})", hint=where_to_get(card))


def missing(card: Card, data_dir: Path | None) -> DataError:
    """The error for a data set that is nowhere: every folder that was searched, and where to get the recordings."""
    places = "".join(f"\n  {place}" for place in searched(card, data_dir))
    hint = where_to_get(card)
    for folder in paths.data_dirs(data_dir):
        templates = [entry.file for entry in card.sensors.values()] + [entry.file for entry in card.views.values()]
        if any(holds(folder, template) for template in templates):
            hint = f"{folder} holds the recordings itself: name it {card.places[-1]} and give the folder that it is in."
    return DataError(f"the recordings of '{card.name}' are not there; looked for them in{places}", hint=hint)


def where_to_get(card: Card, view: str | None = None) -> str:
    """How to get the recordings and where to put them, as a hint.

    Args:
        card: The data set's card.
        view: Only this view is wanted.
    """
    if card.download is None:
        if card.files is not None:
            first = next(iter(card.files.sources.values())).path
            return f"The card expects files such as {first} there; see what a folder holds: kdbench data init FOLDER"
        return "The card names no place to get them from."
    templates = [sensor.file for sensor in card.sensors.values()] + [entry.file for entry in card.views.values()]
    if card.download.request:
        return f"{card.download.request.strip()}\n{_searched()}\n{card.licence}"
    if not any(templates):
        return f"{card.download.note} See {card.download.page}"
    wanted = {_folder_of(t) for t in ([card.views[view].file] if view else templates)}
    archives = [archive for archive in card.download.archives if archive.holds in wanted]
    addresses = "".join(f"\n  {archive.urls[0]}  → {card.name}/{archive.holds}/" for archive in archives)
    only = "".join(f" --only {archive.holds}" for archive in archives) if view else ""
    command = f"Download it: kdbench data download {card.typed}{only}\nOr get" if archives else "Get"
    example = next(t for t in templates if t is not None and (view is None or _folder_of(t) in wanted))
    trial = grid(card)[0].id if card.trials else "TRIAL"
    return (
        f"{command} them from {card.download.page}{addresses}\n"
        f"so that DATA/{card.name}/{example.replace('{trial}', trial)} exists. {_searched()}\n"
        f"{card.licence}"
    )


def _searched() -> str:
    return (
        "DATA is one of the folders that are searched, in this order: --data-dir, $KDBENCH_DATA, ./data, "
        f"{paths.cache_dir() / 'data'}."
    )


def _folder_of(template: str | None) -> str:
    return Path(template).parts[0] if template else ""
