"""What every launcher promises: programs that find what they are given, and ends that are told as they were."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdbench.launch.launcher import Job, Launcher, Program, options_of, stop
from kdbench.testing.base import CheckSuite, Failed, checks_in
from kdbench.testing.program import MARK
from kdbench.util.progress import Reporter
from kdbench.util.validation import checked

SECONDS = 120.0
"""How long a program may take to begin or to end; a queue that takes longer cannot be checked so."""
_TICK_SECONDS = 0.05
_PROGRAM = "kdbench.testing.program"


class LauncherCase:
    """One launcher with its options.

    Args:
        name: Its registered name.
        component: The class.
        options: Its options, as in a suite.
    """

    def __init__(self, name: str, component: Any, *, options: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.component = component
        given = checked(
            options_of(component),
            dict(options or {}),
            f"the options of the launcher '{name}'",
            hint="Give it options that its __init__ has.",
        )
        self.options = {key: getattr(given, key) for key in type(given).model_fields}

    @contextmanager
    def place(self, jobs: int = 1) -> Iterator[tuple[Launcher, Path]]:
        """The launcher, open, and a folder for logs."""
        with tempfile.TemporaryDirectory() as folder:
            launcher = self.component(jobs=jobs, device="cpu", reporter=Reporter(), **self.options)
            with launcher:
                yield launcher, Path(folder)


def _ended(job: Job) -> int:
    """The exit code of a job, once it has one."""
    deadline = time.monotonic() + SECONDS
    while (code := job.poll()) is None:
        if time.monotonic() > deadline:
            job.kill()
            raise Failed(f"a program did not end in {SECONDS:g} s; it printed {job.printed()!r}")
        time.sleep(_TICK_SECONDS)
    return code


def _waiting(place: Launcher, folder: Path, slot: int = 0) -> Job:
    """A program that has begun to wait."""
    begun, deadline = folder / f"begun-{slot}", time.monotonic() + SECONDS
    job = place.start(Program(_PROGRAM, ("wait", str(begun))), folder / f"log-{slot}", slot)
    while not begun.exists():
        if job.poll() is not None or time.monotonic() > deadline:
            job.kill()
            raise Failed(f"a program did not begin to wait in {SECONDS:g} s; it printed {job.printed()!r}")
        time.sleep(_TICK_SECONDS)
    return job


def runs_a_program(case: LauncherCase) -> None:
    """A program finds its words, its input, this folder and this environment; what it prints is in its log."""
    with case.place() as (place, folder):
        before = os.environ.get(MARK)
        os.environ[MARK] = "a mark"
        try:
            words = ("a b", "ü", "--c=*")
            job = place.start(Program(_PROGRAM, ("echo", *words), "a line\n"), folder / "logs" / "log", 0)
            code = _ended(job)
        finally:
            os.environ.pop(MARK) if before is None else os.environ.update({MARK: before})
        text = job.printed()
        if code != 0:
            raise Failed(f"a program that should end with 0 ended with {code}; it printed {text!r}")
        try:
            found = json.loads(text.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Failed(f"what the program printed is not in its log, which holds {text!r}") from None
        wanted = {"words": list(words), "line": "a line", "folder": str(Path.cwd()), "mark": "a mark"}
        for key, value in wanted.items():
            if found[key] != value:
                raise Failed(f"the program's {key}: {found[key]!r}, expected {value!r}")


def tells_the_exit_code(case: LauncherCase) -> None:
    """The exit code of a program is its own."""
    with case.place() as (place, folder):
        for wanted in (0, 3):
            code = _ended(place.start(Program(_PROGRAM, ("exit", str(wanted))), folder / f"log-{wanted}", 0))
            if code != wanted:
                raise Failed(f"a program ended with {wanted}, and the launcher says {code}")


def adds_to_the_log(case: LauncherCase) -> None:
    """What an earlier attempt left in the log stays, and is not what this one printed."""
    with case.place() as (place, folder):
        log = folder / "log"
        log.write_text("of yesterday\n")
        job = place.start(Program(_PROGRAM, ("echo",), "a line\n"), log, 0)
        _ended(job)
        if not log.read_text().startswith("of yesterday\n") or log.read_text() == "of yesterday\n":
            raise Failed(f"the log of an earlier attempt is not gone on with: {log.read_text()!r}")
        if "of yesterday" in job.printed():
            raise Failed("what an earlier attempt printed is said to be this one's")


def asks_a_program_to_end(case: LauncherCase) -> None:
    """A program that is asked to end hears it as Ctrl-C, and has the time to keep what it has."""
    with case.place() as (place, folder):
        job = _waiting(place, folder)
        stop([job])
        if "kept" not in job.printed():
            raise Failed(f"a program that was asked to end was not let keep what it has; it printed {job.printed()!r}")
        if _ended(job) == 0:
            raise Failed("a program that was asked to end is said to have ended well")


def kills_a_program(case: LauncherCase) -> None:
    """A program that is killed is gone at once, without a word, and its end is no good one."""
    with case.place() as (place, folder):
        job = _waiting(place, folder)
        job.kill()
        if (code := _ended(job)) == 0 or "kept" in job.printed():
            raise Failed(f"a program that was killed ended with {code} and printed {job.printed()!r}")


def runs_as_many_as_it_has_places(case: LauncherCase) -> None:
    """With two places, two programs run at the same time."""
    with case.place(jobs=2) as (place, folder):
        if place.slots != 2:
            raise Failed(f"built with jobs=2 it has {place.slots} places")
        jobs = [_waiting(place, folder, slot) for slot in range(2)]
        for job in jobs:
            job.kill()
            _ended(job)


SUITE = CheckSuite(LauncherCase, gates=(runs_a_program,), checks=checks_in(__name__))
