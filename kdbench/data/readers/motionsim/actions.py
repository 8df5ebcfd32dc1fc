"""What is done: each action as key poses and repeated movements of single joints.

The list holds pairs that only one of the views tells apart. The sensor is on the right wrist, so the two kicks, or a
left hand wave, reach it as sway alone; a key turned in a lock is a rotation of the forearm, large for the
gyroscope and a few pixels for the camera. Angles in degrees, as `body.SEGMENTS` explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REST: dict[str, float] = {
    f"{side}_{dof}": angle
    for side in "lr"
    for dof, angle in {"lift": 8, "plane": 55, "flex": 14, "spread": 4, "hip": 3, "knee": 6, "ankle": 3}.items()
}
"""The standing pose in which every action starts and ends; what a key pose does not name stays as here."""


@dataclass(frozen=True)
class Beat:
    """A key pose: `at` is its time as a share of the action; what `pose` does not name is at rest."""

    at: float
    pose: Mapping[str, float]


@dataclass(frozen=True)
class Swing:
    """A repeated movement of one degree of freedom between two shares of the action; `phase` in turns."""

    dof: str
    size: float
    cycles: float
    start: float
    stop: float
    phase: float = 0.0


@dataclass(frozen=True)
class Action:
    """An action: its name as people say it, its neutral length, its key poses and its repeated movements."""

    name: str
    seconds: float
    beats: tuple[Beat, ...]
    swings: tuple[Swing, ...] = ()

    def mirrored(self, name: str) -> Action:
        """The same action done with the other side of the body."""
        beats = tuple(Beat(b.at, {_other(dof): v * _flip(dof) for dof, v in b.pose.items()}) for b in self.beats)
        swings = tuple(
            Swing(_other(s.dof), s.size * _flip(s.dof), s.cycles, s.start, s.stop, s.phase) for s in self.swings
        )
        return Action(name, self.seconds, beats, swings)


def _other(dof: str) -> str:
    return {"l_": "r_", "r_": "l_"}.get(dof[:2], dof[:2]) + dof[2:]


def _flip(dof: str) -> float:
    return -1.0 if dof in {"y", "yaw", "roll", "trunk_twist", "trunk_lean", "head_turn"} else 1.0


def _right(**angles: float) -> dict[str, float]:
    return {f"r_{dof}": angle for dof, angle in angles.items()}


def _left(**angles: float) -> dict[str, float]:
    return {f"l_{dof}": angle for dof, angle in angles.items()}


def _both(**angles: float) -> dict[str, float]:
    return _right(**angles) | _left(**angles)


def _pause(start: float, stop: float, pose: Mapping[str, float]) -> tuple[Beat, Beat]:
    return Beat(start, pose), Beat(stop, pose)


_OUT = _right(lift=78, plane=55, flex=25, twist=-30) | {"trunk_twist": -8}
_ACROSS = _right(lift=78, plane=-45, flex=40, twist=-40) | {"trunk_twist": 8}
_FORWARD = _right(lift=78, plane=8, flex=20)
_HAND_UP = _right(lift=55, plane=35, flex=118, twist=10)
_AT_DOOR = _right(lift=48, plane=8, flex=68)
_CLAP = _both(lift=52, plane=20, flex=62, twist=-32)
_DOWN = _both(hip=88, knee=118, ankle=28, lift=20, plane=15) | {"trunk_bend": 30, "head_nod": -15}
_BALANCE = _both(lift=17, plane=70)
_KICK_BACK = _BALANCE | _left(hip=-12, knee=70) | {"trunk_bend": 4, "trunk_lean": 1.5}
_KICK = _BALANCE | _left(hip=68, knee=8, ankle=-10) | {"trunk_bend": -5, "trunk_lean": 2.5, "trunk_twist": -3}
_WIND_UP = _right(lift=92, plane=82, flex=95, twist=88) | {"trunk_twist": -28, "trunk_bend": -6}
_RELEASE = _right(lift=112, plane=18, flex=22, twist=20) | {"trunk_twist": 14, "trunk_bend": 8}
_FOLLOW = _right(lift=52, plane=-25, flex=20, twist=-20) | {"trunk_twist": 24, "trunk_bend": 16}
_CHEST = _right(lift=22, plane=5, flex=112)
_PUSHED = _right(lift=76, plane=2, flex=12) | {"trunk_bend": 6, "trunk_twist": 10}
_BOWED = {"trunk_bend": 62, "pitch": 12, "head_nod": 12, **_both(hip=12, lift=-14, plane=0)}
_JOG = _both(lift=6, flex=82, plane=5, hip=22, knee=48, ankle=10) | {"trunk_bend": 6, "z": 0.03}


def _circle(name: str, direction: float) -> Action:
    turn = (
        Swing("r_lift", 26, 2, 0.2, 0.8, phase=0.25),
        Swing("r_plane", 26 * direction, 2, 0.2, 0.8),
    )
    return Action(name, 3.0, _pause(0.17, 0.83, _FORWARD), turn)


def _stride(side: str, phase: float) -> tuple[Swing, ...]:
    """Running on the spot: the knee follows the hip a little later, and the arm swings against the leg of its side."""
    swings = (("hip", 22.0, phase), ("knee", 34.0, phase - 0.03), ("lift", 24.0, phase + 0.5))
    return tuple(Swing(f"{side}_{dof}", size, _STEPS, 0.12, 0.88, shift) for dof, size, shift in swings)


def _sweep(name: str, start: Mapping[str, float], stop: Mapping[str, float]) -> Action:
    return Action(name, 2.3, (*_pause(0.28, 0.38, start), *_pause(0.58, 0.70, stop)))


_KICK_LEFT = Action("kick with the left leg", 2.2, (Beat(0.3, _KICK_BACK), Beat(0.48, _KICK), Beat(0.58, _KICK)))
_WAVE = Action(
    "right hand wave",
    2.8,
    _pause(0.2, 0.82, _HAND_UP),
    (Swing("r_twist", 26, 3.5, 0.22, 0.8), Swing("r_wrist", 10, 3.5, 0.22, 0.8, phase=-0.1)),
)
_STEPS = 4.5
_BOUNCE = Swing("z", 0.025, 2 * _STEPS, 0.12, 0.88)

ACTIONS: tuple[Action, ...] = (
    _sweep("right arm swipe to the left", _OUT, _ACROSS),
    _sweep("right arm swipe to the right", _ACROSS, _OUT),
    _circle("right hand draw circle (clockwise)", 1.0),
    _circle("right hand draw circle (counter clockwise)", -1.0),
    _WAVE,
    Action(
        "two hand clap",
        2.4,
        _pause(0.18, 0.82, _CLAP),
        tuple(Swing(f"{side}_plane", 17, 4, 0.2, 0.8) for side in "lr"),
    ),
    Action("right hand knock on door", 2.4, _pause(0.22, 0.78, _AT_DOOR), (Swing("r_flex", 13, 3.5, 0.26, 0.76),)),
    Action("right hand turn a key", 2.4, _pause(0.22, 0.78, _AT_DOOR), (Swing("r_turn", 42, 2.5, 0.26, 0.76),)),
    Action("right arm throw", 2.2, (*_pause(0.32, 0.38, _WIND_UP), Beat(0.47, _RELEASE), Beat(0.56, _FOLLOW))),
    Action("squat", 2.8, _pause(0.38, 0.52, _DOWN)),
    _KICK_LEFT,
    _KICK_LEFT.mirrored("kick with the right leg"),
    Action("jogging in place", 2.8, _pause(0.12, 0.88, _JOG), (*_stride("l", 0.0), *_stride("r", 0.5), _BOUNCE)),
    _WAVE.mirrored("left hand wave"),
    Action("right hand push forward", 2.2, (*_pause(0.26, 0.36, _CHEST), *_pause(0.54, 0.64, _PUSHED))),
    Action("bow", 2.8, _pause(0.38, 0.55, _BOWED)),
)
"""The vocabulary; a data set of n actions takes the first n."""
