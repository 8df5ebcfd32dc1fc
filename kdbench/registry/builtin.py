"""The table of the parts that a room ships, read from its files without importing any of them."""

from __future__ import annotations

import re
from pathlib import Path


def decorations_in(file: str, kind: str) -> dict[str, str]:
    """The text of the decorator of every part of a room, by the part's name; arguments as of `parts_in`.

    Args:
        file: The package's own `__file__`.
        kind: Name of the decorator.
    """
    decorator = re.compile(rf'^@{kind}\(\s*"([^"]+)"(.*?)^(?:def|class) \w+', re.MULTILINE | re.DOTALL)
    return {
        name: text
        for path in sorted(Path(file).parent.glob("*.py"))
        for name, text in decorator.findall(path.read_text(encoding="utf-8"))
    }


def parts_in(room: str, file: str, kind: str) -> dict[str, str]:
    """Every decorated component of a room's modules, by its name, as `module:component`.

    Args:
        room: Name of the package.
        file: The package's own `__file__`.
        kind: Name of the decorator, `loss`, `encoder`, …; it stands at the beginning of a line, with the part's name
            as a literal.
    """
    decorator = re.compile(rf'^@{kind}\(\s*"([^"]+)".*?^(?:def|class) (\w+)', re.MULTILINE | re.DOTALL)
    return {
        name: f"{room}.{path.stem}:{component}"
        for path in sorted(Path(file).parent.glob("*.py"))
        for name, component in decorator.findall(path.read_text(encoding="utf-8"))
    }
