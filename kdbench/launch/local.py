"""The launcher `local`: processes of this machine, forked from a warm one where the platform lets them be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from kdbench.launch.fresh import FreshProcess
from kdbench.launch.launcher import Program
from kdbench.launch.machine import cores, environment_of, gpus
from kdbench.launch.warm import CAN_FORK, ForkedProcess, WarmProcess
from kdbench.registry import launcher
from kdbench.util.files import unwritable
from kdbench.util.progress import Reporter

Process = ForkedProcess | FreshProcess
_TAIL = 64 << 10
_MOST_DEATHS = 2
"""Warm processes that may die before every further job gets a fresh interpreter."""


@launcher("local")
class Local:
    """Processes of this machine, each with its share of the cores, and a GPU of its own where there are several.

    Args:
        jobs: Processes at a time.
        device: `auto`, `cpu` or `cuda`.
        reporter: Is warned where a warm process dies.
    """

    def __init__(self, *, jobs: int, device: str, reporter: Reporter | None = None) -> None:
        self.slots = jobs
        self._gpus = [] if device == "cpu" else gpus()
        self._reporter = reporter or Reporter()
        self._warm: WarmProcess | None = None
        self._deaths = 0 if CAN_FORK else _MOST_DEATHS

    def __enter__(self) -> Self:
        """See `Launcher`; the libraries are imported meanwhile."""
        self._warm_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Launcher`."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    def start(self, program: Program, log: Path, slot: int) -> LocalJob:
        """See `Launcher`."""
        environment = environment_of(slot, jobs=self.slots, gpus=self._gpus, cores=cores(), base=os.environ)

        def begin(output: BinaryIO) -> Process:
            warm = self._warm_up()
            return warm.fork(program, environment, output) if warm else FreshProcess(program, environment, output)

        return LocalJob(begin, log)

    def _warm_up(self) -> WarmProcess | None:
        """A warm process that lives; None where there is to be none."""
        if self._warm is not None and (ending := self._warm.ending()) is not None:
            self._warm.close()
            self._warm = None
            self._deaths += 1
            instead = "another one takes its place" if self._deaths < _MOST_DEATHS else "the others start without it"
            self._reporter.warn(f"the process that the jobs are forked from ended: {ending}; {instead}")
        if self._warm is None and self._deaths < _MOST_DEATHS:
            # Libraries read the number of threads when they are imported; of the GPUs, each job has its own.
            self._warm = WarmProcess(environment_of(0, jobs=self.slots, gpus=[], cores=cores(), base=os.environ))
        return self._warm


class LocalJob:
    """One process, apart from the terminal's group, so that Ctrl-C reaches it through its launcher's user alone.

    Args:
        begin: Starts the process, which writes into the file that it is given.
        log: Gets what it prints.
    """

    def __init__(self, begin: Callable[[BinaryIO], Process], log: Path) -> None:
        self.log = log
        self._begin = begin
        self._offset = log.stat().st_size if log.is_file() else 0
        self._process = self._started()

    def _started(self) -> Process:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as output:
                return self._begin(output)
        except OSError as error:
            raise unwritable(error, self.log) from error

    @property
    def pid(self) -> int | None:
        """The process's number, once it runs."""
        return self._process.pid

    def poll(self) -> int | None:
        """See `Job`."""
        code = self._process.poll()
        # The warm process died before it forked: asked for once more.
        if self._process.never_began:
            self._process = self._started()
            return None
        return code

    def printed(self) -> str:
        """See `Job`; of long logs, the end."""
        try:
            with self.log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._offset, end - _TAIL))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def interrupt(self) -> None:
        """See `Job`."""
        self._process.interrupt()

    def kill(self) -> None:
        """See `Job`; with it go the processes that it started."""
        self._process.kill()
