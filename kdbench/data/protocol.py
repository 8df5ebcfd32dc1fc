"""A card's protocols: who trains, who tests, and how a validation part is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = int | str
"""What a column holds."""


class CardModel(BaseModel):
    """A part of a card: unknown keys are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Validation(CardModel):
    """The part that is cut from the training part; one of three ways.

    Attributes:
        where: Fixed values of columns.
        draw: This many values of each column, drawn by a seed (`{subject: 1}`).
        share: This share of each class's trials, drawn by a seed.
        whole: With `share`: the column whose values are drawn instead of trials, so that none of them is divided.
        absent: Classes that this part never shows, as in `ProtocolRule`.
    """

    where: dict[str, tuple[Value, ...]] | None = None
    draw: dict[str, Annotated[int, Field(ge=1)]] | None = None
    share: float | None = Field(default=None, gt=0, lt=1)
    whole: str | None = None
    absent: tuple[Value, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Validation:
        if self.whole is not None and self.share is None:
            raise ValueError("whole goes with share alone")
        if sum(way is not None for way in (self.where, self.draw, self.share)) != 1:
            raise ValueError("give exactly one of where, draw and share")
        return self


class ProtocolRule(CardModel):
    """Who trains and who tests.

    Attributes:
        title: One line on what it measures.
        test: Values of columns that make a test trial.
        train: Values of columns that make a training trial; None: all other trials.
        validation: How a validation part is cut from the training part when a run asks for one.
        disjoint: Columns of which no value may be in two parts.
        sensors_leak: Whether performances that test also train, as seen by other cameras: their sensors are then the
            same recordings in both parts, and say nothing of a network that sees them.
        absent: Classes that the test part never shows, by name, short name, or position in the card's classes from 0.
        each: For a template: the values that fill a field of the protocol's name, such as `loso_{subject}`.
    """

    title: str = ""
    test: dict[str, tuple[Value, ...]]
    train: dict[str, tuple[Value, ...]] | None = None
    validation: Validation
    disjoint: tuple[str, ...] = ()
    sensors_leak: bool = False
    absent: tuple[Value, ...] = ()
    each: dict[str, tuple[Value, ...]] = Field(default_factory=dict, max_length=1)

    def columns(self) -> Iterator[tuple[str, str]]:
        """Every column that the rule names, with the key that does."""
        named = {
            "test": self.test,
            "train": self.train,
            "validation.where": self.validation.where,
            "validation.draw": self.validation.draw,
            "validation.whole": self.validation.whole and [self.validation.whole],
            "disjoint": self.disjoint,
        }
        return ((key, column) for key, columns in named.items() for column in columns or ())
