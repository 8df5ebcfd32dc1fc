"""What all parts of a recipe have in common: how strictly they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator


class Numbers(BaseModel):
    """Takes numbers for numbers alone: neither `true` nor a text such as `"3"` is one."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_other_for_a_number(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        # Pydantic makes a number of "3" and of true; only what comes out tells that a field is one.
        number = read(value)
        if isinstance(value, bool | str) and isinstance(number, int | float) and not isinstance(number, bool):
            raise ValueError("expected a number")
        return number


class RecipePart(Numbers):
    """Refuses unknown keys and numbers that are not finite; cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def kept(mapping: Any) -> Any:
    """Without the keys that a recipe removed from what it extends."""
    if isinstance(mapping, Mapping):
        return {key: value for key, value in mapping.items() if value is not None}
    return mapping
