"""Forward kinematics: joint angles to the position and the rotation of every segment.

With p the parent of segment s, R the rotation to the world and o the origin of a segment's frame,

    R_s = R_p · E_s(angles),    o_s = o_p + R_p · joint_s,

E_s the product of the segment's elementary rotations; a point c of the segment lies at o_s + R_s · c. The camera and
the sensors both read the result, which is what makes them views of one movement.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.data.readers.motionsim.body import COLUMN, ROOT_DOFS, SEGMENTS, Body

FOOT_SOFTNESS_M = 0.05


@dataclass(frozen=True)
class Pose:
    """Where a body's segments are at T times.

    Attributes:
        origin: `{segment: (T, 3)}`, metres in the world.
        rotation: `{segment: (T, 3, 3)}` from the segment's frame to the world.
    """

    origin: Mapping[str, np.ndarray]
    rotation: Mapping[str, np.ndarray]

    def point(self, segment: str, local: np.ndarray) -> np.ndarray:
        """World positions `(T, 3)` of a point `(3,)` given in the segment's frame, metres."""
        return self.origin[segment] + self.rotation[segment] @ local


def forward(angles: np.ndarray, body: Body) -> Pose:
    """Computes the pose at T times.

    The pelvis is put at the height at which the lower ankle touches the ground, so that a squat lowers the whole body;
    the degree of freedom `z` adds to it (a hop). The lower one of two is a smooth minimum (log-sum-exp over
    `FOOT_SOFTNESS_M`): a hard one would have no acceleration where the feet change.

    Args:
        angles: `(T, D)`, the columns of `kdbench.data.readers.motionsim.body.DOFS`.
        body: The person's measures.
    """
    origin: dict[str, np.ndarray] = {}
    rotation: dict[str, np.ndarray] = {}
    for segment in SEGMENTS:
        turns = [
            _about(axis, angles[:, [COLUMN[dof] for dof in angle]] @ np.array(list(angle.values())))
            for axis, angle in zip(segment.axes, segment.angles, strict=True)
        ]
        if segment.parent:
            above = rotation[segment.parent]
            origin[segment.name] = origin[segment.parent] + above @ body.joints[segment.name]
            turns.insert(0, above)
        else:
            origin[segment.name] = np.zeros((len(angles), 3))
        rotation[segment.name] = functools.reduce(np.matmul, turns)
    ankles = np.stack([origin[f"{side}_foot"][:, 2] for side in "lr"])
    stance = FOOT_SOFTNESS_M * np.logaddexp.reduce(-ankles / FOOT_SOFTNESS_M, axis=0)
    root = angles[:, [COLUMN[dof] for dof in ROOT_DOFS[:3]]] + stance[:, None] * np.array([0.0, 0.0, 1.0])
    return Pose({name: place + root for name, place in origin.items()}, rotation)


def _about(axis: str, degrees: np.ndarray) -> np.ndarray:
    """Rotations `(T, 3, 3)` about a coordinate axis, counter-clockwise seen from its tip."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    k = "XYZ".index(axis)
    i, j = (k + 1) % 3, (k + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, k, k] = 1.0
    matrix[:, i, i] = matrix[:, j, j] = cosine
    matrix[:, j, i], matrix[:, i, j] = sine, -sine
    return matrix
