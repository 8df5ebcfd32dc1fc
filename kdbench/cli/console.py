"""What commands print through: as wide as the terminal, and whole lines for a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200
"""Width of tables that do not go to a terminal, so that a name stays on one line for grep and its like."""


def console_for(**options: Any) -> Console:
    """A console as wide as the terminal; `PIPE_WIDTH` wide where there is none. Options as rich's."""
    from kdbench.text import terminal

    made = terminal.console(highlight=False, **options)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def say_loading(console: Console, what: str = "the parts of the method") -> None:
    """Says why nothing is seen for some seconds: torch and what needs it are imported."""
    say(console, f"loading torch and {what}")


def note(text: str) -> None:
    """Says on stderr what an option means for the others."""
    import typer

    typer.echo(f"note: {text}", err=True)


def say(console: Console, text: str, style: str = "") -> None:
    """Prints a text as it is, unwrapped, without markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
