"""Commands in processes of their own that need no time to start: forks of one warm process, of the launcher `local`.

    done = kdbench("data", "list")      # as subprocess.run([sys.executable, "-m", "kdbench", "data", "list"], …)
    execute(plan, place())              # a grid on the same warm process

Tests of the start itself, or of modules that are installed for a test, take a fresh interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from kdbench.launch.launcher import Program
from kdbench.launch.local import Local
from kdbench.launch.warm import ForkedProcess, WarmProcess


@functools.cache
def place() -> Local:
    """The launcher `local` for two jobs, open until the tests end; modules of tests/ are importable in its jobs."""
    local = Local(jobs=2, device="cpu")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    local.__enter__()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    atexit.register(local.__exit__, None, None, None)
    return local


class Shared(Local):
    """The launcher `local`, on the warm process that the tests share; for `LAUNCHERS`."""

    def _warm_up(self) -> WarmProcess | None:
        return place()._warm_up()

    def __exit__(self, *_: object) -> None:
        """The warm process stays."""


def kdbench(*arguments: object, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, and gives back what it printed."""
    program = Program("kdbench", tuple(map(str, arguments)))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        code = wait(fork(program, output, errors), seconds)
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(program.arguments, code, output.read().decode(), errors.read().decode())


def fork(program: Program, output: object, errors: object = None) -> ForkedProcess:
    """Starts a program."""
    warm = place()._warm_up()
    assert warm is not None
    return warm.fork(program, os.environ, output, errors)  # type: ignore[arg-type]


def wait(process: ForkedProcess, seconds: float = 300) -> int:
    """Its exit code, once it has ended; it is killed where it takes longer."""
    deadline = time.monotonic() + seconds
    while (code := process.poll()) is None:
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"not done after {seconds} s")
        time.sleep(0.01)
    return code


def alive(root: Path) -> Sequence[int]:
    """Processes whose output goes to a file below this folder."""
    numbers = []
    for number in psutil.pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{number}/fd/1").readlink().is_relative_to(root):
                numbers.append(number)
    return numbers
