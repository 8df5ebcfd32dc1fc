"""Printing for a terminal: what others have named, as a plugin or a class, gets there without control characters."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# C0 but tab and newline, and C1: escape sequences begin with one of them. Then what changes the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class SafeConsole(Console):
    """A console of which only its own colours and bars reach the terminal as control sequences."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with control characters in the text made visible."""
        for segment in super().render(renderable, options):
            if segment.control or not _CONTROL.search(segment.text):
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def console(**options: Any) -> Console:
    """A console on the standard output, or on the error stream with `stderr=True`; options as rich's."""
    return SafeConsole(**options)


# A command ends where its clause does; what stands in quotes is a part of it.
_COMMAND = re.compile(r"\bkdbench (?:'[^']*'|[^',;()])+")
_GLUE = "\x00"


def print_prose(
    console: Console, text: str, style: str = "", *, head: str = "", head_style: str = "", hang: int = 0
) -> None:
    """Prints sentences: a terminal breaks their lines between words, and elsewhere they stay whole.

    A command stays on one line, so that it can be copied, and so does a word that is longer than a line, such as a
    path.

    Args:
        console: Where to.
        text: The sentences; their own line ends and indents are kept.
        style: rich's style of them.
        head: What comes before them, in a style of its own.
        head_style: That style.
        hang: Spaces before the second and later lines of a sentence, beyond its own indent, where it has one.
    """
    text = head + text
    if console.is_terminal:
        text = "\n".join(_broken(line, console.width, hang) for line in text.split("\n"))
    shown = Text(text, style=style)
    shown.stylize(head_style, 0, len(head))
    console.print(shown, soft_wrap=True)


def _broken(line: str, width: int, hang: int) -> str:
    indent = " " * (len(line) - len(line.lstrip(" ")))
    indent += " " * hang if indent else ""
    glued = _COMMAND.sub(lambda match: match[0].rstrip().replace(" ", _GLUE) + " " * match[0].endswith(" "), line)
    filled = textwrap.fill(glued, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace(_GLUE, " ")


def printable(text: str) -> str:
    """The text with every control character, but for tabs and line ends, made a question mark."""
    return _CONTROL.sub("?", text)
