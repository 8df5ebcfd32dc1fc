"""Checks of what a recipe gives a pooling."""

from __future__ import annotations

from kdbench.errors import ParameterError


def demand_positive(owner: str, **sizes: int) -> None:
    """Refuses a size that is no whole number above zero.

    Args:
        owner: The pooling, for messages.
        sizes: Widths and counts by the names of their parameters.
    """
    for key, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ParameterError(f"{owner}: {key} = {size!r}, expected a whole number above 0", key)


def demand_share(owner: str, **shares: float) -> None:
    """Refuses a share of dropped entries outside [0, 1); arguments as of `demand_positive`."""
    for key, share in shares.items():
        if not 0 <= share < 1:
            raise ParameterError(f"{owner}: {key} = {share}, expected a number in [0, 1)", key)


def demand_effect(owner: str, without: str, **given: bool) -> None:
    """Refuses parameters that nothing reads.

    Args:
        owner: The pooling, for messages.
        without: What is missing, in words, so that they have no effect.
        given: Whether a parameter was given, by its name.
    """
    if idle := [key for key, is_given in given.items() if is_given]:
        raise ParameterError(
            f"{owner}: {' and '.join(idle)} {'have' if len(idle) > 1 else 'has'} no effect {without}", *idle
        )
