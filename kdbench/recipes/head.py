"""A head that a student takes over."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kdbench.recipes.strict import RecipePart


class Head(RecipePart):
    """Where a student's classifier comes from, other than from its own training.

    Attributes:
        of: `teacher`: that of its one teacher, frozen; a projector behind the student's last map brings it to the
            teacher's, and both are part of the student, at test too.
        factor: How much narrower the middle of the projector is.
    """

    of: Literal["teacher"]
    factor: int = Field(default=2, ge=1)
