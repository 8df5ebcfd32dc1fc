"""The inertial signals against the movement that the camera sees, and against textbook mechanics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kdbench.data.readers.motionsim.actions import ACTIONS, Action, Beat
from kdbench.data.readers.motionsim.body import COLUMN, DOFS, Body
from kdbench.data.readers.motionsim.imu import IN_THE_POCKET, Placement, inertial, orientation
from kdbench.data.readers.motionsim.kinematics import forward
from kdbench.data.readers.motionsim.motion import Motion, Style
from kdbench.data.readers.motionsim.people import performer

RATE_HZ = 50.0
RIGHT_WRIST = Placement()
G = 9.80665
FORCE_TOLERANCE_G = 0.002
RATE_TOLERANCE_DPS = 0.05


def wrist(motion, body, placement=RIGHT_WRIST):
    return lambda times: placement.frame(forward(motion(times), body), body)


def drawn_wrist(motion, body, times):
    """Where the renderer draws the end of the right forearm, and how its hand is turned; nothing of `imu` is used."""
    pose = forward(motion(times), body)
    (forearm,) = (part for part in body.capsules if part.segment == "r_forearm")
    place = pose.origin["r_forearm"] + np.einsum("tij,j->ti", pose.rotation["r_forearm"], np.array(forearm.stop))
    return place, Rotation.from_matrix(pose.rotation["r_forearm"])


@pytest.mark.parametrize("action", range(1, len(ACTIONS) + 1))
def test_signals_are_the_finite_differences_of_the_drawn_movement(action):
    who = performer(seed=0, subject=2, action=action, repetition=1)
    motion = Motion(ACTIONS[action - 1], who.style)
    signals = inertial(wrist(motion, who.body, who.watch), motion.seconds, RATE_HZ)

    times = (np.arange(signals["accelerometer"].shape[1]) + 0.5) / RATE_HZ
    step = 1e-3
    before, at, after = (drawn_wrist(motion, who.body, times + k * step) for k in (-1, 0, 1))
    mount = Rotation.from_matrix(np.array(who.watch.mount))
    acceleration = (before[0] - 2 * at[0] + after[0]) / step**2
    force = (at[1] * mount).inv().apply(acceleration + np.array([0, 0, G])) / G
    rate = np.rad2deg(((before[1] * mount).inv() * (after[1] * mount)).as_rotvec() / (2 * step))

    np.testing.assert_allclose(signals["accelerometer"].T, force, rtol=0, atol=FORCE_TOLERANCE_G)
    np.testing.assert_allclose(signals["gyroscope"].T, rate, rtol=0, atol=RATE_TOLERANCE_DPS)
    assert np.ptp(force, axis=0).max() > 0.05  # there is something to compare
    assert np.abs(rate).max() > 10


def test_integrated_angular_rate_recovers_the_orientation():
    who = performer(seed=0, subject=1, action=9, repetition=1)
    motion = Motion(ACTIONS[8], who.style)
    fast_hz = 2000.0
    rate = np.deg2rad(inertial(wrist(motion, who.body, who.watch), motion.seconds, fast_hz)["gyroscope"].T)
    edges = np.arange(len(rate) + 1) / fast_hz
    _, truth = who.watch.frame(forward(motion(edges), who.body), who.body)

    turned = Rotation.from_matrix(truth[0])
    for step in Rotation.from_rotvec(rate / fast_hz):
        turned = turned * step
    error_deg = np.rad2deg((turned.inv() * Rotation.from_matrix(truth[-1])).magnitude())
    travelled_deg = np.rad2deg(np.linalg.norm(rate, axis=1).sum() / fast_hz)
    assert travelled_deg > 300
    assert error_deg < 0.1


def test_a_still_body_feels_one_g_upwards_and_does_not_turn():
    still = Motion(Action("stand", 2.0, (Beat(0.5, {}),)), Style())
    body = Body.of()
    signals = inertial(wrist(still, body), still.seconds, RATE_HZ)
    np.testing.assert_allclose(np.linalg.norm(signals["accelerometer"], axis=0), 1.0, atol=1e-6)
    np.testing.assert_allclose(signals["gyroscope"], 0.0, atol=1e-6)
    # The arm hangs, x points to the hand, and the specific force points up.
    assert signals["accelerometer"][0].max() < -0.9


def test_the_direction_that_a_person_faces_does_not_reach_the_sensor():
    action, body = ACTIONS[8], Body.of()
    yawed = np.zeros_like(Style().offset)
    yawed[COLUMN["yaw"]] = 130.0
    ahead = Motion(action, Style())
    aside = Motion(action, Style(offset=yawed))
    first, second = (inertial(wrist(motion, body), motion.seconds, RATE_HZ) for motion in (ahead, aside))
    moved = ahead(np.array([0.5])) - aside(np.array([0.5]))
    assert np.abs(moved).max() == pytest.approx(130.0)
    for name, series in first.items():
        np.testing.assert_allclose(series, second[name], atol=1e-6 * np.abs(series).max())


def test_free_fall_is_weightless():
    def falling(times):
        place = np.stack([3 * times, 0 * times, 10 - G * times**2 / 2], axis=1)
        return place, np.tile(np.eye(3), (len(times), 1, 1))

    signals = inertial(falling, 1.0, RATE_HZ)
    np.testing.assert_allclose(signals["accelerometer"], 0, atol=1e-9)


def test_a_turntable_gives_centripetal_force_in_the_sensors_frame():
    radius, omega = 0.4, 2 * np.pi

    def turning(times):
        angle = omega * times
        place = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * times], axis=1)
        return place, Rotation.from_euler("z", angle[:, None]).as_matrix()

    signals = inertial(turning, 2.0, RATE_HZ)
    expected = np.array([-radius * omega**2 / G, 0.0, 1.0])
    np.testing.assert_allclose(signals["accelerometer"].T, np.tile(expected, (100, 1)), atol=1e-3)
    np.testing.assert_allclose(signals["gyroscope"].T, np.tile([0, 0, 360.0], (100, 1)), atol=1e-3)


def test_movements_are_band_limited():
    """Above 15 Hz, where people do not move, there is almost nothing: the trajectories have no corners."""
    for action in range(1, len(ACTIONS) + 1):
        who = performer(seed=0, subject=3, action=action, repetition=2)
        motion = Motion(ACTIONS[action - 1], who.style)
        force = inertial(wrist(motion, who.body), motion.seconds, 200.0)["accelerometer"]
        window = np.hanning(force.shape[1])
        power = np.abs(np.fft.rfft((force - force.mean(1, keepdims=True)) * window)) ** 2
        high = np.fft.rfftfreq(force.shape[1], 1 / 200.0) > 15
        assert power[:, high].sum() < 0.01 * power.sum(), ACTIONS[action - 1].name


def test_the_phone_reads_its_attitude_as_the_standard_angles():
    turned = {"yaw": -30.0, "r_hip": 0.0}
    angles = np.zeros((2, len(DOFS)))
    for dof, value in turned.items():
        angles[:, COLUMN[dof]] = value
    pose = forward(angles, Body.of())
    azimuth, pitch, roll = orientation(lambda _times: IN_THE_POCKET.frame(pose, Body.of()), 0.04, 50.0)[:, 0]
    # Its y points to the person's right, who faces 30 degrees east of north.
    assert azimuth == pytest.approx(120)
    assert pitch == pytest.approx(0, abs=1e-9)
    assert roll == pytest.approx(-90)


def test_the_phone_s_attitude_rebuilds_its_rotation():
    who = performer(seed=0, subject=1, action=10, repetition=1)
    motion = Motion(ACTIONS[9], who.style)
    frame_at = wrist(motion, who.body, who.phone)
    azimuth, pitch, roll = orientation(frame_at, motion.seconds, 50.0)
    times = (np.arange(len(azimuth)) + 0.5) / 50.0
    _, rotation = frame_at(times)
    to_east_north_up = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    rebuilt = Rotation.from_euler("ZXY", np.stack([-azimuth, -pitch, roll], axis=1), degrees=True).as_matrix()
    np.testing.assert_allclose(rebuilt, to_east_north_up @ rotation, atol=1e-9)
    assert np.ptp(roll) > 60  # a squat lifts the thigh
