"""The track of a run: which labels and which pairs of video and sensors the student is given of the training part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdbench.text.wording import counted

PROBED = "transfer alone: no labels, linear probe of the frozen embedding"
"""What every heading says of results without labels."""


class Track(BaseModel):
    """What the student is given of the training part. Results of unlike tracks are never ranked together.

    With few labels it is cross-modal supervision transfer (Gupta, Hoffman and Malik, CVPR 2016): sensors are labelled,
    video is not.

    Attributes:
        labels: Trials of each class whose labels the student sees, one subject after the other; the other trials are
            pairs of video and sensors without a label. Or `all` of them. 0 is transfer alone: distillation losses are
            all that trains, and a probe of the frozen embedding is what is reported.
        teacher_labels: `all`: the teacher learns from every label; `same`: from those that the student sees.
        pairs: Share of the training trials that have sensors; the others are video with a label.
        teacher_steps: `own`: an epoch of the teacher is each of its trials once. `whole`: they come again and again, as
            many steps as with every training trial; by default where it has few: those with the student's labels,
            or those with sensors, which would be too few steps for any training.
        quota: Share of a batch that the scarce trials (labelled, or paired) take at least, so that no step is without
            one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    labels: Literal["all"] | Annotated[int, Field(ge=0)] = "all"
    teacher_labels: Literal["all", "same"] = "all"
    pairs: float = Field(default=1.0, gt=0, le=1)
    # Left out where it says nothing, so that runs of tracks without scarce teachers keep their names.
    teacher_steps: Literal["own", "whole"] = Field(default="own", exclude_if=lambda steps: steps == "own")
    quota: float = Field(default=0.25, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _whole_where_the_teacher_has_few(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        pairs = given.get("pairs", 1)
        few = isinstance(pairs, int | float) and pairs < 1
        return {"teacher_steps": "whole", **given} if few or given.get("teacher_labels") == "same" else given

    @model_validator(mode="after")
    def _one_scarcity(self) -> Track:
        if self.labels != "all" and self.pairs < 1:
            raise ValueError(
                f"labels = {self.labels} and pairs = {self.pairs:g} cannot be combined: leave one of them out"
            )
        if self.teacher_labels == "same" and self.labels in ("all", 0):
            raise ValueError("teacher_labels = same needs labels: a number of trials per class (--labels 1)")
        if self.teacher_steps == "whole" and self.teacher_labels == "all" and self.pairs == 1:
            raise ValueError(
                "teacher_steps = whole says nothing where the teacher learns from every trial: leave it out, or add "
                "teacher_labels = same (--teacher-labels same) or a share of pairs (--pairs 0.25)"
            )
        return self

    @property
    def is_whole(self) -> bool:
        """Whether every training trial has its label and its sensors."""
        return self.labels == "all" and self.pairs == 1

    @property
    def is_transfer_alone(self) -> bool:
        """Whether the student sees no label at all."""
        return self.labels == 0

    def quota_of(self, batch_size: int, share: float) -> int:
        """Scarce trials in a batch: at least one, at least their share, and a place is left for the others.

        Args:
            batch_size: Trials per batch, at least 2.
            share: Share of the scarce trials in the training part.
        """
        # Halves go up; `round` would take them to the even number.
        return min(max(1, math.floor(max(self.quota, share) * batch_size + 0.5)), batch_size - 1)

    @property
    def slug(self) -> str:
        """A word for folders: `labels1`, `labels1_same`, `pairs0.25`; empty for the whole training part."""
        if self.is_whole:
            return ""
        if self.labels != "all":
            return f"labels{self.labels}" + "_same" * (self.teacher_labels == "same")
        return f"pairs{self.pairs:g}"

    @property
    def words(self) -> str:
        """The track for a heading, the teacher's labels included; empty for the whole training part."""
        if self.is_whole:
            return ""
        if self.labels != "all":
            taught = f"teacher uses {'the same' if self.teacher_labels == 'same' else 'all'} labels"
            if self.is_transfer_alone:
                return f"{PROBED}, {taught}"
            return f"{counted(self.labels, 'labelled trial')} per class, {taught}"
        return f"{100 * self.pairs:g} % of the training trials have sensors, teacher learns from these"

    @property
    def name(self) -> str:
        """The track for a tab: `all labels`, `1 label per class`."""
        if self.is_whole:
            return "all labels"
        if self.labels == "all":
            return f"{100 * self.pairs:g} % of the pairs"
        if self.is_transfer_alone:
            return "no labels"
        return f"{counted(self.labels, 'label')} per class{', teacher too' * (self.teacher_labels == 'same')}"


def track_of(conditions: Mapping[str, Any]) -> Track:
    """The track that a run's conditions name; the whole training part where they name none.

    Args:
        conditions: As `run.json` holds them, or flat, with dotted keys.

    Raises:
        ValidationError: They name one that does not exist.
    """
    return Track.model_validate(_held(conditions))


def words_of(conditions: Mapping[str, Any]) -> str:
    """The track that a run's conditions name, in words; empty where they name none.

    Args:
        conditions: As `run.json` holds them, or flat, with dotted keys.
    """
    try:
        return track_of(conditions).words
    except ValidationError:
        return f"unknown track {_held(conditions)}"


def labels_of(conditions: Mapping[str, Any]) -> str:
    """What the option `--labels` says of a run's track: `all`, `0`, `1`; empty for an unknown track.

    Args:
        conditions: As `run.json` holds them, or flat, with dotted keys.
    """
    try:
        return str(track_of(conditions).labels)
    except ValidationError:
        return ""


def is_transfer_alone(conditions: Mapping[str, Any]) -> bool:
    """Whether a run's conditions say that no label trained its student; an unknown track is not that."""
    try:
        return track_of(conditions).is_transfer_alone
    except ValidationError:
        return False


def _held(conditions: Mapping[str, Any]) -> Mapping[str, Any]:
    prefix = "track."
    flat = {key.removeprefix(prefix): value for key, value in conditions.items() if key.startswith(prefix)}
    return conditions.get("track") or flat
