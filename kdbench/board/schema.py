"""What a submission's `result.json` holds. The same as JSON schema: `leaderboard/schema/submission-1.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
"""Version of `result.json`; raised whenever a key changes its meaning."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metrics(_Strict):
    """What is scored again from the predictions; shares in [0, 1].

    Attributes:
        n: Test trials.
        accuracy: Equal to micro F1.
        macro_f1: Over the classes present in the labels.
        weighted_f1: Each class by its number of trials.
        ece: Expected calibration error.
        per_class_recall: By class name; null where no trial is of the class.
        shuffles: How many orders of the test part the metrics are averaged over; 1 where batch mates do not matter.
    """

    n: int = Field(ge=1)
    accuracy: Share
    macro_f1: Share
    weighted_f1: Share
    ece: Share
    per_class_recall: dict[str, Share | None]
    shuffles: int = Field(default=1, ge=1)


class Epoch(_Strict):
    """One point of the learning curves; accuracy is on the training part."""

    phase: Literal["teacher", "student"]
    epoch: int = Field(ge=0)
    loss: Finite
    accuracy: Share | None = None


class TeacherClaim(_Strict):
    """The teacher of a run: its identity and what it reached itself."""

    identity: Name
    accuracy: Share
    macro_f1: Share


class Claims(_Strict):
    """What the run says of itself and its predictions cannot prove.

    Attributes:
        teacher: The teacher; null where there is none.
        inductive: Accuracy one trial at a time, where batch mates change the predictions.
        cost: Seconds, bytes and counts, as in `run.json`.
        best_epoch: The epoch that is reported, where a validation part chose it.
        curves: The learning curves.
    """

    teacher: TeacherClaim | None = None
    inductive: Share | None = None
    cost: dict[str, Finite | None] = Field(default_factory=dict)
    best_epoch: int | None = None
    curves: tuple[Epoch, ...] = Field(default=(), max_length=10_000)


class SeedResult(_Strict):
    """One seed."""

    seed: int = Field(ge=0)
    metrics: Metrics
    claims: Claims


class Submission(_Strict):
    """One method on one data set, protocol and preset, over all its seeds.

    Attributes:
        schema_version: Of this file.
        id: Hash of everything else in this file, and so, through `files`, of the whole submission.
        method: The recipe's name.
        summary: One line on what it is.
        source: Its paper.
        dataset: Name of the data set.
        protocol: The split.
        preset: The size.
        classes: Class names in the order of the labels and of the logits.
        conditions: All that must be equal for two results to stand in one ranking.
        plugins: Parts, recipes and readers that kdbench does not ship, with the hash of their source.
        seeds: One result a seed, from seed 0 on.
        files: sha256 of every other file of the submission, by name.
    """

    schema_version: Literal[1]
    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    method: Name
    summary: str = Field(default="", max_length=1000)
    source: str = Field(default="", max_length=1000)
    dataset: str = Field(pattern=r"^[a-z0-9_]{1,100}$")
    protocol: Name
    preset: Name
    classes: tuple[Name, ...] = Field(min_length=2)
    conditions: dict[str, Any]
    plugins: tuple[dict[str, Any], ...] = ()
    seeds: tuple[SeedResult, ...] = Field(min_length=1)
    files: dict[str, Sha256]

    @property
    def accuracies(self) -> list[float]:
        """The accuracy at each seed."""
        return [each.metrics.accuracy for each in self.seeds]


def json_schema() -> dict[str, Any]:
    """The JSON schema of `result.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Submission.model_json_schema()}
