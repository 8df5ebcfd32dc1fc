"""What a launcher has to offer, and how one is built from its name and options."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, create_model

from kdbench.errors import UsageError
from kdbench.launch.tied import GRACE_SECONDS
from kdbench.recipes.changes import parse_overrides
from kdbench.recipes.terms import PartSpec
from kdbench.registry import registry
from kdbench.util.progress import Reporter
from kdbench.util.validation import checked

LOCAL = "local"
GIVEN = ("jobs", "device", "reporter")
"""What every launcher is built with; its other parameters are its options."""
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


class Endable(Protocol):
    """What runs and can be ended."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def interrupt(self) -> None:
        """Asks it to keep what it has and to end."""

    def kill(self) -> None:
        """Ends it at once."""


class Job(Endable, Protocol):
    """A program on its way."""

    log: Path

    def printed(self) -> str:
        """What it has printed so far."""


class Launcher(Protocol):
    """Starts programs, each in one of `slots` places; a context, whose end frees what it keeps between two jobs.

    It is decorated with `@launcher(NAME)` and built with `jobs`, `device` and `reporter`; further keyword parameters
    are its options, from a suite or from `--launcher-option`. A program runs with the environment, working folder and
    kdbench of this process. One on this machine ends when this process does, however that ends; one elsewhere is asked
    to end.
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


def build(spec: PartSpec | None, *, jobs: int, device: str, reporter: Reporter) -> Launcher:
    """Builds a launcher.

    Args:
        spec: Its name and its options; None for `local`.
        jobs: Programs at a time.
        device: `auto`, `cpu` or `cuda`.
        reporter: Is warned of what goes wrong and costs no job.

    Raises:
        UsageError: No such launcher, an option that it does not have (the near misses are named) or that it wants and
            was not given, a value of the wrong type, or an engine that is not installed or cannot be reached.
    """
    component, options = _read(spec or PartSpec(name=LOCAL))
    built: Launcher = component(jobs=jobs, device=device, reporter=reporter, **options)
    return built


def check(spec: PartSpec) -> None:
    """Looks at a launcher's name and options, and starts nothing.

    Raises:
        UsageError: As of `build`, as far as it can be told without the engine.
    """
    _read(spec)


def _read(spec: PartSpec) -> tuple[Any, dict[str, Any]]:
    component: Any = registry("launcher").get(spec.name)
    hint = f"See them: kdbench describe {spec.name}"
    options = checked(options_of(component), spec.params, f"the options of the launcher '{spec.name}'", hint=hint)
    return component, {name: getattr(options, name) for name in type(options).model_fields}


def asked_for(name: str | None, options: Sequence[str], of_suite: PartSpec | None = None) -> PartSpec | None:
    """The launcher that a command asks for: the one that it names, or the suite's, whose options stay below its own.

    Args:
        name: What `--launcher` says; None where it is not given.
        options: What `--launcher-option` says, each `KEY=VALUE`.
        of_suite: What the suite says.

    Returns:
        Its name and options; None where nobody asks for one.

    Raises:
        UsageError: An option cannot be read, or there is no launcher that it could be of.
    """
    spec = of_suite if name is None or (of_suite is not None and of_suite.name == name) else PartSpec(name=name)
    if spec is None and options:
        raise UsageError(
            f"--launcher-option {options[0]} is of no launcher",
            hint="Name one, for example --launcher slurm; see them all: kdbench list launchers",
        )
    return spec and PartSpec(**{**spec.model_dump(), **parse_overrides(options)})


def options_of(component: Callable[..., Any]) -> type[BaseModel]:
    """What a launcher takes beside `jobs`, `device` and `reporter`, as a model of its keyword parameters."""
    parameters = inspect.signature(component, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (each.annotation, ... if each.default is each.empty else each.default)
        for each in parameters
        if each.name not in GIVEN
    }
    return create_model("Options", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields)


def stop(jobs: Collection[Endable]) -> None:
    """Asks jobs to keep what they have and to end, and waits for it; kills what does not in time."""
    running = [job for job in jobs if job.poll() is None]
    for job in running:
        job.interrupt()
    deadline = time.monotonic() + GRACE_SECONDS
    while (running := [job for job in running if job.poll() is None]) and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
    for job in running:
        job.kill()
