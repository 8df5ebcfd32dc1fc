"""A process that works for another one ends when that one does, however it ended: its share of `kdbench.launch`.

The other process holds the writing end of a pipe that is this one's standard input. The system closes it when that
process ends, be it by `kill -9`; that is the same on every platform.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time

ASKED = "KDBENCH_TIED"
"""Set in the environment of a process that is to be tied; not for users."""
GRACE_SECONDS = 45.0
"""How long an interrupted run may take to end; its mirror in MLflow alone may take half a minute."""


def tie() -> None:
    """Ties this process to the one that started it, where that one asked for it; from now on its input is empty."""
    if os.environ.pop(ASKED, None) is None:
        return
    # A shell that starts a command in the background has it ignore Ctrl-C, and its children with it.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # An engine of a cluster may block it in its workers, and their children begin so too.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Watched under another number, so that nothing that reads its input takes it for its own.
    pipe = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    threading.Thread(target=_watch, args=(pipe,), daemon=True, name="tied").start()


def _watch(pipe: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(pipe, 4096):
            pass
    _interrupt()
    time.sleep(GRACE_SECONDS)
    # Only where the group is its own: else others would go with it.
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    # 128 + SIGINT, as shells have it.
    os._exit(130)


def _interrupt() -> None:
    """As Ctrl-C: what is finished is kept."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
