"""A docstring in Google's style as `kdbench describe` shows it: its prose, and what it says of each argument."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
_ENTRY = re.compile(r"    (\*{0,2}\w+(?: \([^)]*\))?): (.*)")


def prose(text: str) -> list[str]:
    """The paragraphs before the first section, a line each; those with an indent keep their lines.

    Args:
        text: As `inspect.getdoc` gives it.
    """
    before = []
    for line in text.splitlines():
        if _SECTION.fullmatch(line):
            break
        before.append(line)
    paragraphs = re.split(r"\n\s*\n", "\n".join(before).strip())
    return [paragraph if "\n " in paragraph else " ".join(paragraph.split()) for paragraph in paragraphs]


def arguments(text: str) -> dict[str, str]:
    """What the section of arguments says of each, in a line.

    Args:
        text: As `inspect.getdoc` gives it.
    """
    described: dict[str, list[str]] = {}
    name = None
    for line in _lines_of_arguments(text):
        if entry := _ENTRY.fullmatch(line):
            name = entry[1]
            described[name] = [entry[2]]
        elif name is not None:
            described[name].append(line.strip())
    return {name: " ".join(lines).strip() for name, lines in described.items()}


def _lines_of_arguments(text: str) -> Iterator[str]:
    section = None
    for line in text.splitlines():
        if heading := _SECTION.fullmatch(line):
            section = heading[1]
        elif section == "Args":
            yield line
