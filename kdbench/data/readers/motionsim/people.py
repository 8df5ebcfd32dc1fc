"""Who performs, and how: bodies and styles drawn from seeds that depend on names alone.

A subject has a body and general habits; a subject's way of doing one action adds to them, and so does each trial. The
three draw from generators of their own, so that neither the size of the data set nor the order of its trials changes
what a trial looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdbench.data.readers.motionsim.body import COLUMN, DOFS, Body
from kdbench.data.readers.motionsim.imu import IN_THE_POCKET, Placement
from kdbench.data.readers.motionsim.motion import MAX_BEATS, SWAY_DOFS, SWAY_HZ, Style
from kdbench.util.seeds import seed_for

PROPORTIONS = ("arm", "forearm", "thigh", "shin", "trunk", "shoulders", "hips")
ARM_DOFS = [f"{side}_{dof}" for side in "lr" for dof in ("lift", "plane", "twist", "flex", "turn", "wrist")]
LEG_DOFS = [f"{side}_{dof}" for side in "lr" for dof in ("hip", "spread", "knee", "ankle")]
TORSO_DOFS = ["trunk_twist", "trunk_bend", "trunk_lean", "head_turn", "head_nod"]
HABIT_DRIFT, TRIAL_DRIFT = 7.0, 4.0


@dataclass(frozen=True)
class Performer:
    """A trial's performer: the body, the style of this performance, and how the watch and the phone sit."""

    body: Body
    style: Style
    watch: Placement
    phone: Placement


def performer(seed: int, subject: int, action: int, repetition: int) -> Performer:
    """Draws who performs a trial, and how.

    Args:
        seed: The data set's seed.
        subject: Number of the subject, from 1.
        action: Number of the action, from 1.
        repetition: Number of the trial, from 1.
    """
    person = _generator(seed, "person", subject)
    habit = _generator(seed, "habit", subject, action)
    trial = _generator(seed, "performance", subject, action, repetition)

    body = Body.of(
        height_m=float(np.clip(person.normal(1.72, 0.09), 1.5, 1.95)),
        girth=float(np.exp(person.normal(0, 0.10))),
        proportions={part: float(np.exp(person.normal(0, 0.03))) for part in PROPORTIONS},
    )
    slip = person.normal(0, 14) + trial.normal(0, 6)
    style = Style(
        tempo=float(np.exp(person.normal(0, 0.12) + habit.normal(0, 0.10) + trial.normal(0, 0.06))),
        lead_seconds=float(trial.uniform(0.1, 0.5)),
        tail_seconds=float(trial.uniform(0.1, 0.5)),
        smoothing_seconds=float(np.clip(person.normal(0.065, 0.010), 0.045, 0.09)),
        amplitude=_amplitude(person, 0.08) * _amplitude(habit, 0.12) * _amplitude(trial, 0.05),
        offset=_posture(person, 3.0) + _posture(habit, 4.0) + _posture(trial, 2.0) + _heading(person, trial),
        curvature=float(person.normal(0, 7) + habit.normal(0, 5)),
        beat_shift=habit.normal(0, 0.02, MAX_BEATS) + trial.normal(0, 0.012, MAX_BEATS),
        beat_pose=_drift(habit, HABIT_DRIFT) + _drift(trial, TRIAL_DRIFT),
        cycles=float(np.exp(habit.normal(0, 0.15) + trial.normal(0, 0.06))),
        phase=float(habit.normal(0, 0.06) + trial.normal(0, 0.03)),
        sway=trial.normal(0, 0.5, (len(SWAY_DOFS), len(SWAY_HZ), 2)),
    )
    pocket = _generator(seed, "pocket", subject).normal(0, 12)
    pocket += _generator(seed, "pocket", subject, action, repetition).normal(0, 8)
    return Performer(body, style, Placement().turned(float(slip)), IN_THE_POCKET.turned(float(pocket)))


def _generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(seed_for("motionsim", seed, *names))


def _amplitude(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Factors `(D,)`: one for the whole person times one a joint."""
    return np.exp(rng.normal(0, spread) + rng.normal(0, spread, len(DOFS)))


def _posture(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """Shifts `(D,)` of the joints; legs and trunk carry the body and vary less than arms."""
    shift = np.zeros(len(DOFS))
    for dofs, share in ((ARM_DOFS, 1.0), (LEG_DOFS, 0.35), (TORSO_DOFS, 0.6)):
        shift[[COLUMN[dof] for dof in dofs]] = rng.normal(0, degrees * share, len(dofs))
    return shift


def _drift(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """Shifts `(MAX_BEATS, D)` of the key poses: what a person adds to the action without need."""
    return np.stack([_posture(rng, degrees) for _ in range(MAX_BEATS)])


def _heading(person: np.random.Generator, trial: np.random.Generator) -> np.ndarray:
    """Shift `(D,)` of the direction that the person faces, which no sensor on the body notices."""
    shift = np.zeros(len(DOFS))
    shift[COLUMN["yaw"]] = person.normal(0, 6) + trial.normal(0, 5)
    return shift
