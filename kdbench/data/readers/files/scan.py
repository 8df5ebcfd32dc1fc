"""Which files there are of each source, by the placeholders of the card's patterns."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from kdbench.data.protocol import Value
from kdbench.data.recorded import DIGITS, Files
from kdbench.errors import DataError

MOST_FILES = 500_000
ANNOTATIONS = "annotations of windows"
"""Stands for the annotation files among the sources."""
Key = tuple[Value, ...]
"""Values of the placeholders, in the order of the card's columns."""


def expression(pattern: str) -> re.Pattern[str]:
    """A pattern such as `{subject}/{action}_{n:d}.csv` as a regular expression; endings match in any case."""
    text = []
    for part in re.split(r"(\{[^{}]*\}|\*)", pattern):
        name, _, kind = part.strip("{}").partition(":")
        if part == "*":
            text.append(r"[^/]*")
        elif part.startswith("{"):
            text.append(rf"(?P<{name}>{r'[0-9]+' if kind == DIGITS else r'[^/]+'})")
        else:
            text.append(re.escape(part))
    return re.compile("".join(text), re.IGNORECASE)


def files_below(root: Path) -> Iterator[str]:
    """Paths of all files below a folder, sorted, with `/` between; hidden ones are passed over.

    Raises:
        DataError: There are more than half a million.
    """
    count = 0
    for folder, folders, found in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(found):
            if not name.startswith("."):
                count += 1
                yield name if below == "." else f"{below}/{name}"
        if count > MOST_FILES:
            raise DataError(f"{root} holds more than {MOST_FILES:,} files", hint="Name the folder of the recordings.")


def scan(files: Files, root: Path) -> dict[str, dict[Key, str]]:
    """The file of each source by the values of its placeholders; digits become numbers.

    A file that fits several patterns, `{n}.csv` and `{n}_labels.csv`, is of the one that says most of its name; of all
    sources with that very pattern, which may share a file. Annotations are the source `ANNOTATIONS`.

    Args:
        files: What the card says.
        root: The data set's folder.

    Raises:
        DataError: Two files of a source have the same values.
    """
    paths = {name: stream.path for name, stream in files.sources.items()}
    if files.windows is not None:
        paths[ANNOTATIONS] = files.windows.annotations
    patterns = {name: (expression(path), said_by(path)) for name, path in paths.items()}
    found: dict[str, dict[Key, str]] = {name: {} for name in patterns}
    for path in files_below(root):
        fits = {name: (fit, said) for name, (one, said) in patterns.items() if (fit := one.fullmatch(path)) is not None}
        most = max((said for _, said in fits.values()), default=0)
        for name, (match, said) in fits.items():
            if said < most:
                continue
            key = key_of(files, match.groupdict())
            if (other := found[name].setdefault(key, path)) != path:
                raise DataError(
                    f"two files are the {name} of one trial: {other} and {path}",
                    hint=f"Let the pattern tell them apart, or move one of them: {paths[name]}",
                )
    return found


def said_by(pattern: str) -> int:
    """How many characters of a name a pattern says."""
    return len(re.sub(r"\{[^{}]*\}|\*", "", pattern))


def key_of(files: Files, values: Mapping[str, str]) -> Key:
    """The values of the placeholders in the order of the columns."""
    return tuple(int(text) if (text := values[name]).isdigit() and text.isascii() else text for name in files.columns)
