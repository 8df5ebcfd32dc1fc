"""A search as every worker of it needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from kdbench.recipes.changes import nested
from kdbench.recipes.search_space import Range
from kdbench.runs.request import RunRequest

SEARCHES = "searches"


class SearchPlan(BaseModel):
    """A search, settled.

    Attributes:
        run: What all runs have in common; no preset `auto`, and the folder of the runs is named.
        study: Name of the study.
        stem: What the winner's recipe is called.
        space: What is tried.
        own: The recipe's own values, which are the first trial; null where the space does not hold them.
        integers: Keys whose values are whole numbers.
        trials: Trials in all.
        trial_seeds: Seeds that a trial's value is the mean over.
        sampler: Proposes trials.
        pruner: Stops trials early.
        metric: What is maximised on the validation part.
        role: The network that is measured: `student`, or `teacher` where the recipe has no student.
        steps: Epochs of a whole trial.
        heartbeat_seconds: How often a worker says that it lives.
        identity: What two commands must have in common to go on with one study.
        under: Where: `dataset`, `protocol`, `preset` and, where labels or pairs are scarce, `track`.
    """

    model_config = ConfigDict(frozen=True)
    run: RunRequest
    study: str
    stem: str
    space: dict[str, Range]
    own: dict[str, Any] | None = None
    integers: tuple[str, ...]
    trials: int
    trial_seeds: tuple[int, ...]
    sampler: str
    pruner: str
    metric: str
    role: str
    steps: int
    heartbeat_seconds: int
    identity: dict[str, Any]
    under: dict[str, Any]

    @property
    def root(self) -> Path:
        """Folder of all runs."""
        return self.run.root

    @property
    def folder(self) -> Path:
        """Folder of the search."""
        return self.root / SEARCHES / self.study

    def within(self, number: int) -> str:
        """Folder of a trial's runs, below the folder of all runs."""
        return f"{SEARCHES}/{self.study}/trials/{number:04d}"

    def request(self, values: Mapping[str, Any], seed: int, *, validation: bool) -> RunRequest:
        """A run with these values, on the validation part or as the recipe says."""
        request = self.run.changed(nested(values), seed=seed)
        return request.changed({"selection": {"part": "validation"}}) if validation else request
