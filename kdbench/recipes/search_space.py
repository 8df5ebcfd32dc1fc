"""What a setting of a recipe may be while it is searched: a range of numbers, or a list of values."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Choice = bool | int | float | str | None


class Range(BaseModel):
    """The values that a search may try for one setting; as a recipe writes them under `search:`.

    `{around: 30}`, `{low: 0.1, high: 10, log: true}`, `{low: 1, high: 9, step: 2}` or `{choices: [none, t2]}`.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether values are drawn evenly on a logarithmic scale.
        step: Distance of neighbouring values from `low` on; null for any value between.
        choices: All values, instead of a range.
        around: Instead of `low` and `high`, the factor by which both lie from the recipe's own value, on a logarithmic
            scale: with 30 from a thirtieth of it to thirty times it, whatever it is at the preset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    log: bool = False
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    choices: tuple[Choice, ...] | None = None
    around: float | None = Field(default=None, gt=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Range:
        if self.around is not None:
            if self.model_fields_set - {"around"}:
                raise ValueError("around stands alone: it is a logarithmic range about the recipe's own value")
            return self
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("choices stand alone, without low, high, log or step")
            # By repr, since 1 and true are equal and yet two choices.
            if len(self.choices) < 2 or len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("choices need at least two different values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("expected both low and high, or choices, or around")
        if self.low >= self.high:
            raise ValueError(f"the range is empty: low ({self.low:g}) must lie below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above zero, and low is {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self

    @property
    def count(self) -> int | None:
        """Number of values, or None where there is no end to them."""
        if self.choices is not None:
            return len(self.choices)
        if self.step is None or self.low is None or self.high is None:
            return None
        # Rounding must not cost the last step: 0.3 / 0.1 lies just below 3.
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def about(self, value: float) -> Range:
        """The range in numbers, where it lies `around` a value; others as they are.

        Args:
            value: The recipe's own, above zero.
        """
        if self.around is None:
            return self
        return Range(low=float(f"{value / self.around:.6g}"), high=float(f"{value * self.around:.6g}"), log=True)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of those that may be tried; not of a range `around` what is not known yet."""
        if self.choices is not None:
            # 1, 1.0 and true are equal in Python, and different settings.
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.low is None or self.high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        steps = (value - self.low) / self.step if self.step is not None else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9

    def describe(self) -> str:
        """In a few words: `0.1 … 10 (log)`."""
        if self.around is not None:
            return f"its own value, divided by {self.around:g} … times {self.around:g} (log)"
        if self.choices is not None:
            return " | ".join("null" if choice is None else str(choice) for choice in self.choices)
        kind = " (log)" if self.log else f" in steps of {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} … {self.high:g}{kind}"

    def plain(self) -> dict[str, Any]:
        """As a recipe would write it."""
        return self.model_dump(mode="json", exclude_defaults=True)
