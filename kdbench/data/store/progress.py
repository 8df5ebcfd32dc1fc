"""Progress of a long step: a bar on a terminal and in a notebook, a few plain lines elsewhere, nothing on request."""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

QUARTERS = 4
WIDEST_BAR, SHORT_BAR = 40, 4
EVERY_SECONDS = 10
"""Between two lines about a file that arrives, where there is no terminal."""


@contextlib.contextmanager
def progress(title: str, total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Shows how far a step is.

    Args:
        title: What is done.
        total: How many items there are.
        shown: False for silence.

    Yields:
        A function to call after each item; any thread may, one at a time.
    """
    if not shown or total == 0:
        yield lambda: None
        return
    from kdbench.text.terminal import SafeConsole
    from kdbench.util.notebook import counting, in_notebook
    from kdbench.util.progress import CountColumn

    if in_notebook():
        with counting(title, total) as advance:
            yield advance
        return
    console = SafeConsole(stderr=True)
    if console.is_terminal:
        room = console.width - 2 * len(str(total)) - len("/, 0:00:00 elapsed, 0:00:00 left  ")
        with _bar(console, title, total, room, CountColumn()) as (bar, task):
            yield lambda: bar.advance(task)
        return
    done, start, printed = 0, time.monotonic(), 0
    console.print(f"{title}: {total} to do", highlight=False)

    def say_quarters() -> None:
        nonlocal done, printed
        done += 1
        quarter = QUARTERS * done // total
        if quarter > printed:
            printed = quarter
            console.print(f"{title}: {done} of {total}, {time.monotonic() - start:.0f} s elapsed", highlight=False)

    yield say_quarters


@contextlib.contextmanager
def byte_progress(title: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Shows how much of a file has arrived.

    Args:
        title: The file's name.
        total: Its bytes, where they are known.
        shown: False for silence.

    Yields:
        A function to call with the bytes that are there and the bytes in all, or None.
    """
    if not shown:
        yield lambda _arrived, _total: None
        return
    from rich import progress as rich

    from kdbench.text.terminal import SafeConsole
    from kdbench.util.progress import LeftColumn

    console = SafeConsole(stderr=True)
    if console.is_terminal:
        room = console.width - len("1023.9/1023.9 MiB 999.9 MB/s 0:00:00 left   ")
        columns = (rich.DownloadColumn(binary_units=True), rich.TransferSpeedColumn(), LeftColumn())
        with _bar(console, title, total, room, *columns) as (bar, task):
            yield lambda arrived, total: bar.update(task, completed=arrived, total=total)
        return
    printed_at = time.monotonic() - EVERY_SECONDS

    def at(arrived: int, total: int | None) -> None:
        nonlocal printed_at
        if arrived == total or time.monotonic() - printed_at >= EVERY_SECONDS:
            printed_at = time.monotonic()
            of = "" if total is None else f" of {total / 2**20:.1f}"
            console.print(f"{title}: {arrived / 2**20:.1f}{of} MiB", highlight=False)

    yield at


def fitted(title: str, room: int) -> tuple[str, int]:
    """A title and the width of its bar where both have some room: first the bar is smaller, then the title shorter.

    Args:
        title: What is done; what stands in brackets at its end may go.
        room: Characters for both and the space between them.
    """
    if len(title) + 1 + SHORT_BAR > room:
        title = title.partition(" (")[0]
    if len(title) + 1 + SHORT_BAR > room:
        title = textwrap.shorten(title, max(4, room), placeholder=" …")
    width = min(WIDEST_BAR, room - len(title) - 1)
    return title, width if width >= SHORT_BAR else 0


@contextlib.contextmanager
def _bar(
    console: Console, title: str, total: int | None, room: int, *columns: ProgressColumn
) -> Iterator[tuple[Progress, TaskID]]:
    """A bar between its title and some columns; both share the room that these leave."""
    from rich import progress as rich

    title, width = fitted(title, room)
    between = [rich.BarColumn(bar_width=width)] if width else []
    with rich.Progress(rich.TextColumn("{task.description}"), *between, *columns, console=console) as bar:
        yield bar, bar.add_task(title, total=total)


def note(text: str, *, shown: bool) -> None:
    """Prints one line for the user, on the error stream."""
    if shown:
        from kdbench.text.terminal import SafeConsole

        SafeConsole(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)
