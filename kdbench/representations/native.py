"""Which representations of a recipe take series at their native lengths."""

from __future__ import annotations

from kdbench.recipes.terms import PartSpec
from kdbench.registry import registry


def takes_native(part: PartSpec) -> bool:
    """Whether a representation, as a recipe writes it, takes series at their native lengths.

    Raises:
        UsageError: There is no such representation.
    """
    takes: bool = registry("representation").get(part.name).takes_native(part.params)
    return takes
