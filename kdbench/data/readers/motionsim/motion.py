"""A performance of an action as a smooth function of time.

Key poses are joined by straight lines, and the result is convolved with a Gaussian of width σ, in closed form: with
G(u) = u Φ(u) + φ(u) the convolution of a ramp and Δm_k the change of slope at knot t_k,

    q(t) = q_0 + Σ_k Δm_k σ G((t − t_k)/σ).

Repeated movements add A · w(t) · sin θ(t), with a window w of two Gaussian edges. Every angle therefore has all
derivatives at every time, and its spectrum falls as exp(−(ωσ)²/2): an accelerometer on the body reads finite values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from kdbench.data.readers.motionsim.actions import REST, Action
from kdbench.data.readers.motionsim.body import COLUMN, DOFS

MAX_BEATS = 12
SWAY_HZ = (0.23, 0.41, 0.67)
SWAY_DOFS = ("x", "y", "trunk_bend", "trunk_lean", "trunk_twist", "yaw")
SWAY_SIZE = np.array([0.008, 0.008, 0.8, 0.8, 0.8, 0.6])


@dataclass(frozen=True)
class Style:
    """How one person performs one trial; the defaults are the neutral performance, without any variation.

    Attributes:
        tempo: Factor of all times.
        lead_seconds: Rest before the action.
        tail_seconds: Rest after it.
        smoothing_seconds: σ of the Gaussian, the crispness of the movement.
        amplitude: Factors of the way from the rest pose `(D,)`.
        offset: Shift of the posture `(D,)`, degrees and metres.
        curvature: How far an arm rises as it leaves the sagittal plane, the arc of the hand's path; degrees of lift
            per squared 60 degrees of plane.
        beat_shift: Displacement of each key pose in time `(MAX_BEATS,)`, in shares of the action.
        beat_pose: Deviation from each key pose `(MAX_BEATS, D)`, degrees and metres.
        cycles: Factor of the number of repetitions.
        phase: Start of the repetitions, in turns.
        sway: Sines of the standing body's sway `(len(SWAY_DOFS), len(SWAY_HZ), 2)`, in units of `SWAY_SIZE`.
    """

    tempo: float = 1.0
    lead_seconds: float = 0.3
    tail_seconds: float = 0.3
    smoothing_seconds: float = 0.06
    amplitude: np.ndarray = field(default_factory=lambda: np.ones(len(DOFS)))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(len(DOFS)))
    curvature: float = 0.0
    beat_shift: np.ndarray = field(default_factory=lambda: np.zeros(MAX_BEATS))
    beat_pose: np.ndarray = field(default_factory=lambda: np.zeros((MAX_BEATS, len(DOFS))))
    cycles: float = 1.0
    phase: float = 0.0
    sway: np.ndarray = field(default_factory=lambda: np.zeros((len(SWAY_DOFS), len(SWAY_HZ), 2)))


class Motion:
    """Joint angles of one performance, as a function of time; columns as `kdbench.data.readers.motionsim.body.DOFS`.

    Args:
        action: What is done.
        style: How it is done.

    Attributes:
        seconds: Length of the performance; the motion is defined outside it too, as rest.
    """

    def __init__(self, action: Action, style: Style) -> None:
        self.action = action
        self.style = style
        self._span = action.seconds * style.tempo
        self.seconds = style.lead_seconds + self._span + style.tail_seconds
        rest = _row(REST)
        meant = rest + style.amplitude * (np.stack([_row(REST | dict(b.pose)) for b in action.beats]) - rest)
        poses = np.vstack([rest, meant + style.beat_pose[: len(meant)], rest])
        shift = style.beat_shift[: len(action.beats)]
        shares = np.array([0.0, *(np.array([b.at for b in action.beats]) + shift), 1.0])
        # Shifted beats may not overtake one another; a twentieth of the action is a fast human movement.
        shares = np.maximum.accumulate(shares + 1e-9 * np.arange(len(shares)))
        for k in range(1, len(shares)):
            shares[k] = max(shares[k], shares[k - 1] + 0.05)
        self._knots = style.lead_seconds + shares * self._span
        slopes = np.diff(poses, axis=0) / np.diff(self._knots)[:, None]
        self._slope_changes = np.diff(slopes, axis=0, prepend=0.0, append=0.0)
        self._start = rest + style.offset

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Joint angles `(T, D)` at the times `(T,)`, seconds."""
        style = self.style
        angles = self._start + self._ramps(times) @ self._slope_changes
        share = (times - style.lead_seconds) / self._span
        edge = style.smoothing_seconds * 2 / self._span
        for swing in self.action.swings:
            window = ndtr((share - swing.start) / edge) - ndtr((share - swing.stop) / edge)
            done = (share - swing.start) / (swing.stop - swing.start)
            turns = swing.cycles * style.cycles * done + swing.phase + style.phase
            column = COLUMN[swing.dof]
            angles[:, column] += style.amplitude[column] * swing.size * window * np.sin(2 * np.pi * turns)
        for side in "lr":
            away = (angles[:, COLUMN[f"{side}_plane"]] - REST.get(f"{side}_plane", 0.0)) / 60.0
            angles[:, COLUMN[f"{side}_lift"]] += style.curvature * away**2
        waves = 2 * np.pi * np.multiply.outer(times, np.array(SWAY_HZ))
        sway = np.stack([np.sin(waves), np.cos(waves)], axis=-1)
        angles[:, [COLUMN[dof] for dof in SWAY_DOFS]] += np.einsum("tfk,dfk->td", sway, style.sway) * SWAY_SIZE
        return angles

    def _ramps(self, times: np.ndarray) -> np.ndarray:
        sigma = self.style.smoothing_seconds
        u = (times[:, None] - self._knots) / sigma
        return sigma * (u * ndtr(u) + np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi))


def _row(pose: dict[str, float]) -> np.ndarray:
    row = np.zeros(len(DOFS))
    for dof, value in pose.items():
        row[COLUMN[dof]] = value
    return row
