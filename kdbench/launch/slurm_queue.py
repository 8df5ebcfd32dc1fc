"""Which jobs of a Slurm cluster wait or run, as `squeue` tells it.

submitit asks `sacct`, which knows nothing where a cluster keeps no accounts (`accounting_storage/none`): a job that was
cancelled there, or whose machine failed, would be waited for forever.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping

_COMMAND = ("squeue", "--me", "--noheader", "--array", "--format=%i %T")
_TRIES = 3


class Queue:
    """The jobs of this user that wait or run; asked once every few seconds for all of them together.

    Args:
        seconds: How old an answer may be.
        ask: Gives what `squeue` prints; raises OSError or `subprocess.SubprocessError` where it cannot.
    """

    def __init__(self, seconds: float, ask: Callable[[], str] | None = None) -> None:
        self._seconds = seconds
        self._ask = ask or _asked
        self._states: Mapping[str, str] | None = None
        self._looked = float("-inf")
        self._missed: dict[str, int] = {}

    def state(self, job: str) -> str:
        """`PENDING`, `RUNNING` and so on; empty where it is not in the queue, or where nothing is known now."""
        self._look()
        return (self._states or {}).get(job, "")

    def has_lost(self, job: str) -> bool:
        """Whether a job was missing in several answers, one after the other; one may come before it is queued."""
        self._look()
        return self._missed.get(job, 0) >= _TRIES

    def watch(self, job: str) -> None:
        """From now on it is missed where it is not there."""
        self._missed[job] = 0

    def forget(self, job: str) -> None:
        """It has ended."""
        self._missed.pop(job, None)

    def _look(self) -> None:
        if time.monotonic() - self._looked < self._seconds:
            return
        self._looked = time.monotonic()
        try:
            lines = self._ask().splitlines()
        except (OSError, subprocess.SubprocessError):
            # The controller is away for a while; whether a job is there is not known.
            self._states = None
            return
        self._states = dict(line.split(maxsplit=1) for line in lines if line.strip())
        for job in self._missed:
            self._missed[job] = 0 if job in self._states else self._missed[job] + 1


def _asked() -> str:
    return subprocess.run(_COMMAND, check=True, capture_output=True, text=True, timeout=60).stdout
