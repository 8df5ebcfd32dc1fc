"""The hashes of a data set's files, in the format of `sha256sum`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kdbench.data import names
from kdbench.data.card import Card
from kdbench.errors import DataError, shortened
from kdbench.util import paths

_ENTRY = re.compile(r"([0-9a-f]{64})  (.+)")
_MOST_BYTES = 64 * 2**20
_RIGHTS = "Make it readable: the card's key 'manifest' names it."
_AGAIN = "Make it again in the data set's folder: sha256sum FILE … > manifest"


def load(card: Card) -> Mapping[str, str]:
    """sha256 of each file by its path below the data set's folder; empty where the card names no manifest.

    Raises:
        DataError: The manifest is not there or not in the format of `sha256sum`.
    """
    if card.manifest is None:
        return {}
    path = card.folder / card.manifest
    if not paths.is_file(path):
        raise DataError(
            f"the manifest {path} is not there", hint="Reinstall kdbench, or mend the card's key 'manifest'."
        )
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"the manifest {path} has more than {_MOST_BYTES // 2**20} MiB", hint=_AGAIN)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"the manifest {path}: byte {error.start + 1} is not UTF-8", hint=_AGAIN) from error
    except OSError as error:
        raise DataError(f"the manifest {path} cannot be read: {error.strerror}", hint=_RIGHTS) from error
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _ENTRY.fullmatch(line)
        if match is None:
            raise DataError(f"{path}, line {number}: expected 'sha256  path', got '{shortened(line)}'", hint=_AGAIN)
        sha256, name = match.groups()
        try:
            names.inside(name)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: the path '{shortened(name)}' {error}", hint=_AGAIN) from None
        if hashes.setdefault(name, sha256) != sha256:
            raise DataError(f"{path}, line {number}: '{shortened(name)}' stands twice, with two hashes", hint=_AGAIN)
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
