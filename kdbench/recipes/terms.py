"""The terms of an objective: losses by name, with their parameters and weights, and weights that change over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from kdbench.recipes.strict import Numbers, RecipePart

NUMBER, SCHEDULE = "(number)", "(schedule)"


WARMUP_END = 0.1


class PartSpec(BaseModel):
    """A part by name, with its keyword parameters beside the name.

    Attributes:
        name: The part's name in its registry.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def params(self) -> dict[str, Any]:
        """The keyword parameters."""
        return dict(self.model_extra or {})


class Schedule(RecipePart):
    """A weight that changes while a network is trained; see `kdbench.engine.weights`.

    A recipe writes `weight: {schedule: linear, to: 0.5, end: 0.3}`. Where a recipe that has a plain number is given a
    schedule (`--set student.losses.st.weight.schedule=linear`), the number is where the schedule ends.

    Attributes:
        schedule: How it changes between `start` and `end`: `linear`; `cosine` along half a cosine, slow at both ends;
            `warmup` linearly, over the first tenth of the training by default; `constant` at once, at `start`.
        first: Weight up to `start`; `from` in a recipe.
        to: Weight from `end` on.
        start: Share of the training after which it begins to change.
        end: Share of the training after which it stays.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)
    schedule: Literal["constant", "linear", "cosine", "warmup"]
    first: float = Field(default=0.0, allow_inf_nan=False, alias="from")
    to: float = Field(default=1.0, allow_inf_nan=False)
    start: float = Field(default=0.0, ge=0, lt=1)
    end: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _warmup_is_short(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("schedule") == "warmup":
            return {"end": WARMUP_END, **given}
        return given

    @model_validator(mode="after")
    def _has_length(self) -> Schedule:
        if self.start >= self.end:
            raise ValueError(f"start ({self.start}) must come before end ({self.end}), both shares of the training")
        if self.schedule == "constant" and self.end != 1:
            raise ValueError("constant takes no end: it changes once, at start; leave end out")
        return self


def _kind_of_weight(value: Any) -> str:
    return SCHEDULE if isinstance(value, Mapping | Schedule) else NUMBER


# Told apart by the form of the value, so that an error speaks of one form and not of both.
Weight = Annotated[
    Annotated[float, Field(allow_inf_nan=False), Tag(NUMBER)] | Annotated[Schedule, Tag(SCHEDULE)],
    Discriminator(_kind_of_weight),
]


class LossTerm(Numbers):
    """One term of an objective; the loss's keyword parameters stand beside these.

    Attributes:
        weight: A number or a schedule.
        teachers: Names of the teachers that it compares with, `from` in a recipe; null means all.
        mix: How their class scores become those of one teacher; null compares with each, and takes the mean.
    """

    model_config = ConfigDict(extra="allow", frozen=True, serialize_by_alias=True)
    weight: Weight = 1.0
    teachers: tuple[str, ...] | None = Field(default=None, alias="from", exclude_if=lambda teachers: teachers is None)
    mix: PartSpec | None = Field(default=None, exclude_if=lambda mix: mix is None)

    @field_validator("teachers", mode="before")
    @classmethod
    def _one_or_several(cls, teachers: Any) -> Any:
        return [teachers] if isinstance(teachers, str) else teachers

    @field_validator("mix", mode="before")
    @classmethod
    def _by_name(cls, mix: Any) -> Any:
        return {"name": mix} if isinstance(mix, str) else mix

    @property
    def params(self) -> dict[str, Any]:
        """The keyword parameters."""
        return dict(self.model_extra or {})
