"""What a search is asked for, before anything is opened or resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.tuning.choosers import NO_PRUNER


@dataclass(frozen=True)
class Request:
    """A search of one method, as a user gives it; see `kdbench.search` for what each means."""

    method: str
    dataset: str
    trials: int = 30
    space: Sequence[str] = ()
    sampler: str = "tpe"
    pruner: str = NO_PRUNER
    metric: str = "accuracy"
    trial_seeds: int = 1
    jobs: int = 1
    storage: str | None = None
    study: str | None = None
    heartbeat_seconds: int = 20
    protocol: str | None = None
    preset: str = "auto"
    video: str | None = None
    overrides: Sequence[str] | Mapping[str, Any] = ()
    device: str = "auto"
    threads: int | None = None
    precision: str | None = None
    data_dir: Path | None = None
    allow_broken: bool = False
    out: Path | None = None
