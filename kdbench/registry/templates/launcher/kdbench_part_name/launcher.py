"""The launcher `part_name`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from kdbench import launcher
from kdbench.launch.launcher import Program
from kdbench.util.progress import Reporter


@launcher("part_name")
class PartName:
    """Processes of this machine that give way to other work.

    Replace `Job` by your engine's: a job that is submitted, asked how it is, asked to end, and cancelled.

    Args:
        jobs: Programs at a time.
        device: `auto`, `cpu` or `cuda`.
        reporter: Is warned of what goes wrong and costs no job.
        niceness: How much they give way, 0 to 19. A suite sets it: `launcher: {name: part_name, niceness: 5}`.
    """

    def __init__(self, *, jobs: int, device: str, reporter: Reporter, niceness: int = 10) -> None:
        self.slots = jobs
        self.niceness = niceness

    def __enter__(self) -> Self:
        """Nothing has to be opened."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing has to be closed."""

    def start(self, program: Program, log: Path, slot: int) -> Job:
        """Starts a program; what it prints is appended to the log."""
        return Job(program, log, self.niceness)


class Job:
    """One process."""

    def __init__(self, program: Program, log: Path, niceness: int) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._begins = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["nice", f"-n{niceness}", sys.executable, "-m", program.module, *program.arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(program.text.encode())
        self._process.stdin.flush()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_bytes()[self._begins :].decode(errors="replace")

    def interrupt(self) -> None:
        """Asks it to keep what it has and to end."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends it at once; with it go the processes that it started."""
        if self.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
