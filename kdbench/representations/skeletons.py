"""What representations of a skeleton's joints share."""

from __future__ import annotations

from torch import Tensor

from kdbench.errors import UsageError
from kdbench.types import JointGraph

AXES = 3
"""x, y (upwards) and z of a joint."""


def joints_of(name: str, skeleton: JointGraph | None) -> int:
    """The number of joints of the skeleton that a representation is given.

    Args:
        name: The representation, for the message.
        skeleton: The skeleton; None where the branch sees another source.

    Raises:
        UsageError: There is none.
    """
    if skeleton is None:
        raise UsageError(
            f"the representation '{name}' is for the joints of a skeleton, and the branch sees another source",
            hint="Representations of sensors: kdbench list representations",
        )
    return len(skeleton.joints)


def extremes(values: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest value of each axis over trials, joints and time, two of `(3,)`; equal ones lie 1 apart.

    Args:
        values: Series of joints `(N, 3 J, n)`.
    """
    positions = values.unflatten(1, (-1, AXES)).transpose(0, 2)
    low, high = positions.flatten(1).amin(1), positions.flatten(1).amax(1)
    return low, high.where(high > low, low + 1)
