"""Joints relative to a body: one joint's usual place is the origin, the usual distance of two the unit of length."""

from __future__ import annotations

import numpy as np


def relative(series: np.ndarray, centre: int | None, torso: tuple[int, int] | None) -> np.ndarray:
    """Joints of a recording, relative to the body that they are of.

    Args:
        series: Positions `(n, 3 · joints)`, joint by joint.
        centre: The joint whose median place becomes the origin; None leaves the origin.
        torso: The two joints whose median distance becomes the unit of length; None leaves the unit.

    Returns:
        `(n, 3 · joints)`, float32.

    Raises:
        ValueError: The two joints lie in one place: the person was not tracked.
    """
    if centre is None and torso is None:
        return series
    joints = series.reshape(len(series), -1, 3)
    if centre is not None:
        joints = joints - np.median(joints[:, centre], axis=0)
    if torso is not None:
        length = float(np.median(np.linalg.norm(joints[:, torso[0]] - joints[:, torso[1]], axis=-1)))
        if not length > 0:
            raise ValueError("the torso has no length in most samples: its two joints lie in one place, or are NaN")
        joints = joints / length
    return joints.reshape(len(series), -1).astype(np.float32)
