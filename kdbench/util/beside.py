"""A second process that does a part of the work while this one does another."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

# The other process imports from where this one does.
_PROGRAM = "import json, sys; sys.path = json.loads(sys.argv[1]); import kdbench.util.beside as b; b.call(sys.argv[2])"


def has_another_core() -> bool:
    """Whether a second process would run at the same time as this one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) > 1


@contextlib.contextmanager
def beside(target: str, argument: Any) -> Iterator[None]:
    """Calls a function in a process of its own, which has ended when the block ends; what becomes of it is not told.

    So the function has to leave what it did where this process looks for it, and this process has to do what it does
    not find. Where the block raises, the other process is killed.

    Args:
        target: `MODULE:FUNCTION`.
        argument: What it is called with, plain data.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), target],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # In a group of its own: Ctrl-C is for this process, which ends the other one itself.
        process_group=0,
    )
    try:
        assert process.stdin is not None
        # A process that has died takes nothing.
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(argument).encode())
        yield
        process.wait()
    finally:
        process.kill()
        process.wait()


def call(target: str) -> None:
    """What the other process does."""
    module, _, function = target.partition(":")
    getattr(importlib.import_module(module), function)(json.load(sys.stdin))
