"""The body: an articulated skeleton, the degrees of freedom of its joints, and the flesh around its bones.

Every frame is right-handed: x forward, y to the person's left, z up. In the zero pose the person stands upright, faces
along x, with the arms hanging. Limb bones point along -z of their own frame, the trunk and the head along +z, the feet
along +x. The two sides mirror each other: one angle means the same movement of the left and of the right limb.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ROOT_DOFS = ("x", "y", "z", "yaw", "pitch", "roll")
SIDES = {"l": 1.0, "r": -1.0}


@dataclass(frozen=True)
class Segment:
    """A rigid part of the body, turned against its parent by intrinsic Euler rotations.

    Attributes:
        name: `trunk`, `r_forearm`, …
        parent: The segment it hangs on; empty for the pelvis.
        axes: Axes of the rotations, in scipy's notation (`ZYZ`).
        angles: For each axis, the degrees of freedom that add up to its angle, `{name: sign}`.
    """

    name: str
    parent: str
    axes: str
    angles: tuple[Mapping[str, float], ...]


def _limbs(side: str) -> list[Segment]:
    out = SIDES[side]

    def name(dof: str) -> str:
        return f"{side}_{dof}"

    shoulder = ({name("plane"): out}, {name("lift"): -1.0}, {name("twist"): out, name("plane"): -out})
    return [
        Segment(name("upper_arm"), "trunk", "ZYZ", shoulder),
        Segment(name("forearm"), name("upper_arm"), "YZ", ({name("flex"): -1.0}, {name("turn"): out})),
        Segment(name("hand"), name("forearm"), "X", ({name("wrist"): out},)),
        Segment(name("thigh"), "pelvis", "YX", ({name("hip"): -1.0}, {name("spread"): out})),
        Segment(name("shin"), name("thigh"), "Y", ({name("knee"): 1.0},)),
        Segment(name("foot"), name("shin"), "Y", ({name("ankle"): -1.0},)),
    ]


SEGMENTS = (
    Segment("pelvis", "", "ZYX", ({"yaw": 1.0}, {"pitch": 1.0}, {"roll": 1.0})),
    Segment("trunk", "pelvis", "ZYX", ({"trunk_twist": 1.0}, {"trunk_bend": 1.0}, {"trunk_lean": 1.0})),
    Segment("head", "trunk", "ZY", ({"head_turn": 1.0}, {"head_nod": 1.0})),
    *_limbs("r"),
    *_limbs("l"),
)
"""All segments, parents before children.

