"""Conditions of runs as flat, dotted keys: which are equal, and which are not."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_RECORDED = "not recorded"
"""The value of a condition that a run does not name, as runs of an earlier version may not."""

BY_DEFAULT = "default"
"""The value of an option that a run leaves as it is, where another run sets it."""

NOT_USED = "not used"
"""The version of a library that a run did without."""

Flat = dict[str, Any]
_WHOLE = 40
_OF_A_HASH = 12
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class ConditionDifference:
    """One condition that is not equal.

    Attributes:
        key: Its dotted name, such as `train.epochs`.
        first: Its value on one side.
        second: On the other.
    """

    key: str
    first: Any
    second: Any

    @property
    def values(self) -> tuple[Any, Any]:
        """Both values."""
        return self.first, self.second

    def __str__(self) -> str:
        return f"{self.key} ({shown(self.first)} against {shown(self.second)})"


def flat(values: Mapping[str, Any], prefix: str = "") -> Flat:
    """Nested mappings as one mapping with dotted keys; lists become tuples.

    Example:
        `{"train": {"epochs": 30}}` gives `{"train.epochs": 30}`; an empty mapping stays a value of its own.
    """
    flattened: Flat = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        # Most values are these, and to ask for an abstract class takes longer than all the rest.
        if type(value) in _SCALARS:
            flattened[key] = value
        elif isinstance(value, Mapping) and value:
            flattened |= flat(value, f"{key}.")
        else:
            flattened[key] = _hashable(value)
    return flattened


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[ConditionDifference, ...]:
    """The keys of two flat mappings whose values differ, in the order in which they are named.

    What is a mapping on one side alone is no key of its own: what that side sets below it is at its default on the
    other where it is empty there, as a data set's options may be, and else what the other side has in its place, such
    as `defaults` for the settings of a search.
    """
    keys = dict.fromkeys([*first, *second])
    pairs = ((key, _value(first, key), _value(second, key)) for key in keys)
    return tuple(ConditionDifference(key, a, b) for key, a, b in pairs if a != b and not _holds(key, keys))


_EMPTY = ()


def _holds(key: str, keys: Iterable[str]) -> bool:
    # What one run has whole and another in parts is compared by its parts.
    return any(other.startswith(f"{key}.") for other in keys)


def _value(conditions: Mapping[str, Any], key: str) -> Any:
    if key in conditions:
        return conditions[key]
    above = (key.rsplit(".", n)[0] for n in range(1, key.count(".") + 1))
    instead = next((conditions[parent] for parent in above if parent in conditions), NOT_RECORDED)
    return BY_DEFAULT if instead == _EMPTY else instead


def without(conditions: Mapping[str, Any], keys: Sequence[str]) -> Flat:
    """A flat mapping less the given keys and all that lies below them (`train` drops `train.epochs`)."""
    under = tuple(keys)
    return {key: value for key, value in conditions.items() if not _is_below(key, under)}


def is_below(key: str, keys: Sequence[str]) -> bool:
    """Whether a dotted key is one of `keys`, or lies below one."""
    return _is_below(key, tuple(keys))


# The same few keys are asked for in every one of thousands of runs.
@functools.lru_cache(maxsize=4096)
def _is_below(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in keys)


def shown(value: Any) -> str:
    """A value for a person: short, and whole where that is short; of a hash, less tells as much."""
    text = (", ".join(map(str, value)) or "nothing") if isinstance(value, tuple) else str(value)
    if len(text) <= _WHOLE:
        return text
    return f"{text[: _WHOLE - 1 if ' ' in text else _OF_A_HASH]}…"


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), _hashable(item)) for key, item in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_hashable(item) for item in value)
    return value
