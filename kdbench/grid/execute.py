"""Making the runs of a plan: which one is next, how long it may take, and how it ended."""

from __future__ import annotations

import contextlib
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kdbench.errors import Interrupted, KdbenchError
from kdbench.grid.estimate import longest_first
from kdbench.grid.plan import GridPlan, PlannedRun, refreshed
from kdbench.grid.running import Running
from kdbench.grid.show import GridView
from kdbench.grid.state import (
    DONE,
    FAILED,
    INTERRUPTED,
    LOGS,
    OOM,
    RUNNING,
    TIMEOUT,
    State,
    note_attempt,
    read_state,
    set_broken_aside,
)
from kdbench.launch.launcher import Launcher, Program
from kdbench.registry import plugin_files
from kdbench.runs.locks import is_locked
from kdbench.runs.mirror_store import create_store
from kdbench.util.files import unwritable
from kdbench.util.records import ELSEWHERE

TICK_SECONDS = 0.2
_OUT_OF_MEMORY = re.compile(r"^error: out of memory|OutOfMemoryError|^error: MemoryError", re.MULTILINE)
_SIGKILL = 9
"""By its number, since not every platform has its name."""
# The second is what shells and containers make of the first.
_KILLED = (-_SIGKILL, 128 + _SIGKILL)
_STOPPED = (-signal.SIGINT, -signal.SIGTERM, Interrupted.exit_code)


def execute(
    plan: GridPlan, launcher: Launcher, *, timeout: float | None = None, view: GridView | None = None
) -> GridPlan:
    """Makes every run that is not done; a run that fails costs itself alone.

    Args:
        plan: The runs.
        launcher: Where they run; open already.
        timeout: Seconds that a run may take; what it has by then is kept, and gone on with the next time.
        view: Is told what happens.

    Returns:
        The plan as it stands afterwards.

    Raises:
        Interrupted: Ctrl-C, or a request to end; every run has ended, and can be gone on with.
        RunFailed: Nothing can be written where the runs would go.
    """
    view = view or GridView()
    if plan.to_make():
        _check_writable(plan.root / LOGS)
        create_store(plan.root, view.warn)
    grid = _Grid(plan, launcher, timeout, view)
    with _signals() as signals, view:
        try:
            while grid.step(signals):
                time.sleep(TICK_SECONDS)
        finally:
            grid.kill()
    if signals:
        raise Interrupted(
            "interrupted; every finished epoch of every run is kept", hint="Repeat the same command to go on."
        )
    return replace(plan, runs=tuple(grid.ended.get(planned.folder, planned) for planned in plan.runs))


def _check_writable(folder: Path) -> None:
    """Fails once, before every run does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # It has no name, so a kill leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(error, folder, elsewhere=ELSEWHERE) from error


class _Grid:
    def __init__(self, plan: GridPlan, launcher: Launcher, timeout: float | None, view: GridView) -> None:
        self._launcher, self._timeout, self._view = launcher, timeout, view
        self._logs = plan.root / LOGS
        self._plugins = [word for file in plugin_files() for word in ("--plugin", file)]
        self._fresh = plan.fresh
        # In one place the plan's order stays, so that a seed's gains are known early.
        self._pending = plan.to_make() if launcher.slots == 1 else longest_first(plan)
        self._running: dict[int, Running] = {}
        self.ended: dict[Path, PlannedRun] = {}

    def step(self, signals: Sequence[int]) -> bool:
        """Looks after what runs, and starts what can be started; whether there is more to do."""
        for slot, running in list(self._running.items()):
            code = running.job.poll()
            if code is not None:
                del self._running[slot]
                self._conclude(running, code, interrupted=bool(signals))
            # Whoever asks a second time does not want to wait.
            elif len(signals) > 1:
                running.job.kill()
            elif signals or self._is_late(running):
                running.stop(late=not signals)
        if signals:
            self._pending.clear()
        self._start()
        self._view.tick(list(self._running.values()))
        return bool(self._running or self._pending)

    def kill(self) -> None:
        """Leaves no process behind, whatever happened."""
        for running in self._running.values():
            running.job.kill()

    def _is_late(self, running: Running) -> bool:
        return running.ending is not None or (self._timeout is not None and running.seconds > self._timeout)

    def _start(self) -> None:
        for slot in range(self._launcher.slots):
            if slot in self._running:
                continue
            planned = self._next()
            if planned is None:
                return
            self._pending.remove(planned)
            # Another process may have made it since the plan.
            if not self._fresh and (now := refreshed(planned)).state.status == DONE:
                self._end(now, 0.0)
                continue
            log = self._logs / f"{planned.folder.name}.log"
            try:
                set_broken_aside(planned.folder)
                program = Program("kdbench", ("run", *planned.request.words(), *self._plugins))
                self._running[slot] = Running(planned, self._launcher.start(program, log, slot))
            except (KdbenchError, OSError) as error:
                self._end(replace(planned, state=State(FAILED, str(error).partition("\n")[0])), 0.0)
                continue
            self._view.started(planned)

    def _next(self) -> PlannedRun | None:
        """The first run that would not wait: for a teacher that another one trains, or for another process."""
        trained = {folder for running in self._running.values() for folder in running.planned.teachers}
        for planned in self._pending:
            waits = any(folder in trained or is_locked(folder) for folder in planned.missing_teachers)
            if not waits and not is_locked(planned.folder):
                return planned
        return None

    def _conclude(self, running: Running, code: int, *, interrupted: bool) -> None:
        planned, output, seen = running.planned, running.job.printed(), read_state(running.planned.folder)
        if seen.status == RUNNING and not interrupted:
            # Its own lock ended with it, so another process came first, and may end well.
            self._pending.insert(0, planned)
            self._view.waits(planned)
            return
        state = _state(seen, code, output, late=running.late, interrupted=interrupted)
        note_attempt(planned.folder, state, code=code, seconds=running.seconds, log=running.job.log)
        self._end(replace(planned, state=state), running.seconds)

    def _end(self, planned: PlannedRun, seconds: float) -> None:
        self.ended[planned.folder] = planned
        self._view.ended(planned, seconds, self._logs / f"{planned.folder.name}.log")


def _state(seen: State, code: int, output: str, *, late: bool, interrupted: bool) -> State:
    """How an attempt ended, from the run's own result, its exit code, and what it said."""
    if code == 0 and seen.status == DONE:
        return seen
    if late:
        return State(TIMEOUT, "its time was up; it goes on from its last epoch")
    if interrupted or code in _STOPPED:
        return State(INTERRUPTED, "interrupted; it goes on from its last epoch")
    errors = re.findall(r"^error: (.*)$", output, re.MULTILINE)
    if code in _KILLED:
        return State(OOM, "killed, as the system does where memory runs out")
    if _OUT_OF_MEMORY.search(output):
        return State(OOM, errors[-1] if errors else "out of memory")
    if errors:
        return State(FAILED, errors[-1])
    ended = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    message = seen.message if seen.status not in (DONE, RUNNING) else ""
    return State(FAILED, message or f"it ended with {ended}")


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects the requests to end, instead of being torn out of the middle of something."""
    caught: list[int] = []
    handlers = {}
    # Only the main thread is told of signals.
    heard = threading.current_thread() is threading.main_thread()
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if heard else ():
        number = getattr(signal, name, None)
        # What was started under nohup stays deaf to the end of its terminal.
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            continue
        handlers[number] = signal.signal(number, lambda got, _frame: caught.append(got))
    try:
        yield caught
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
