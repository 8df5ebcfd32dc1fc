"""A search as every worker of it needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from kdbench.recipes.resolve import merge
from kdbench.recipes.search_space import Range
from kdbench.tuning.space import nested

SEARCHES = "searches"


class Plan(BaseModel):
    """A search, settled.

    Attributes:
        method: Recipe.
        dataset: Data set.
        protocol: Split.
        preset: Size.
        video: The student's view, or null for the best.
        overrides: What all trials have in common, nested.
        device: `auto`, `cpu` or `cuda`.
        threads: Threads on a CPU; null for the default.
        precision: As the run takes it.
        data_dir: Where the data lie.
        allow_broken: Whether broken trials are left out.
        out: Folder of the runs.
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
    method: str
    dataset: str
    protocol: str
    preset: str
    video: str | None
    overrides: dict[str, Any]
    device: str
    threads: int | None = None
    precision: str | None
    data_dir: str | None
    allow_broken: bool
    out: str
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
    def folder(self) -> Path:
        """Folder of the search."""
        return Path(self.out) / SEARCHES / self.study

    def within(self, number: int) -> str:
        """Folder of a trial's runs, below the folder of all runs."""
        return f"{SEARCHES}/{self.study}/trials/{number:04d}"

    def settings(self, values: Mapping[str, Any], *, validation: bool) -> dict[str, Any]:
        """Overrides of a run with these values, on the validation part or as the recipe says."""
        changes = merge(self.overrides, nested(values))
        return merge(changes, {"selection": {"part": "validation"}}) if validation else changes

    def arguments(self) -> dict[str, Any]:
        """Arguments that every run of the search has in common, as `settle` takes them."""
        return {
            "protocol": self.protocol,
            "preset": self.preset,
            "video": self.video,
            "device": self.device,
            "threads": self.threads,
            "precision": self.precision,
            "data_dir": Path(self.data_dir) if self.data_dir else None,
            "allow_broken": self.allow_broken,
        }
