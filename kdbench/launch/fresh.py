"""A program in an interpreter of its own, for platforms without a warm process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import BinaryIO

from kdbench.launch import tied
from kdbench.launch.launcher import Program

_HAS_GROUPS = hasattr(os, "killpg")


class FreshProcess:
    """An interpreter that runs a program and ends when this process does, however this one ends.

    Args:
        program: What it runs.
        environment: As `kdbench.launch.machine.environment_of` makes it.
        output: Gets what it prints.
        folder: Where it runs; by default in the folder of this process.
    """

    never_began = False

    def __init__(
        self, program: Program, environment: Mapping[str, str], output: BinaryIO, folder: str | None = None
    ) -> None:
        self._process = subprocess.Popen(
            # -P, since folders of the current directory may have the names of libraries.
            [sys.executable, "-P", "-m", program.module, *program.arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**environment, tied.ASKED: "1"},
            start_new_session=_HAS_GROUPS,
        )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        self._input = self._process.stdin
        # It may have ended already; the pipe stays open, since the process ends with it.
        with contextlib.suppress(BrokenPipeError):
            self._input.write(program.text.encode())
            self._input.flush()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Asks it to keep what it has and to end."""
        if self.poll() is not None:
            return
        if _HAS_GROUPS:
            self._process.send_signal(signal.SIGINT)
        else:
            # Where a signal cannot ask, the end of its input does.
            self._input.close()

    def kill(self) -> None:
        """Ends it at once; with it go the processes that it started."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if _HAS_GROUPS:
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        self._process.wait()
