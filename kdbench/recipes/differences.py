"""What one recipe has otherwise than another, setting by setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ABSENT = object()
"""Stands for a setting that one of the two does not have."""
_NAME = "name"


class Difference(NamedTuple):
    """A setting that two recipes do not share.

    Attributes:
        key: Its dotted key; that of a whole part where the part is another one.
        before: Its value in the first recipe, or `ABSENT`.
        after: Its value in the second one, or `ABSENT`.
    """

    key: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any], within: str = "") -> Iterator[Difference]:
    """The settings that differ, in the order of the second recipe, those that it lacks last.

    Args:
        before: Settings, nested.
        after: Settings to be held against them.
        within: Dotted key of what both are settings of.
    """
    for key in [*after, *(key for key in before if key not in after)]:
        own, other = before.get(key, ABSENT), after.get(key, ABSENT)
        dotted = f"{within}.{key}" if within else str(key)
        if own == other:
            continue
        if isinstance(own, Mapping) and isinstance(other, Mapping) and own.get(_NAME) == other.get(_NAME):
            yield from differences(own, other, dotted)
        else:
            yield Difference(dotted, own, other)
