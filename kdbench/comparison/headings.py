"""What the headings of tables say that have data set, protocol and preset in common: what is unlike between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdbench.comparison.conditions import BY_DEFAULT, is_below, shown
from kdbench.comparison.groups import Group, between
from kdbench.comparison.systems import network_words
from kdbench.text.wording import counted

_MARKS = 2
"""Conditions that a heading names at most, beside what is seen and what sees it."""
_WHOLE = 60
"""Signs that the words for a network have at most in a heading."""


def tell_apart(groups: Sequence[Group]) -> None:
    """Marks groups that have data set, protocol and preset in common by what differs between them.

    First by what they see at test, and what of it is taken away; then by their networks, where some are of branches or
    have a pooling; then by the few conditions that tell most of the others apart.
    """
    for place in {group.place for group in groups}:
        same = [group for group in groups if group.place == place]
        for group in same:
            group.mark = " · ".join(_marks(group, same))


def _marks(group: Group, same: Sequence[Group]) -> list[str]:
    marks: list[str] = []
    ways: tuple[Callable[[Group], str], ...] = (_seen, _network)
    for words in ways:
        # Whole systems see different things within one table.
        if any(other.systems for other in same):
            break
        built = any(_is_built(other) for other in same)
        if len({words(other) for other in same}) > 1 and (built or words is _seen):
            marks.append(words(group))
            same = [other for other in same if words(other) == words(group)]
    unlike = dict.fromkeys(
        one.key
        for first in same
        for other in same
        for one in between(first, other)
        # A heading tells the number of trials anyway.
        if first.tuned == other.tuned or not is_below(one.key, ("tuning",))
    )
    rest = brief(unlike)
    settings = [f"{rest[key]} {_value(group, key)}" for key in _telling(list(rest), same)]
    settings += [counted(len(rest) - _MARKS, "more difference")] if len(rest) > _MARKS else []
    return [*marks, ", ".join(settings)] if settings else marks


def _telling(keys: list[str], same: Sequence[Group]) -> list[str]:
    """The few keys that tell most groups apart; of equal ones the first, in the order of conditions."""
    told: list[str] = []
    while keys and len(told) < _MARKS:
        told.append(max(keys, key=lambda key: len({tuple(_value(one, each) for each in (*told, key)) for one in same})))
        keys = [key for key in keys if key not in told]
    return told


def _value(group: Group, key: str) -> str:
    return shown(group.conditions.get(key, BY_DEFAULT))


def _seen(group: Group) -> str:
    """What its networks see at test, and which of their sources is missing there."""
    seen = ", ".join(group.conditions.get("test_modalities") or ())
    taken = _recipe(group).get("without") or ()
    return f"sees {seen or '?'}" + (f" without {', '.join(taken)}" if taken else "")


def _is_built(group: Group) -> bool:
    """Whether its networks have branches of their own or a pooling over time, so that an encoder does not name them."""
    return any(is_below(key, ("branches", "pooling")) for key in group.conditions)


def _network(group: Group) -> str:
    words = network_words(_recipe(group))
    return words if len(words) <= _WHOLE else f"{words[: _WHOLE - 1]}…"


def _recipe(group: Group) -> Mapping[str, Any]:
    """A recipe of the group; what it sees, and with what, all of them have in common."""
    return next(iter(group.recipes.values()), {})


def brief(keys: Iterable[str]) -> dict[str, str]:
    """What each of some conditions is called for short: the end of its key, and as much before it as tells it apart.

    Example:
        `student.encoder.name` is the `encoder`; beside `teacher.encoder.name` it is the `student.encoder`.
    """
    whole = {key: key.removesuffix(".name").split(".") for key in keys}
    words = {}
    for key, parts in whole.items():
        others = [other for other in whole.values() if other != parts]
        parts_needed = next(
            (n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others)), len(parts)
        )
        words[key] = ".".join(parts[-parts_needed:])
    return words
