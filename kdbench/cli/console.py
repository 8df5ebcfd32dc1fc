"""What every command prints through: no control characters reach the terminal, and a pipe gets whole lines."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200
"""Width of tables that do not go to a terminal, so that a name stays on one line for grep and its like."""
_KEPT = "\n\t"


def printed(text: Any) -> str:
    """A text from outside (a plugin's name, a file's content, a server's answer) as a terminal may show it.

    Control characters, which could move the cursor, change the title or hide what was written, become visible escapes.
    """
    return "".join(
        sign if sign in _KEPT or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co") else ascii(sign)[1:-1]
        for sign in str(text)
    )


def console_for(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; wide where there is none."""
    from rich.console import Console

    console = Console(highlight=False, stderr=stderr)
    return console if console.is_terminal else Console(highlight=False, stderr=stderr, width=PIPE_WIDTH)


def say(console: Console, text: str, style: str = "") -> None:
    """Prints a text as it is, unwrapped, without control characters and markup."""
    console.print(printed(text), style=style, markup=False, highlight=False, soft_wrap=True)
