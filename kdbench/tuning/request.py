"""What a search is asked for, before anything is opened or resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.recipes.terms import PartSpec
from kdbench.runs.request import RunRequest
from kdbench.tuning.choosers import NO_PRUNER


@dataclass(frozen=True)
class SearchRequest:
    """A search of one method, as a user gives it; see `kdbench.search` for what each means.

    Attributes:
        run: What all runs of the search have in common.
    """

    run: RunRequest
    trials: int = 30
    space: Sequence[str] = ()
    sampler: str = "tpe"
    pruner: str = NO_PRUNER
    metric: str | None = None
    trial_seeds: int = 1
    jobs: int = 1
    launcher: PartSpec | None = None
    storage: str | None = None
    study: str | None = None
    heartbeat_seconds: int = 20