The arm's angles: `lift` raises the upper arm out of the hang (90 = level), in the vertical plane given by `plane`
(0 = forward, 90 = to the side, negative = across the body); `twist` turns it about its own axis (outward positive);
`flex` bends the elbow; `turn` rotates the forearm about its axis (supination positive); `wrist` bends the hand to the
back. The leg's: `hip` lifts the thigh forward, `spread` to the side; `knee` bends; `ankle` lifts the toes.
"""

DOFS = tuple(dict.fromkeys([*ROOT_DOFS, *(dof for s in SEGMENTS for angle in s.angles for dof in angle)]))
"""Names of the degrees of freedom, the columns of every pose: `x`, `y`, `z` in metres, angles in degrees."""

COLUMN = {dof: column for column, dof in enumerate(DOFS)}


@dataclass(frozen=True)
class Capsule:
    """A tapered limb: the volume swept by a sphere from `start` to `stop` in the frame of its segment (metres)."""

    segment: str
    start: tuple[float, float, float]
    stop: tuple[float, float, float]
    start_radius: float
    stop_radius: float


@dataclass(frozen=True)
class Body:
    """One person's measures.

    Attributes:
        joints: Where each segment's own frame starts, in its parent's frame `(3,)`, metres.
        ends: Far end of each limb segment in its own frame `(3,)`, metres; a forearm's is the wrist.
        capsules: What the camera sees.
    """

    joints: Mapping[str, np.ndarray]
    ends: Mapping[str, np.ndarray]
    capsules: tuple[Capsule, ...]

    @classmethod
    def of(cls, height_m: float = 1.72, *, girth: float = 1.0, proportions: Mapping[str, float] | None = None) -> Body:
        """Builds a body from its height with the segment lengths of Drillis and Contini (1966).

        Args:
            height_m: Standing height.
            girth: Factor of all radii.
            proportions: Factors of single lengths: `arm`, `forearm`, `thigh`, `shin`, `trunk`, `shoulders`, `hips`.
        """
        factor = {**dict.fromkeys(_LENGTHS, 1.0), **(proportions or {})}
        length = {part: share * factor.get(part, 1.0) * height_m for part, share in _LENGTHS.items()}
        joints = {"pelvis": np.zeros(3), "trunk": np.zeros(3), "head": np.array([0.0, 0.0, length["trunk"]])}
        ends = {"trunk": joints["head"], "head": np.array([0.0, 0.0, length["head"]])}
        for side, out in SIDES.items():
            bones = {"upper_arm": "arm", "forearm": "forearm", "hand": "hand", "thigh": "thigh", "shin": "shin"}
            ends |= {f"{side}_{bone}": np.array([0.0, 0.0, -length[part]]) for bone, part in bones.items()}
            ends[f"{side}_foot"] = np.array([length["foot"], 0.0, 0.0])
            joints |= {
                f"{side}_upper_arm": np.array([0.0, out * length["shoulders"], 0.94 * length["trunk"]]),
                f"{side}_forearm": ends[f"{side}_upper_arm"],
                f"{side}_hand": ends[f"{side}_forearm"],
                f"{side}_thigh": np.array([0.0, out * length["hips"], 0.0]),
                f"{side}_shin": ends[f"{side}_thigh"],
                f"{side}_foot": ends[f"{side}_shin"],
            }
        return cls(joints, ends, _flesh(length, ends, girth * height_m))


_LENGTHS = {
    "trunk": 0.288, "shoulders": 0.115, "hips": 0.055, "head": 0.165, "arm": 0.186, "forearm": 0.146, "hand": 0.085,
    "thigh": 0.245, "shin": 0.246, "foot": 0.11,
}  # fmt: skip
_RADII = {"upper_arm": (0.030, 0.024), "forearm": (0.025, 0.018), "thigh": (0.050, 0.034), "shin": (0.034, 0.022)}


def _flesh(length: Mapping[str, float], ends: Mapping[str, np.ndarray], scale: float) -> tuple[Capsule, ...]:
    def at(*point: float) -> tuple[float, float, float]:
        return (float(point[0]), float(point[1]), float(point[2]))

    trunk, shoulders, hips, head = length["trunk"], length["shoulders"], length["hips"], length["head"]
    parts = [
        Capsule("trunk", at(0, 0, 0.1 * trunk), at(0, 0, 0.85 * trunk), 0.068 * scale, 0.070 * scale),
        Capsule("trunk", at(0, -0.8 * shoulders, 0.93 * trunk), at(0, 0.8 * shoulders, 0.93 * trunk),
                0.036 * scale, 0.036 * scale),
        Capsule("head", at(0, 0, 0), at(0, 0, 0.35 * head), 0.032 * scale, 0.034 * scale),
        Capsule("head", at(0.01, 0, 0.58 * head), at(0, 0, 0.78 * head), 0.046 * scale, 0.052 * scale),
        Capsule("pelvis", at(0, -hips, 0), at(0, hips, 0), 0.056 * scale, 0.056 * scale),
    ]  # fmt: skip
    for side, out in SIDES.items():
        low, high = at(0, out * 0.6 * hips, 0.05 * trunk), at(0, out * 0.62 * shoulders, 0.82 * trunk)
        parts.append(Capsule("trunk", low, high, 0.058 * scale, 0.060 * scale))
        for bone, (near, far) in _RADII.items():
            name = f"{side}_{bone}"
            parts.append(Capsule(name, at(0, 0, 0), at(*ends[name]), near * scale, far * scale))
        palm = length["hand"]
        parts.append(Capsule(f"{side}_hand", at(0, 0, 0), at(0, 0, -palm), 0.019 * scale, 0.015 * scale))
        parts.append(
            Capsule(f"{side}_hand", at(0.01, 0, -0.2 * palm), at(0.045, 0, -0.6 * palm), 0.012 * scale, 0.009 * scale)
        )
        parts.append(Capsule(f"{side}_foot", at(-0.02, 0, 0), at(*ends[f"{side}_foot"]), 0.026 * scale, 0.018 * scale))
    return tuple(parts)
