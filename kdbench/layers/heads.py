"""Heads of attention, which share a width out evenly."""

from __future__ import annotations

from kdbench.errors import UsageError

_MOST = 16
"""Heads that a hint offers at most."""


def demand_divisor(owner: str, heads: int, width: int, key: str, *, what: str = "width") -> None:
    """Refuses heads that do not share a width out evenly.

    Args:
        owner: The part, for messages.
        heads: Their number.
        width: What they share.
        key: The part's key in a network's recipe, for the hint: `pooling`.
        what: What the width is, for messages.
    """
    if not isinstance(heads, int) or heads < 1 or width % heads:
        fitting = ", ".join(str(number) for number in range(1, min(width, _MOST) + 1) if width % number == 0)
        raise UsageError(
            f"{owner}: {heads} heads do not divide the {what} {width}", hint=f"Take {key}.heads of {fitting}."
        )
