"""How far a search is, and how long what is left of it takes, as far as earlier trials and runs tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from kdbench.grid.estimate import seconds_of_runs
from kdbench.tuning.settled import Settled
from kdbench.tuning.studies import standing


@dataclass(frozen=True)
class Forecast:
    """What is left of a search.

    Attributes:
        done: Trials that have ended.
        left: Trials that have not.
        seconds: Work of those that are left, without teachers and the winner's runs; None where nothing tells.
    """

    done: int
    left: int
    seconds: float | None


def forecasts(searches: Sequence[Settled]) -> list[Forecast]:
    """What is left of each search: by its own trials so far, else by runs in the same folder of as much training.

    Raises:
        RunFailed: The database of a search cannot be reached.
    """
    runs: list[float | None] = [None] * len(searches)
    if searches:
        runs = seconds_of_runs(searches[0].plan.root, [search.context.run_spec for search in searches])
    return [_forecast(search, run) for search, run in zip(searches, runs, strict=True)]


def _forecast(search: Settled, run_seconds: float | None) -> Forecast:
    plan = search.plan
    ended = [trial for trial in standing(plan, search.url) if trial.state.is_finished()]
    left = max(0, plan.trials - len(ended))
    lasted = [trial.duration.total_seconds() for trial in ended if trial.duration is not None]
    if lasted:
        return Forecast(len(ended), left, fmean(lasted) * left)
    if run_seconds is None:
        return Forecast(len(ended), left, None if left else 0.0)
    return Forecast(len(ended), left, run_seconds * len(plan.trial_seeds) * left)
