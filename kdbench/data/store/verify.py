"""Checking recordings against the manifest, and prepared stores against their own hashes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.data.card import Card
from kdbench.data.store import manifest, packed
from kdbench.data.store.dataset import load
from kdbench.data.store.layout import Meta
from kdbench.data.store.progress import progress
from kdbench.data.store.source import Source
from kdbench.errors import DataError
from kdbench.util import files


@dataclass
class IntegrityReport:
    """What was found.

    Attributes:
        checked: Number of files that were hashed.
        differing: What is wrong with a file, by path.
        missing: Files that ought to be there.
        absent: Folders of the manifest that are not there at all, with their number of files; nothing may need them.
        unlisted: Number of files that the card names and the manifest does not list.
        stores: Problems of each prepared store, by folder; empty where it is sound.
    """

    checked: int = 0
    differing: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    absent: dict[str, int] = field(default_factory=dict)
    unlisted: int = 0
    stores: dict[Path, list[str]] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.differing or self.missing or any(self.stores.values()))


def verify(
    card: Card, recordings: Source | None, stores: Sequence[tuple[Path, Meta]], *, shown: bool = True
) -> IntegrityReport:
    """Hashes every file of a data set that is there, and the data of every prepared store.

    Args:
        card: The data set's card.
        recordings: Where the recordings are; None where they are not.
        stores: The data set's prepared stores.
        shown: Show progress.
    """
    report = IntegrityReport()
    if recordings is not None and recordings.packed is not None:
        _packed(recordings, report, shown=shown)
    elif recordings is not None and recordings.root is not None:
        _recordings(card, recordings, recordings.root, report, shown=shown)
    for folder, meta in stores:
        report.stores[folder] = _store(card, folder, meta)
    return report


def _recordings(card: Card, source: Source, root: Path, report: IntegrityReport, *, shown: bool) -> None:
    listed = manifest.load(card)
    reader = source.reader
    named = [path for view in (None, *source.views) for trial in reader.trials() for path in reader.files(trial, view)]
    wanted = dict.fromkeys([*listed, *named])
    present: list[str] = []
    for path in wanted:
        folder = Path(path).parts[0]
        if (root / path).is_file():
            present.append(path)
        elif folder == path or (root / folder).is_dir():
            report.missing.append(path)
        else:
            report.absent[folder] = report.absent.get(folder, 0) + 1
    hashes: dict[str, str] = {}
    to_hash = [path for path in present if path in listed]
    with progress(f"Hashing {card.name}", len(to_hash), shown=shown) as advance, ThreadPoolExecutor() as pool:
        for path, sha256 in zip(to_hash, pool.map(lambda name: _hash(root / name), to_hash), strict=True):
            hashes[path] = sha256
            advance()
    report.checked = len(hashes)
    report.unlisted = len(present) - len(to_hash)
    report.differing = manifest.differing(card, hashes)


def _hash(path: Path) -> str:
    try:
        return files.sha256_of(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}",
            hint="Make it readable, or get it again, and repeat the command.",
        ) from error


def _packed(recordings: Source, report: IntegrityReport, *, shown: bool) -> None:
    assert isinstance(recordings.reader, packed.PackedReader)
    trials = recordings.reader.trials()
    with progress("Reading the packed copy", len(trials), shown=shown) as advance:
        for trial in trials:
            try:
                recordings.reader.read(trial, recordings.views[0], 1)
            except DataError as error:
                report.differing[trial.id] = error.message
            report.checked += 1
            advance()


def _store(card: Card, folder: Path, meta: Meta) -> list[str]:
    try:
        return [f"trial {trial} is not what was written" for trial in load(card, folder, meta, "").damaged()]
    except DataError as error:
        return [error.message]
