"""Where cells run: launchers by name. `local` starts a process of this machine for each."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from kdbench.errors import unknown
from kdbench.registry import plugin_files
from kdbench.util import process
from kdbench.util.files import unwritable
from kdbench.util.process import cores, environment_of, gpus

LAUNCHERS = {"local": "kdbench.grid.launch:Local"}
"""Class of each launcher by its name, `module:class`; it is built with `jobs` and `device`."""


class Job(Protocol):
    """A cell on its way."""

    log: Path

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def said(self) -> str:
        """What it has written so far."""

    def interrupt(self) -> None:
        """Asks it to keep what it has and to end."""

    def kill(self) -> None:
        """Ends it at once."""


class Launcher(Protocol):
    """Starts cells, each in one of `slots` places."""

    slots: int

    def start(self, arguments: Sequence[str], log: Path, slot: int) -> Job:
        """Starts `kdbench run` with these arguments; what it prints is appended to the log.

        Raises:
            RunFailed: The log cannot be written.
        """


def launcher(name: str, *, jobs: int, device: str) -> Launcher:
    """Builds a launcher.

    Args:
        name: A name of `LAUNCHERS`.
        jobs: Cells at a time.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: No such launcher.
    """
    if name not in LAUNCHERS:
        raise unknown("launcher", name, LAUNCHERS)
    module, _, attribute = LAUNCHERS[name].partition(":")
    built: Launcher = getattr(importlib.import_module(module), attribute)(jobs=jobs, device=device)
    return built


class Local:
    """Processes of this machine, each with its share of the cores, and a GPU of its own where there are several.

    Args:
        jobs: Processes at a time.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, *, jobs: int, device: str) -> None:
        self.slots = jobs
        self._gpus = [] if device == "cpu" else gpus()

    def start(self, arguments: Sequence[str], log: Path, slot: int) -> LocalJob:
        """See `Launcher`."""
        environment = environment_of(slot, jobs=self.slots, gpus=self._gpus, cores=cores(), base=os.environ)
        # -P, since folders of the current directory may have the names of libraries.
        plugins = [word for file in plugin_files() for word in ("--plugin", file)]
        command = [sys.executable, "-P", "-m", "kdbench", "run", *arguments, *plugins]
        return LocalJob(command, log, environment)


class LocalJob:
    """One process, apart from the terminal's group, so that Ctrl-C reaches it through the grid alone."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._offset = log.stat().st_size if log.is_file() else 0
            with log.open("ab") as file:
                self._process = process.start(command, file, environment, apart=True)
        except OSError as error:
            raise unwritable(error, log) from error
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """See `Job`."""
        return self._process.poll()

    def said(self) -> str:
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
        process.interrupt(self._process)

    def kill(self) -> None:
        """See `Job`; with it go the processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            process.kill(self._process, apart=True)


_TAIL = 64 << 10
