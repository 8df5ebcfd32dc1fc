"""How long a grid that is under way still takes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from statistics import median

from kdbench.errors import KdbenchError
from kdbench.grid.estimate import Remaining
from kdbench.grid.plan import GridPlan, PlannedRun
from kdbench.grid.state import DONE
from kdbench.runs.store import stored_run


class TimeLeft:
    """The time that is left, from the finished runs of the folder, those that the grid has made itself included.

    Args:
        plan: The grid as it stood at the start.
        jobs: Cells at a time.
    """

    def __init__(self, plan: GridPlan, jobs: int) -> None:
        self._jobs = jobs
        self._remaining = Remaining(plan)
        self._running: dict[Path, float] = {}
        self._starts: list[float] = []
        self._until = self._end()

    def started(self, planned: PlannedRun) -> None:
        """A run has started."""
        self._running[planned.folder] = time.monotonic()

    def ended(self, planned: PlannedRun, seconds: float) -> None:
        """A run has ended after so many seconds; a failed one is not tried again by this grid."""
        self._running.pop(planned.folder, None)
        run = None
        if planned.state.status == DONE:
            with contextlib.suppress(KdbenchError):
                run = stored_run(planned.folder)
        if run is not None and seconds:
            # A run does not know how long its process took to start.
            with contextlib.suppress(KeyError, TypeError):
                self._starts.append(max(0.0, seconds - run.result["cost"]["seconds_this_process"]))
        self._remaining.ended(planned, run)
        self._until = self._end()

    def waits(self, planned: PlannedRun) -> None:
        """A run that had started is to be made later."""
        self._running.pop(planned.folder, None)

    @property
    def seconds(self) -> float | None:
        """Seconds that are left; None where nothing is, or where the cost of a run is not known yet."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def _end(self) -> float | None:
        cost, count = self._remaining.seconds, self._remaining.count
        if cost is None:
            return None
        now = time.monotonic()
        work = cost + count * (median(self._starts) if self._starts else 0.0)
        spent = sum(now - began for began in self._running.values())
        # The last runs are fewer than the jobs that could share them.
        return now + max(0.0, work - spent) / max(1, min(self._jobs, count))
