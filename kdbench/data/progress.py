"""Progress of a long step: a bar on a terminal, a few plain lines elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

QUARTERS = 4
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
    from kdbench.terminal import SafeConsole as Console

    console = Console(stderr=True)
    if console.is_terminal:
        yield from _bar(console, title, total)
        return
    done, start, told = 0, time.monotonic(), 0
    console.print(f"{title}: {total} to do", highlight=False)

    def advance() -> None:
        nonlocal done, told
        done += 1
        quarter = QUARTERS * done // total
        if quarter > told:
            told = quarter
            console.print(f"{title}: {done} of {total}, {time.monotonic() - start:.0f} s", highlight=False)

    yield advance


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
        yield lambda _held, _total: None
        return
    from rich import progress as rich

    from kdbench.terminal import SafeConsole as Console

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.DownloadColumn(binary_units=True),
            rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
        )
        with rich.Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda held, total: bar.update(task, completed=held, total=total)
        return
    told = time.monotonic() - EVERY_SECONDS

    def at(held: int, total: int | None) -> None:
        nonlocal told
        if held == total or time.monotonic() - told >= EVERY_SECONDS:
            told = time.monotonic()
            of = "" if total is None else f" of {total / 2**20:.1f}"
            console.print(f"{title}: {held / 2**20:.1f}{of} MiB", highlight=False)

    yield at


def _bar(console: object, title: str, total: int) -> Iterator[Callable[[], None]]:
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console) as bar:  # type: ignore[arg-type]
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


def note(text: str, *, shown: bool) -> None:
    """Prints one line for the user, on the error stream."""
    if shown:
        from kdbench.terminal import SafeConsole as Console

        Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)
