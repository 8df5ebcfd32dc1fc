"""The inertial sensor: what a strapdown accelerometer and gyroscope on a moving segment read.

With p the sensor's position, R its rotation to the world and g = (0, 0, −9.80665) m/s²:

    specific force     f = Rᵀ (p̈ − g) / 9.80665   in units of g; at rest 1 g along the upward vertical,
    angular rate       ω = vee(Rᵀ Ṙ)               in the sensor's frame.

The derivatives are those of a cubic spline through samples of p and R at ten times the sensor's rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from kdbench.data.readers.motionsim.body import Body
from kdbench.data.readers.motionsim.kinematics import Pose

GRAVITY = np.array([0.0, 0.0, -9.80665])
OVERSAMPLING = 10
PADDING = 20

BIAS = {"accelerometer": 0.04, "gyroscope": 3.0, "orientation": 4.0}
WHITE_NOISE = {"accelerometer": 0.05, "gyroscope": 5.0, "orientation": 1.0}
RESOLUTION = {"accelerometer": 2.0**-11, "gyroscope": 2.0**-4, "orientation": 2.0**-4}
"""Errors of the sensors: standard deviations of the bias and of the white noise, and the step; g, deg/s and deg."""

FrameAt = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Times `(T,)` in seconds to the sensor's positions `(T, 3)` in metres and rotations to the world `(T, 3, 3)`."""


@dataclass(frozen=True)
class Placement:
    """Where a sensor is worn.

    Attributes:
        segment: The segment that carries it.
        mount: Rotation from the sensor's axes to the segment's `(3, 3)`. The default is a watch on the right wrist:
            x along the forearm to the hand, z out of the back of the wrist.
        along: How far down the segment it sits, as a share of its length.
    """

    segment: str = "r_forearm"
    mount: tuple[tuple[float, float, float], ...] = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0))
    along: float = 1.0

    def turned(self, degrees: float) -> Placement:
        """The same sensor slipped around the segment's long axis."""
        angle = np.deg2rad(degrees)
        slip = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        return replace(self, mount=tuple(map(tuple, slip @ np.array(self.mount))))

    def frame(self, pose: Pose, body: Body) -> tuple[np.ndarray, np.ndarray]:
        """The sensor's positions `(T, 3)` and rotations to the world `(T, 3, 3)`."""
        position = pose.point(self.segment, self.along * body.ends[self.segment])
        return position, pose.rotation[self.segment] @ np.array(self.mount)


IN_THE_POCKET = Placement("r_thigh", ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)), along=0.35)
"""A phone on its long side in the right trouser pocket: x up the thigh, y to the person's right, z to the front.

Upright, its y would point up, where azimuth and roll are undefined.
"""


def inertial(frame_at: FrameAt, seconds: float, rate_hz: float) -> dict[str, np.ndarray]:
    """Computes the noise-free readings over a performance.

    Args:
        frame_at: The sensor's frame as a function of time, defined a little beyond both ends too.
        seconds: Length of the performance.
        rate_hz: Sampling rate; sample k is taken at (k + 1/2) / rate_hz, the centre of its interval.

    Returns:
        `accelerometer` in g and `gyroscope` in degrees per second, `(3, n)` each, float64.
    """
    samples = int(seconds * rate_hz)
    fine = (np.arange(samples * OVERSAMPLING + 2 * PADDING) - PADDING) / (rate_hz * OVERSAMPLING)
    position, rotation = frame_at(fine)
    times = (np.arange(samples) + 0.5) / rate_hz
    acceleration = CubicSpline(fine, position)(times, 2)
    turning = CubicSpline(fine, rotation)
    to_sensor = turning(times).swapaxes(1, 2)
    force = np.einsum("tij,tj->it", to_sensor, acceleration - GRAVITY) / np.linalg.norm(GRAVITY)
    spin = to_sensor @ turning(times, 1)
    rate = 0.5 * np.stack([spin[:, 2, 1] - spin[:, 1, 2], spin[:, 0, 2] - spin[:, 2, 0], spin[:, 1, 0] - spin[:, 0, 1]])
    return {"accelerometer": force, "gyroscope": np.rad2deg(rate)}


def orientation(frame_at: FrameAt, seconds: float, rate_hz: float) -> np.ndarray:
    """Computes the noise-free attitude as a phone reports it.

    With e, n, u the east, north and up of the world (north is where the person faces) and x, y, z the device's axes:
    azimuth = atan2(e·y, n·y), pitch = asin(−u·y), roll = atan2(−u·x, u·z).

    Args:
        frame_at: As for `inertial`.
        seconds: As for `inertial`.
        rate_hz: As for `inertial`.

    Returns:
        Azimuth, pitch and roll `(3, n)`, degrees, float64; the azimuth and the roll jump from 180 to −180.
    """
    times = (np.arange(int(seconds * rate_hz)) + 0.5) / rate_hz
    _, rotation = frame_at(times)
    north, east, up = rotation[:, 0], -rotation[:, 1], rotation[:, 2]
    azimuth = np.arctan2(east[:, 1], north[:, 1])
    pitch = np.arcsin(np.clip(-up[:, 1], -1.0, 1.0))
    return np.rad2deg(np.stack([azimuth, pitch, np.arctan2(-up[:, 0], up[:, 2])]))


def measured(exact: Mapping[str, np.ndarray], noise: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What imperfect sensors make of the exact readings.

    Rounding to the sensors' step also makes the result the same on machines whose arithmetic differs in the last bit.

    Args:
        exact: Readings `(3, n)` by what is measured: `accelerometer`, `gyroscope`, `orientation`.
        noise: Factor of the bias, constant over a trial, and of the white noise; both are normal.
        rng: Draws them.
    """
    readings = {}
    for name, series in exact.items():
        error = BIAS[name] * rng.standard_normal((3, 1)) + WHITE_NOISE[name] * rng.standard_normal(series.shape)
        readings[name] = np.round((series + noise * error) / RESOLUTION[name]) * RESOLUTION[name]
    return readings
