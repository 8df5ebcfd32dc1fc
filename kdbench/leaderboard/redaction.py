"""What a submission must not tell: paths, host names and user names of the machine that it was made on."""

from __future__ import annotations

import contextlib
import getpass
import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any

_UNIX = r"(?:~|\.{1,2})?/[\w.\-]+(?:/[^\s'\",)\]}]*)?"
_WINDOWS = r"[A-Za-z]:\\[^\s'\"]*|\\\\[^\s'\"]+"
_PATH = re.compile(rf"(?:^|[\s'\"=(,\[{{])({_UNIX}|{_WINDOWS})")
_COMMON = {"root", "user", "runner", "admin", "localhost", "ubuntu", "none"}


def paths_in(value: Any, key: str = "") -> Iterator[str]:
    """Every string that holds a path of a machine, as `key: path`.

    Args:
        value: Plain data.
        key: Where it stands.
    """
    for where, text in _strings(value, key):
        for match in _PATH.finditer(text):
            yield f"{where}: {match[1]}"


def names_in(value: Any, key: str = "") -> Iterator[str]:
    """Every string that holds this machine's name or this user's, as `key: name`."""
    # A short name is a part of too many words, and a common one tells nothing.
    wanted = [name for name in _own_names() if len(name) >= 4 and name.lower() not in _COMMON]
    for where, text in _strings(value, key):
        for name in wanted:
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
                yield f"{where}: {name}"


def _own_names() -> set[str]:
    names = {platform.node(), platform.node().partition(".")[0]}
    with contextlib.suppress(OSError, KeyError):
        names.add(getpass.getuser())
    return names


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield key, str(name)
            yield from _strings(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _strings(inner, f"{key}[{position}]")
