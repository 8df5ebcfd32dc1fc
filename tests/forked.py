"""Commands in processes of their own that need no time to start: forks of one warm process, of the launcher `local`.

    done = kdbench("data", "list")      # as subprocess.run([sys.executable, "-m", "kdbench", "data", "list"], …)
    execute(plan, place())              # a grid on the same warm process
    fork(Program("forked", ("run", "--jobs", "2", …)), log)   # a command whose jobs need no time to start either

Tests of the start itself, or of modules that are installed for a test, take a fresh interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import subprocess
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import psutil

from kdbench.launch import BUILTIN, forks
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
    """The launcher `local`, on the warm process that the tests share; for `kdbench.launch.BUILTIN`."""

    def _warm_up(self) -> WarmProcess | None:
        return place()._warm_up()

    def __exit__(self, *_: object) -> None:
        """The warm process stays."""


class ForkOfThis(WarmProcess):
    """A warm process that is itself a fork of this one, whose libraries are there already."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            os.setsid()
            os.dup2(theirs.fileno(), 0)
            # A lock or a pipe of the parent would outlive it here.
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            code = 0
            try:
                forks.main()
            except BaseException:
                traceback.print_exc()
                code = 1
            # The frames above are the parent's.
            forks._leave(code)
        theirs.close()

    def close(self) -> None:
        """Lets it end."""
        self._requests.close()
        os.waitpid(self._pid, 0)


class InAFork(Local):
    """The launcher `local` in a fork, whose jobs are forks in turn; for `kdbench.launch.BUILTIN`."""

    def _warm_up(self) -> WarmProcess | None:
        self._warm = self._warm or ForkOfThis()
        return self._warm


def fork_jobs() -> None:
    """From now on the jobs of this process are its forks; for a fork, where nothing but one command runs."""
    BUILTIN["local"] = "forked:InAFork"


def kdbench(*arguments: object, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, and gives back what it printed."""
    program = Program("forked", tuple(map(str, arguments)))
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


if __name__ == "__main__":
    from kdbench.cli import main

    fork_jobs()
    main()
