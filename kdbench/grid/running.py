"""A run of a grid on its way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kdbench.grid.plan import PlannedRun
from kdbench.launch.launcher import Job
from kdbench.launch.tied import GRACE_SECONDS


@dataclass
class Running:
    """A run on its way.

    Attributes:
        planned: The run.
        job: Its process.
        started: When it started, seconds of the monotonic clock.
        ending: When it was asked to end.
        late: Whether that was since its time was up.
    """

    planned: PlannedRun
    job: Job
    started: float = field(default_factory=time.monotonic)
    ending: float | None = None
    late: bool = False

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def stop(self, *, late: bool = False) -> None:
        """Asks it to end; what does not do so in time is killed."""
        if self.ending is None:
            self.ending, self.late = time.monotonic(), late
            self.job.interrupt()
        elif time.monotonic() - self.ending > GRACE_SECONDS:
            self.job.kill()
