"""Heads of attention, which share a width out evenly."""

from __future__ import annotations

from kdbench.errors import ParameterError

_MOST = 16
"""Heads that a hint offers at most."""


def demand_divisor(owner: str, heads: int, width: int, *, what: str = "width") -> None:
    """Refuses heads that do not share a width out evenly.

    Args:
        owner: The part, for messages.
        heads: Their number.
        width: What they share.
        what: What the width is, for messages.
    """
    if not isinstance(heads, int) or heads < 1 or width % heads:
        fitting = [number for number in range(1, min(width, _MOST) + 1) if width % number == 0]
        near = [number for number in fitting if isinstance(heads, int) and number <= heads]
        raise ParameterError(
            f"{owner}: {heads} heads do not divide the {what} {width}: expected {', '.join(map(str, fitting))}",
            instead={"heads": max(near, default=1)},
        )
