"""Overviews that people write, in whose tables each name of a loss, method or teacher leads to its page."""

from __future__ import annotations

import re

from pages import losses, methods

_NAME = re.compile(r"(?<![`\[])`([a-z0-9_]+)`(?![`\]])")


def linked(path: str, text: str) -> str:
    """The Markdown of a page with its names linked; other pages as they are.

    Args:
        path: The page's source, below the folder of all pages.
        text: Its Markdown.
    """
    if path not in ("losses.md", "methods.md"):
        return text
    own = _losses() if path == "losses.md" else _methods() | _teachers()
    return "\n".join(_line(line, own) for line in text.split("\n"))


def _line(line: str, targets: dict[str, str]) -> str:
    if not line.startswith("|"):
        return line

    def one(found: re.Match[str]) -> str:
        target = targets.get(found[1])
        return f"[{found[0]}]({target})" if target else found[0]

    return _NAME.sub(one, line)


def _losses() -> dict[str, str]:
    return {name: f"{losses.FOLDER}/{name}.md" for name in losses.names()}


def _methods() -> dict[str, str]:
    return {name: f"{methods.FOLDER}/{name}.md" for name in methods.names()}


def _teachers() -> dict[str, str]:
    return {name: f"{methods.TEACHERS}#{name}" for name in methods.names("teacher")}
