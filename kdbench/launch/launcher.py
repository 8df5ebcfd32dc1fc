"""Launchers by name, and what one has to offer; `local` starts processes of this machine."""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kdbench.errors import unknown
from kdbench.launch.tied import GRACE_SECONDS
from kdbench.util.progress import Reporter

LAUNCHERS = {"local": "kdbench.launch.local:Local"}
"""Class of each launcher by its name, `module:class`; it is built with `jobs`, `device` and `reporter`."""
_TICK_SECONDS = 0.1


@dataclass(frozen=True)
class Program:
    """What a job runs: `python -m MODULE ARGUMENTS`.

    Attributes:
        module: Its module; it calls `kdbench.launch.tied.tie`, so that it ends with whoever started it.
        arguments: Its command line.
        text: What it finds on its standard input, for what other users of the machine should not see.
    """

    module: str
    arguments: tuple[str, ...] = ()
    text: str = ""


class Job(Protocol):
    """A program on its way."""

    log: Path

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def printed(self) -> str:
        """What it has printed so far."""

    def interrupt(self) -> None:
        """Asks it to keep what it has and to end."""

    def kill(self) -> None:
        """Ends it at once."""


class Launcher(Protocol):
    """Starts programs, each in one of `slots` places; a context, whose end frees what it keeps between two jobs.

    A program runs with the environment, working folder and kdbench of this process, and ends when this process does,
    however that ends.
    """

    slots: int

    def __enter__(self) -> Self:
        """Gets ready, without waiting for it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Frees what it keeps; every job has ended."""

    def start(self, program: Program, log: Path, slot: int) -> Job:
        """Starts a program; what it prints is appended to the log.

        Raises:
            RunFailed: The log cannot be written.
        """


def launcher(name: str, *, jobs: int, device: str, reporter: Reporter) -> Launcher:
    """Builds a launcher.

    Args:
        name: A name of `LAUNCHERS`.
        jobs: Programs at a time.
        device: `auto`, `cpu` or `cuda`.
        reporter: Is warned of what goes wrong and costs no job.

    Raises:
        UsageError: No such launcher.
    """
    if name not in LAUNCHERS:
        raise unknown("launcher", name, LAUNCHERS)
    module, _, attribute = LAUNCHERS[name].partition(":")
    built: Launcher = getattr(importlib.import_module(module), attribute)(jobs=jobs, device=device, reporter=reporter)
    return built


def stop(jobs: Collection[Job]) -> None:
    """Asks jobs to keep what they have and to end, and waits for it; kills what does not in time."""
    running = [job for job in jobs if job.poll() is None]
    for job in running:
        job.interrupt()
    deadline = time.monotonic() + GRACE_SECONDS
    while (running := [job for job in running if job.poll() is None]) and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
    for job in running:
        job.kill()
