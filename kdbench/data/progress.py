"""Progress of a long step: a bar on a terminal, a few plain lines elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

QUARTERS = 4


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
    from rich.console import Console

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
        from rich.console import Console

        Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)
