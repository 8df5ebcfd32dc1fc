"""What keeps two tables apart, as a person is told it: networks of unlike branches in one piece."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from kdbench.comparison.conditions import BY_DEFAULT, NOT_RECORDED, ConditionDifference, is_below
from kdbench.comparison.groups import Group, between
from kdbench.comparison.systems import network_words

_BRANCHES = "branches"
_PARTS = (_BRANCHES, "representation", "encoder", "pooling", "fusion")
_SOURCES = ("sources",)


def told(first: Group, second: Group) -> tuple[ConditionDifference, ...]:
    """What keeps two groups apart, in few words.

    Networks whose branches are called alike differ in single settings, and these are named; others are told as a
    whole. A parameter that a part of another name does not have is left out, and what a recipe leaves open of a part is
    at its default.
    """
    unlike = between(first, second)
    keys = {one.key for one in unlike}
    short = [_at_default(one) for one in unlike if not (NOT_RECORDED in one.values and _is_implied(one.key, keys))]
    if _branches(first) != _branches(second):
        rest = [one for one in short if not is_below(one.key, (*_PARTS, "modality"))]
        short = [ConditionDifference("network", _words(first), _words(second)), *rest]
    return tuple(short) or unlike


def _is_implied(key: str, keys: Collection[str]) -> bool:
    """Whether another difference says it: that of the part, or what a network sees where only one reads a source."""
    part = f"{key.rpartition('.')[0]}.name"
    return (is_below(key, _PARTS) and part in keys and part != key) or is_below(key, _SOURCES)


def _at_default(one: ConditionDifference) -> ConditionDifference:
    if not is_below(one.key, _PARTS):
        return one
    first, second = (BY_DEFAULT if value == NOT_RECORDED else value for value in one.values)
    return replace(one, first=first, second=second)


def _branches(group: Group) -> set[str]:
    return {key.split(".")[1] for key in group.conditions if is_below(key, (_BRANCHES,)) and key != _BRANCHES}


def _words(group: Group) -> str:
    return network_words(next(iter(group.recipes.values()), {}))
