"""What a comparison reads of a `run.json`, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.results.store import StoredRun, Unreadable
from kdbench.validation import in_a_line


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Part(_Strict):
    name: str


class _Network(_Strict):
    representation: _Part
    encoder: _Part
    fusion: _Part
    losses: dict[str, Any]


class _Recipe(_Strict):
    teacher: _Network | None
    student: _Network | None


class _Conditions(_Strict):
    dataset: str
    protocol: str
    preset: str
    view: str | None
    test_modalities: list[str]


class _Teacher(_Strict):
    accuracy: float


class _Cost(_Strict):
    seconds_per_epoch: float | None = None
    train_seconds: float | None = None
    teacher_seconds: float | None = None
    peak_memory_bytes: float | None = None
    parameters: float | None = None
    flops: float | None = None
    latency_ms: float | None = None


class _Metrics(_Strict):
    per_class_recall: dict[str, float | None]


class _Run(_Strict):
    method: str
    dataset: str
    protocol: str
    preset: str
    seed: int
    status: str
    conditions: _Conditions
    recipe: _Recipe
    metrics: _Metrics | None = None
    teacher: _Teacher | None = None
    cost: _Cost | None = None
    environment: dict[str, Any] | None = None


def well_formed(runs: Sequence[StoredRun]) -> tuple[list[StoredRun], list[Unreadable]]:
    """Parts runs whose `run.json` is as kdbench writes it from edited ones, which say where they fail."""
    good, bad = [], []
    for run in runs:
        try:
            _Run.model_validate(dict(run.result))
        except ValidationError as error:
            bad.append(Unreadable(run.folder, f"run.json: {in_a_line(error, _Run, run.result)}"))
        else:
            good.append(run)
    return good, bad
