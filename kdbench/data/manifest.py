"""The hashes of a data set's files, in the format of `sha256sum`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdbench.data.card import Card
from kdbench.errors import DataError


def load(card: Card) -> Mapping[str, str]:
    """sha256 of each file by its path below the data set's folder; empty where the card names no manifest.

    Raises:
        DataError: The manifest is not there or not in the format of `sha256sum`.
    """
    return _parsed(card.folder / card.manifest) if card.manifest else {}


def _parsed(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        raise DataError(
            f"the manifest {path} is not there", hint="Reinstall kdbench, or mend the card's key 'manifest'."
        )
    hashes = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        sha256, separator, name = line.partition("  ")
        if not separator or len(sha256) != 64:
            raise DataError(f"{path}, line {number}: expected 'sha256  path', got {line!r}")
        hashes[name] = sha256
    return hashes


def differing(card: Card, hashes: Mapping[str, str]) -> dict[str, str]:
    """The files whose content is not what the manifest says; files that it does not list are passed over.

    Args:
        card: The data set's card.
        hashes: sha256 by path, as read.

    Returns:
        What is wrong, by path.
    """
    listed = load(card)
    return {
        path: f"sha256 {sha256[:12]}…, the manifest has {listed[path][:12]}…"
        for path, sha256 in hashes.items()
        if path in listed and listed[path] != sha256
    }
