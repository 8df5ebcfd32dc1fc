"""How a failed command speaks: one line on what is wrong, one on what to do next, and the documented exit code."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from kdbench.errors import Interrupted, KdbenchError
from kdbench.text.redaction import redacted


def exit_code_of(error: BaseException, *, debug: bool = False) -> int:
    """Explains an error on stderr and returns the process's exit code.

    Args:
        error: What a command raised.
        debug: Whether the traceback comes first.
    """
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted("interrupted")
    if debug:
        sys.stderr.write(redacted("".join(traceback.format_exception(error))))
    if isinstance(error, KdbenchError):
        _say(error.message, error.hint)
        return error.exit_code
    hint = None if debug else "This is unexpected. Run the command again with --debug for the traceback."
    _say(one_line(error), hint)
    return 1


def one_line(error: BaseException) -> str:
    """An unexpected error in one line: its kind, what it says, and the file and line that raised it."""
    place = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(place[-1].filename).name}, line {place[-1].lineno})" if place else ""
    return redacted(f"{type(error).__name__}: {error}{where}")


def _say(message: str, hint: str | None) -> None:
    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.text.terminal import print_prose

    console = Console(stderr=True)
    print_prose(console, redacted(message), head="error: ", head_style="bold red")
    if hint:
        print_prose(console, redacted(hint), "cyan")
