"""What a data set's reader provides: its trials, their files, and one trial's recording in memory.

A reader knows file formats. It knows nothing of stores, caches, training or the command line; those are shared by all
data sets. A new data set is a subclass of `Reader` under the entry-point group `kdbench.datasets`, with its
`card.yaml` beside the module.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kdbench.data.card import Card
from kdbench.data.protocol import Value
from kdbench.errors import DataError, unknown
from kdbench.text.wording import counted, inflected

MEND = "Mend the file or get it again; or move the files of this trial elsewhere."
_READER = "Mend the data set's reader, or what its card says of this source."


@dataclass(frozen=True)
class Trial:
    """One recorded performance.

    Attributes:
        id: Its name, for example `a1_s2_t3`.
        label: Class index, from 0.
        columns: What is known of it beside the label: action, subject, repetition, …
    """

    id: str
    label: int
    columns: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """One trial as read.

    Attributes:
        series: Samples of each sensor `(n, axes)`, float32, in the card's units, at the sensor's own rate.
        clip: Frames `(T, side, side, channels)`, uint8, cropped to a square at the recording's own resolution; None
            where no view was asked for.
        hashes: sha256 of each file that was read, by its path below the data set's folder.
        recorded: Number of frames that the whole clip has, of which `clip` holds some; None where that is not known.
        seconds: How long the whole clip lasts by its own times; None where it has none.
    """

    series: Mapping[str, np.ndarray]
    clip: np.ndarray | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    recorded: int | None = None
    seconds: float | None = None


class Reader(ABC):
    """Reads one data set.

    Args:
        card: The data set's card.
        root: The folder that holds its files; None for a generated one.
        options: Changes of the card's `options`.

    Attributes:
        excluded: Trials that were left out when the files were made, with the reasons; a packed copy inherits them.
        unverified: Files that were not what the manifest says when the files were made, likewise.

    Raises:
        UsageError: An option that the card does not have.
    """

    __kdbench_reader__: ClassVar[bool] = True
    version: ClassVar[int] = 1
    """Raised whenever the same files give other arrays; prepared data of an older version are made anew."""

    generated: ClassVar[bool] = False
    """True where recordings are computed and no files are needed."""

    view_kinds: ClassVar[Mapping[str, str]] = {}
    """What a recording of a view is before `read` makes a clip of it, by a name of `kdbench.data.readers.kinds`; a view
    that is not named hands on its frames as they are recorded."""

    skeleton_kinds: ClassVar[Mapping[str, str]] = {}
    """The same of the skeletons; one that is not named hands on its joints as they are recorded."""

    @classmethod
    def kinds_of_views(cls, card: Card) -> Mapping[str, str]:  # noqa: ARG003 – for readers that go by the card
        """As `view_kinds`, of a card whose views are not known beforehand."""
        return cls.view_kinds

    def __init__(self, card: Card, root: Path | None = None, options: Mapping[str, Any] | None = None) -> None:
        for name in options or {}:
            if name not in card.options:
                raise unknown(
                    "option",
                    name,
                    card.options,
                    of=f"data set '{card.name}'",
                    hint=f"See them: kdbench describe {card.typed}",
                )
        self.card = card
        self.root = root
        self.options = {**card.options, **(options or {})}
        self.excluded: Mapping[str, str] = {}
        self.unverified: Mapping[str, str] = {}

    @classmethod
    def shipped(cls) -> Path | None:
        """The folder of recordings that an installed package ships, found without an import; None where none does."""
        return None

    @classmethod
    def found(cls, card: Card, root: Path) -> tuple[str, ...] | None:
        """What there is of a data set in a folder; by default what lies in the folders of the card's templates.

        Args:
            card: The data set's card.
            root: The folder.

        Returns:
            The views that are there, the preferred one first; None where nothing of the data set is.
        """
        views = tuple(name for name, view in card.views.items() if holds(root, view.file))
        return views if views or any(holds(root, sensor.file) for sensor in card.sensors.values()) else None

    @classmethod
    def cuts(cls, card: Card) -> frozenset[str]:  # noqa: ARG003 – for readers that go by the card
        """Sensors, skeletons and views of which a trial is less than a file: what is cut, other files tell."""
        return frozenset()

    def lacks(self, trial: Trial) -> frozenset[str]:  # noqa: ARG002
        """The sources that a trial was recorded without: sensors, skeletons, and views as `video:NAME`.

        By default none; then a file that is not there is missing, and its trial broken. Of a trial that lacks a sensor
        or a skeleton, `read` gives a series without samples, and of one without video a clip that is black.
        """
        return frozenset()

    def remarks(self) -> list[str]:
        """What was odd about the recordings that have been read, and did not keep them from being used; a line each."""
        return []

    def trials(self) -> list[Trial]:
        """Every trial that the data set has, in natural order; by default the grid of the card."""
        return grid(self.card)

    def files(self, trial: Trial, view: str | None) -> tuple[str, ...]:
        """Paths below `root` of the files that `read` opens; by default the templates of the card."""
        templates = [sensor.file for sensor in self.card.sensors.values()]
        if view is not None:
            templates.append(self.card.views[view].file)
        return tuple(dict.fromkeys(t.format(trial=trial.id) for t in templates if t is not None))

    def skeleton_files(self, trial: Trial, name: str) -> tuple[str, ...]:
        """Paths below `root` of the files that `read_skeleton` opens; by default the template of the card."""
        template = self.card.skeletons[name].file
        return () if template is None else (template.format(trial=trial.id),)

    def read_skeleton(self, trial: Trial, name: str) -> Recording:
        """Reads a trial's joints: the one series `name` `(n, 3 · joints)`, float32, joint by joint.

        Args:
            trial: Which one.
            name: A skeleton of the card.

        Raises:
            DataError: As for `read`; or the reader reads no joints.
        """
        raise DataError(
            f"trial {trial.id}: the reader '{self.card.reader}' reads no joints of the {name}",
            hint="Let the reader define read_skeleton, or take the skeleton out of the card.",
        )

    @abstractmethod
    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """Reads one trial.

        Args:
            trial: Which one.
            view: The video view, or None for the sensors alone.
            frames: How many frames to take, at the centres of equal parts of the clip.

        Raises:
            DataError: A file is missing or broken; the message names the trial, the file and what was expected.
        """

    def bytes_of(self, path: str, trial: str) -> tuple[bytes, str]:
        """A file's content and its sha256.

        Raises:
            DataError: It cannot be read.
        """
        assert self.root is not None
        try:
            content = (self.root / path).read_bytes()
        except OSError as error:
            raise unreadable(error, trial, path) from error
        return content, hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def expecting(expected: str, trial: str, path: str, hint: str = MEND) -> Iterator[None]:
    """Turns a `ValueError` into one that names what was expected of which trial's file.

    Args:
        expected: What it should hold.
        trial: Whose file it is.
        path: The file.
        hint: The next step.

    Raises:
        DataError: Instead of the `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        raise DataError(f"trial {trial}: {path}: {error}; expected {expected}", hint=hint) from error


def unreadable(error: OSError, trial: str, path: str) -> DataError:
    """The error for a trial's file that the system does not give.

    Args:
        error: What the system said.
        trial: Whose file it is.
        path: The file.
    """
    return DataError(f"trial {trial}: {path} cannot be read: {error.strerror or error}", hint=MEND)


def grid(card: Card) -> list[Trial]:
    """The trials that a card declares, in natural order.

    Raises:
        DataError: The card declares none.
    """
    if card.trials is None:
        raise DataError(
            f"the card of '{card.name}' declares no trials, and its reader lists none",
            hint="Declare them in the card: trials:",
        )
    columns, label = card.trials.columns, card.trials.label
    trials = []
    for values in itertools.product(*columns.values()):
        row = dict(zip(columns, values, strict=True))
        trials.append(Trial(card.trials.id.format(**row), columns[label].index(row[label]), row))
    return sorted((t for t in trials if t.id not in card.trials.missing), key=lambda trial: natural_key(trial.id))


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which `a2_s1` comes before `a10_s1`."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part)


def holds(root: Path, template: str | None) -> bool:
    """Whether something lies in the folder of a template's files."""
    if template is None:
        return False
    folder = (root / template).parent
    return folder.is_dir() and any(folder.iterdir())


def check(
    recording: Recording, card: Card, trial: str, view: str | None, frames: int, lacks: Collection[str] = ()
) -> None:
    """Checks one trial against the card.

    Args:
        recording: The trial as read.
        card: The data set's card.
        trial: Its id.
        view: The view that was asked for, or None.
        frames: How many frames were asked for.
        lacks: Sensors and skeletons that it was recorded without.

    Raises:
        DataError: A sensor is missing, has another shape or type, fewer than two samples, or values that are not
            finite; or the clip has another shape or type.
    """
    for name, sensor in card.sensors.items():
        series = recording.series.get(name)
        if series is None:
            raise DataError(f"trial {trial}: no series of the {name}", hint=_READER)
        if series.ndim != 2 or series.shape[1] != len(sensor.axes) or series.dtype != np.float32:
            expected = f"(n, {len(sensor.axes)}) float32"
            raise DataError(
                f"trial {trial}: the {name} is {series.shape} {series.dtype}, expected {expected}", hint=_READER
            )
        if len(series) < 2 and (name not in lacks or len(series)):
            raise DataError(
                f"trial {trial}: the {name} has {counted(len(series), 'sample')}, expected at least 2", hint=MEND
            )
        bad = np.argwhere(~np.isfinite(series))
        if len(bad):
            sample, axis = bad[0]
            first = f"{series[sample, axis]} at sample {sample} of axis {sensor.axes[axis]}"
            raise DataError(
                f"trial {trial}: the {name} has {counted(len(bad), 'value')} that {inflected(len(bad), 'is')} "
                f"not finite, first {first}",
                hint=MEND,
            )
    if view is None:
        return
    clip, channels = recording.clip, card.views[view].channels
    side = clip.shape[1] if clip is not None and clip.ndim == 4 else 0
    if clip is None or clip.dtype != np.uint8 or clip.shape != (frames, side, side, channels):
        got = "nothing" if clip is None else f"{clip.shape} {clip.dtype}"
        raise DataError(
            f"trial {trial}: the {view} clip is {got}, expected ({frames}, side, side, {channels}) uint8", hint=_READER
        )
