"""How the files of a submission are read: every size, depth and kind is bounded before anything is parsed.

A submission is a stranger's: nothing in it is followed, waited for or unpacked without a limit.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from kdbench.leaderboard.faults import fault
from kdbench.leaderboard.schema import ENVIRONMENT, PICTURE, PREDICTIONS, RECIPE, RESULT
from kdbench.text.wording import counted

VERIFICATION = "verification.json"
"""Written after a submission was trained again; no part of its content."""
MOST_BYTES = {
    RESULT: 16 * 2**20,
    PREDICTIONS: 256 * 2**20,
    RECIPE: 64 * 2**10,
    ENVIRONMENT: 2**20,
    PICTURE: 512 * 2**10,
    VERIFICATION: 2**20,
}
"""The largest size of each file; an honest one has a small part of it."""
DEEPEST = 20
"""Levels of lists and mappings in a JSON or YAML file; an honest one has eight."""
_LARGEST_INTEGER = 2**63
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_bytes(folder: Path, name: str) -> bytes:
    """Reads a file of a submission.

    Raises:
        DataError: It is missing, no plain file, or larger than any honest one.
    """
    most = MOST_BYTES[name]
    try:
        _check_plain(name, os.lstat(folder / name))
        # Looked at again once it is open: a pipe in its place would be waited for, and a link followed.
        with os.fdopen(os.open(folder / name, _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            _check_plain(name, status)
            if status.st_size > most:
                raise fault(f"{name} has {counted(status.st_size, 'byte')}, expected at most {most}")
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise fault(f"{name} is missing") from error
    except OSError as error:
        raise fault(f"{name} cannot be read: {error.strerror or error}") from error
    if len(data) > most:
        raise fault(f"{name} has more than {most} bytes")
    return data


def _check_plain(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no plain file")
        raise fault(f"{name} is {kind}, expected a file")


def read_json(folder: Path, name: str) -> Any:
    """Reads a JSON file of a submission.

    Raises:
        DataError: As `read_bytes`; or it is not JSON, is nested too deep, has a key twice, or holds a number that is
            not finite or too large, or half a character.
    """
    try:
        content = json.loads(read_bytes(folder, name), object_pairs_hook=_mapping, parse_int=_integer)
        check_depth(content, name)
        # Python's reader takes NaN, 1e999 and lone surrogates, which nobody could write down again.
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError as error:
        raise fault(f"{name} is not valid JSON: it is nested deeper than any reader follows") from error
    except ValueError as error:
        raise fault(f"{name} is not valid JSON: {error}") from error
    return content


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice[:100]}' stands twice in one object")
    return made


def _integer(text: str) -> int:
    # By its length first: to convert very many digits takes more than linear time.
    if len(text) > 20 or not -_LARGEST_INTEGER <= int(text) < _LARGEST_INTEGER:
        raise ValueError(f"the number {text[:20]}… does not fit into 64 bits")
    return int(text)


def check_depth(content: Any, name: str) -> None:
    """Before anything that calls itself walks through a file.

    Raises:
        DataError: Its lists and mappings are nested too deep.
    """
    level, depth = [content], 0
    while level := [
        inner
        for value in level
        if isinstance(value, dict | list)
        for inner in (value.values() if isinstance(value, dict) else value)
    ]:
        depth += 1
        if depth > DEEPEST:
            raise fault(f"{name} is nested more than {DEEPEST} levels deep")
