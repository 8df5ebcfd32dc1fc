"""Requests to end a command, heard as Ctrl-C is: what it has is kept, and the exit code is 130."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_REQUESTS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Those that the system has: Windows knows no SIGHUP, and others no SIGBREAK."""


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """Raises KeyboardInterrupt on them inside the block; restores what was there afterwards."""
    handlers = {}
    # Only the main thread may ask to be told.
    if threading.current_thread() is threading.main_thread():
        for name in _REQUESTS:
            number = getattr(signal, name, None)
            # What was started under nohup stays deaf to the end of its terminal.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                handlers[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)
