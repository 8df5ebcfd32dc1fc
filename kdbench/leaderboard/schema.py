"""What a submission's `result.json` holds. The same as JSON schema: `leaderboard/schema/submission-1.json`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from kdbench.recipes.track import Track
from kdbench.text.wording import counted

SCHEMA_VERSION = 1
"""Version of `result.json`; raised whenever a key changes its meaning."""
RESULT: Final = "result.json"
PREDICTIONS: Final = "predictions.parquet"
RECIPE: Final = "recipe.yaml"
ENVIRONMENT: Final = "environment.json"
PICTURE: Final = "grad_cam.png"

# Without control characters, and without those that turn the direction of the text around them.
_LINE = r"^[^\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*$"
_LARGE = 1e18
_MOST_CONDITIONS = 32 * 2**10

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-_LARGE, le=_LARGE)]
Amount = Annotated[float, Field(ge=0, le=_LARGE)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_LINE)]
Sentence = Annotated[str, Field(max_length=1000, pattern=_LINE)]
Person = Annotated[str, Field(min_length=1, max_length=100, pattern=_LINE)]
File = Literal["predictions.parquet", "recipe.yaml", "environment.json", "grad_cam.png"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metrics(_Strict):
    """What is scored again from the predictions; shares in [0, 1].

    Attributes:
        n: Test trials.
        accuracy: Equal to micro F1.
        macro_f1: Over the classes present in the labels.
        weighted_f1: Each class by its number of trials.
        map: Mean over the classes present in the labels of each one's average precision against all others; left out by
            a kdbench that did not measure it yet.
        ece: Expected calibration error.
        per_class_recall: By class name; null where no trial is of the class.
        shuffles: How many orders of the test part the metrics are averaged over; 1 where batch mates do not matter.
    """

    n: int = Field(ge=1, le=10**7)
    accuracy: Share
    macro_f1: Share
    weighted_f1: Share
    map: Share | None = None
    ece: Share
    per_class_recall: dict[Name, Share | None]
    shuffles: int = Field(default=1, ge=1, le=1000)


class Epoch(_Strict):
    """One point of the learning curves; accuracy is on the training part."""

    phase: Literal["teacher", "student"]
    epoch: int = Field(ge=0, le=10**9)
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
        teachers: Other teachers by their names in the recipe; left out where there are none.
        inductive: Accuracy one trial at a time, where batch mates change the predictions.
        cost: Seconds, bytes and counts, as in `run.json`.
        best_epoch: The epoch that is reported, where a validation part chose it.
        curves: The learning curves.
    """

    teacher: TeacherClaim | None = None
    teachers: dict[Name, TeacherClaim] = Field(default_factory=dict, max_length=100)
    inductive: Share | None = None
    cost: dict[Name, Amount | None] = Field(default_factory=dict)
    best_epoch: int | None = None
    curves: tuple[Epoch, ...] = Field(default=(), max_length=10_000)


class Given(_Strict):
    """What the student is given of the training part, where the track leaves some trials without a label or sensors.

    Attributes:
        train: Trials of the training part.
        labelled: Those whose labels the student sees.
        paired: Those whose sensors the teacher sees.
    """

    train: int = Field(ge=1, le=10**7)
    labelled: int = Field(ge=0, le=10**7)
    paired: int = Field(ge=0, le=10**7)


class SeedResult(_Strict):
    """One seed; `given` is null where every training trial has its label and its sensors."""

    seed: int = Field(ge=0, le=10**6)
    metrics: Metrics
    claims: Claims
    given: Given | None = None


class Plugin(_Strict):
    """A part, recipe or reader that kdbench does not ship, and the hash of its source where it is known."""

    kind: Name
    name: Name
    distribution: Name | None
    version: Name | None
    source_sha256: Sha256 | None


class Conditions(BaseModel):
    """The conditions that the board reads; there are more, and all of them have to be equal in one ranking.

    Attributes:
        dataset: As in the submission.
        protocol: As in the submission.
        preset: As in the submission.
        part: Which part is reported.
        selection: The rule that chose the epoch.
        view: The video that the network sees; null for sensors.
        test_modalities: What the network sees at test time.
        data: Input sizes; `options` are the knobs of a generated data set.
        tuning: `defaults`, or the budget of a search.
        libraries: Versions by name.
        track: What the student is given of the training part; left out where that is all of it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    dataset: Name
    protocol: Name
    preset: Name
    part: Name
    selection: Name
    view: Name | None
    test_modalities: tuple[Name, ...] = Field(min_length=1)
    data: dict[str, Any]
    tuning: Name | dict[str, Any]
    libraries: dict[Name, Name]
    track: Annotated[Track | None, WithJsonSchema({"anyOf": [Track.model_json_schema(), {"type": "null"}]})] = None


def _conditions(value: dict[str, Any]) -> dict[str, Any]:
    # Kept as they are, since they are compared and hashed as a whole; and shown on every page.
    Conditions.model_validate(value)
    size = len(json.dumps(value))
    if size > _MOST_CONDITIONS:
        raise ValueError(f"they take {counted(size, 'byte')}, expected at most {_MOST_CONDITIONS}")
    return value


class Environment(BaseModel):
    """What one seed ran on, as far as it explains a cost: an entry of `environment.json`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    seed: int
    libraries: dict[Name, Name]
    platform: Name
    device: Name
    gpu: Name | None = None
    cpus: int | None = None
    threads: int | None = None

    @property
    def machine(self) -> str:
        """The hardware in a few words."""
        if self.gpu is not None:
            return self.gpu
        threads = "" if self.threads is None else f", {counted(self.threads, 'thread')}"
        return f"{self.device} ({self.platform}{threads})"


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
        submitted_by: Who submits it, where they say so: their own training again is not one by others.
        seeds: One result a seed, from seed 0 on.
        files: sha256 of every other file of the submission, by name.
    """

    schema_version: Literal[1]
    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    method: Name
    summary: Sentence = ""
    source: Sentence = ""
    dataset: str = Field(pattern=r"^[a-z0-9_]{1,100}$")
    protocol: Name
    preset: Name
    classes: tuple[Name, ...] = Field(min_length=2, max_length=10_000)
    conditions: Annotated[dict[str, Any], AfterValidator(_conditions), WithJsonSchema(Conditions.model_json_schema())]
    plugins: Annotated[tuple[Plugin, ...], Field(max_length=100)] = ()
    submitted_by: Person | None = None
    seeds: tuple[SeedResult, ...] = Field(min_length=1, max_length=100)
    files: dict[File, Sha256]

    @property
    def accuracies(self) -> list[float]:
        """The accuracy at each seed."""
        return [trained.metrics.accuracy for trained in self.seeds]


def json_schema() -> dict[str, Any]:
    """The JSON schema of `result.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Submission.model_json_schema()}
