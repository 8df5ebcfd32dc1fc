"""Getting a data set's recordings: its archives downloaded, checked, unpacked and put in their place."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from kdbench.data.card import Archive, Card
from kdbench.data.download.fetch import ELSEWHERE, fetch
from kdbench.data.download.unpack import count_of, unpack
from kdbench.data.store import manifest, source
from kdbench.data.store.lock import locked
from kdbench.data.store.progress import note, progress
from kdbench.errors import DataError, UsageError, unknown
from kdbench.registry import registry
from kdbench.text.wording import counted, inflected
from kdbench.util import files, paths

SHOWN = 20
"""How many files an error names."""


@dataclass(frozen=True)
class Fetched:
    """What became of one archive.

    Attributes:
        folder: Where its files are.
        files: How many were put there; 0 where all were there already.
        differing: Files that are not what the manifest says, with the differences; only of an archive whose own hash is
            right.
    """

    folder: Path
    files: int
    differing: dict[str, str]


def download(
    card: Card, data_dir: Path | None = None, *, only: Sequence[str] = (), shown: bool = True
) -> list[Fetched]:
    """Downloads the archives of a data set that are not there yet.

    An archive is accepted only where something vouches for what is in it: its own sha256 in the card, or the manifest
    for each of its files. Nothing that fails is left under its name.

    Args:
        card: The data set's card.
        data_dir: The folder in which `NAME/` is made; by default the one that holds it already, else the cache's.
        only: Folders of the data set that are wanted, such as `Inertial`; by default all.
        shown: Show progress and notes.

    Raises:
        UsageError: There is no such folder, or a packed copy would hide what is downloaded.
        DataError: The data set cannot be downloaded (the hint says how to get it), no address had the right file, or an
            archive is damaged or not safe.
        RunFailed: The disk is full, or the folder cannot be written.
    """
    archives = _chosen(card, only)
    root = _root(card, data_dir)
    done = []
    for archive in archives:
        with locked(root / archive.holds, f"gets {card.name}/{archive.holds}", shown=shown, elsewhere=ELSEWHERE):
            done.append(_got(card, archive, root, shown=shown))
    return done


def _chosen(card: Card, only: Sequence[str]) -> list[Archive]:
    known = {archive.holds: archive for archive in card.download.archives} if card.download else {}
    if not known:
        raise DataError(f"'{card.name}' cannot be downloaded by a command", hint=source.where_to_get(card))
    for name in only:
        if name not in known:
            raise unknown(
                "folder", name, known, of=f"data set '{card.name}'", hint="Leave it out to download all of them."
            )
    return [archive for name, archive in known.items() if not only or name in only]


def _root(card: Card, data_dir: Path | None) -> Path:
    if data_dir is not None:
        return data_dir.expanduser().resolve() / card.name
    recordings = source.find(card)
    if recordings is None or recordings.root is None or recordings.root.name != card.name:
        return paths.cache_dir() / "data" / card.name
    if recordings.packed is not None:
        raise UsageError(
            f"a packed copy of '{card.name}' is in {recordings.root} and would hide what is downloaded",
            hint="Give another folder: --data-dir FOLDER",
        )
    return recordings.root


def _got(card: Card, archive: Archive, root: Path, *, shown: bool) -> Fetched:
    target = root / archive.holds
    if is_there(card, archive, root):
        return Fetched(target, 0, {})
    path = root / _file_name(archive)
    listed = any(PurePosixPath(name).parts[0] == archive.holds for name in manifest.load(card))
    if archive.sha256 is None and not listed:
        raise DataError(
            f"nothing vouches for {archive.urls[0]}: the card of '{card.name}' has no sha256 of it and no hashes of "
            "its files in a manifest",
            hint=source.where_to_get(card),
        )
    fetch(archive.urls, path, size=archive.bytes, sha256=archive.sha256, vouched=listed, shown=shown)
    staging = root / f".{archive.holds}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with progress(f"Unpacking {path.name}", count_of(path), shown=shown) as advance:
            unpacked = unpack(path, staging, advance=advance)
        places = _places(unpacked, archive, staging)
        differing = _checked(card, archive, places, shown=shown)
        for place, file in places.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            file.replace(root / place)
    except DataError:
        path.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise files.unwritable(error, target, elsewhere=ELSEWHERE) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    path.unlink(missing_ok=True)
    if not is_there(card, archive, root):
        note(f"{path.name} did not hold every file of {archive.holds}/: kdbench data verify {card.typed}", shown=shown)
    return Fetched(target, len(places), differing)


def is_there(card: Card, archive: Archive, root: Path) -> bool:
    """Whether every file of an archive that the reader opens is in its place; without a grid, that the manifest names.

    The manifest of a data set may list more than its readers need, such as a description beside the recordings.
    """
    reader = registry("dataset").get(card.reader)(card, root)
    named = set(manifest.load(card))
    if card.trials is not None:
        named = {p for view in (None, *card.views) for trial in reader.trials() for p in reader.files(trial, view)}
    wanted = [path for path in named if PurePosixPath(path).parts[0] == archive.holds]
    return bool(wanted) and all((root / path).is_file() for path in wanted)


def placed(name: str, holds: str) -> str:
    """Where a file of an archive belongs below the data set's folder, whatever folders the archive wraps it in."""
    parts = PurePosixPath(name).parts
    below = parts[parts.index(holds) + 1 :] if holds in parts[:-1] else parts
    return str(PurePosixPath(holds, *below))


def _places(unpacked: Sequence[str], archive: Archive, staging: Path) -> dict[str, Path]:
    places: dict[str, Path] = {}
    for name in unpacked:
        place = placed(name, archive.holds)
        if place in places:
            raise DataError(
                f"{archive.urls[0]} holds two files for {place}: {places[place].relative_to(staging)}, {name}",
                hint="Unpack it by hand, each file where the card expects it; or report it where the archive is kept.",
            )
        places[place] = staging / name
    return places


def _checked(card: Card, archive: Archive, places: dict[str, Path], *, shown: bool) -> dict[str, str]:
    """Compares the files with the manifest.

    Raises:
        DataError: The archive's own hash is not known, and a file differs from the manifest or is not in it.
    """
    listed = manifest.load(card)
    known = {place: file for place, file in places.items() if place in listed}
    hashes = {}
    with progress(f"Hashing {archive.holds}", len(known), shown=shown) as advance:
        for place, file in known.items():
            hashes[place] = files.sha256_of(file)
            advance()
    differing = manifest.differing(card, hashes)
    if archive.sha256 is not None:
        return differing
    strange = [f"{place}: {why}" for place, why in differing.items()]
    strange += [f"{place}: not in the manifest" for place in places if place not in listed]
    if strange:
        lines = "\n  ".join(strange[:SHOWN] + ["…"] * (len(strange) > SHOWN))
        raise DataError(
            f"{_file_name(archive)} is not what was expected and is removed; "
            f"{counted(len(strange), 'file')} {inflected(len(strange), 'differs', 'differ')}:\n  {lines}",
            hint=source.where_to_get(card),
        )
    return {}


def _file_name(archive: Archive) -> str:
    return PurePosixPath(urlsplit(archive.urls[0]).path).name
