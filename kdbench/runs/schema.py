"""What a `run.json` holds, as far as kdbench reads it: the one place that every reader of runs goes through.

Keys that are not named here may hold anything. What was not recorded by every kdbench of this version is optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdbench.errors import DataError
from kdbench.runs.damage import damaged
from kdbench.util.validation import in_a_line

SCHEMA_VERSION = 1
"""Version of `run.json`; raised whenever a key changes its meaning."""
FINISHED = "finished"
MAX_SEED = 2**63 - 1
_Amount = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Named(_Part):
    name: str


class _Branch(_Part):
    sees: str
    representation: _Named
    encoder: _Named


class _Network(_Part):
    representation: _Named | None = None
    encoder: _Named | None = None
    branches: dict[str, _Branch] | None = None
    fusion: _Named
    losses: dict[str, Any]
    modality: str | None = None
    sensors: list[str] | None = None
    weights: str | None = None
    train: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _sees_something(self) -> _Network:
        if not self.branches and (self.representation is None or self.encoder is None):
            raise ValueError("neither branches nor a representation and an encoder")
        return self


class _Recipe(_Part):
    teacher: _Network | None
    student: _Network | None
    data: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None


class _DataConditions(_Part):
    options: dict[str, Any] | None = None


class _Conditions(_Part):
    dataset: str
    protocol: str
    preset: str
    part: str
    fingerprint: str
    view: str | None
    test_modalities: list[str]
    selection: str | None = None
    split: str | None = None
    threads: int | None = None
    data: _DataConditions | None = None
    libraries: dict[str, str] | None = None


class _Both(_Part):
    accuracy: _Amount
    macro_f1: _Amount


class _Probes(_Part):
    cosine_5nn: _Both | None
    own_logits: _Both | None


class _Metrics(_Both):
    n: _Count
    weighted_f1: _Amount
    map: _Amount | None = None
    per_class_recall: dict[str, _Amount | None]
    ece: _Amount | None = None
    inductive: _Both | None = None
    probes: _Probes | None = None


class _Teacher(_Part):
    folder: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    accuracy: _Amount
    macro_f1: _Amount | None = None
    leaks: bool | None = None
    inductive: _Both | None = None
    at_student_batch_size: _Both | None = None


class _Cost(_Part):
    parameters: _Amount | None = None
    flops: _Amount | None = None
    latency_ms: _Amount | None = None
    seconds_per_epoch: _Amount | None = None
    train_seconds: _Amount | None = None
    teacher_seconds: _Amount | None = None
    peak_memory_bytes: _Amount | None = None
    wait_share: _Amount | None = None
    seconds_this_process: _Amount | None = None


class _View(_Part):
    name: str | None


class _Plugin(_Part):
    kind: str
    name: str
    distribution: str | None = None
    version: str | None = None


class _Run(_Part):
    method: str
    dataset: str
    protocol: str
    preset: str
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    status: Literal["finished", "running", "interrupted", "failed"]
    conditions: _Conditions
    recipe: _Recipe
    name: str | None = None
    message: str | None = None
    warnings: list[str] | None = None
    metrics: _Metrics | None = None
    teacher: _Teacher | None = None
    teachers: dict[str, _Teacher] | None = None
    cost: _Cost | None = None
    view: _View | None = None
    trials: dict[str, int] | None = None
    files: dict[str, str] | None = None
    plugins: list[_Plugin] | None = None
    excluded: dict[str, Any] | None = None
    lacking: dict[str, str] | None = None
    tuning: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None


def checked(result: Any) -> Mapping[str, Any]:
    """What a `run.json` holds, if it is the result of a run.

    Raises:
        DataError: It is not, or is one of another version; the keys are named, with what was found and expected.
    """
    if not isinstance(result, dict):
        raise damaged(f"run.json holds {type(result).__name__}, expected an object")
    version = result.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"run.json has schema version {str(version)[:40]}, and this kdbench reads {SCHEMA_VERSION}",
            hint="Open it with the kdbench that made it, or train it again.",
        )
    try:
        _Run.model_validate(result)
    except ValidationError as error:
        raise damaged(f"run.json: {in_a_line(error, _Run, result)}") from error
    if result["status"] == FINISHED and result.get("metrics") is None:
        raise damaged("run.json says finished and has no metrics")
    return result
