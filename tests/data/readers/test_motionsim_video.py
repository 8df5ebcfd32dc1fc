"""The depth camera: what a pixel shows, and that the picture is of a person."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.data.readers.motionsim.actions import ACTIONS, REST
from kdbench.data.readers.motionsim.body import COLUMN, DOFS, Body, Capsule
from kdbench.data.readers.motionsim.kinematics import Pose, forward
from kdbench.data.readers.motionsim.motion import Motion, Style
from kdbench.data.readers.motionsim.render import MARGIN, Camera, occluded, render

FAR = Camera(distance_m=1000.0, height_m=0.0)


def posed(**angles):
    row = np.zeros((1, len(DOFS)))
    for dof, value in (REST | angles).items():
        row[0, COLUMN[dof]] = value
    return row


def scene(*capsules):
    """Capsules that stand still in the world's frame."""
    body = Body(joints={}, ends={}, capsules=tuple(Capsule("pelvis", *parts) for parts in capsules))
    return Pose({"pelvis": np.zeros((1, 3))}, {"pelvis": np.eye(3)[None]}), body


def test_a_sphere_has_the_depth_and_the_area_of_a_sphere():
    pose, ball = scene(((0, 0, 0), (0, 0, 0), 0.5, 0.5))
    size = 201
    frame = render(pose, ball, size, FAR)[0]
    pixel = MARGIN / size
    away = pixel * np.hypot(*np.meshgrid(np.arange(size) - size // 2, np.arange(size) - size // 2))
    inside, outside = away < 0.49, away > 0.51
    expected = 1e6 - 1000 * np.sqrt(0.25 - away[inside] ** 2)
    np.testing.assert_allclose(frame[inside], expected, atol=2.0)
    assert not frame[outside].any()


def test_the_nearer_of_two_limbs_hides_the_other():
    near, far = ((0.5, 0, -0.2), (0.5, 0, 0.2), 0.1, 0.1), ((-0.5, 0, -0.5), (-0.5, 0, 0.5), 0.1, 0.1)
    for order in ((near, far), (far, near)):
        frame = render(*scene(*order), 101, FAR)[0]
        assert frame[50, 50] == pytest.approx(1e6 - 600, abs=2)
        assert frame[5:15, 50].min() == pytest.approx(1e6 + 400, abs=2)


def test_a_tilted_limb_gets_nearer_along_its_length():
    frame = render(*scene(((-0.3, 0, -0.5), (0.3, 0, 0.5), 0.05, 0.05)), 101, FAR)[0]
    column = frame[:, 50][frame[:, 50] > 0]
    assert (np.diff(column[5:-5]) > 0).all()  # from the top, which is near, to the bottom
    assert column[-8] - column[8] == pytest.approx(600, rel=0.2)


def test_the_camera_sees_near_things_larger():
    pose, body = scene(((0.8, -0.5, 0), (0.8, -0.5, 0), 0.1, 0.1), ((-0.8, 0.5, 0), (-0.8, 0.5, 0), 0.1, 0.1))
    frame = render(pose, body, 128, Camera(distance_m=3.0, height_m=0.0))[0]
    left, right = (frame[:, :64] > 0).sum(), (frame[:, 64:] > 0).sum()
    assert left / right == pytest.approx((3.8 / 2.2) ** 2, rel=0.1)


def test_the_picture_has_the_persons_left_on_its_right_and_the_head_on_top():
    raised = render(forward(posed(l_lift=90, l_plane=90), Body.of()), Body.of(), 64, Camera())[0] > 0
    columns, rows = raised.any(0).nonzero()[0], raised.any(1).nonzero()[0]
    trunk = raised[40:].any(0).nonzero()[0].mean()
    assert columns.max() - trunk > 1.5 * (trunk - columns.min())
    assert raised[rows.min()].sum() < 10 < raised[rows.min() + len(rows) // 4].sum()


def test_a_mirrored_action_is_a_mirrored_film():
    body = Body.of()
    right, left = ACTIONS[4], ACTIONS[4].mirrored("left hand wave")
    times = np.linspace(0.1, 3.0, 8)
    films = [render(forward(Motion(action, Style())(times), body), body, 96, Camera()) > 0 for action in (right, left)]
    assert (films[0] != films[0][:, :, ::-1]).mean() > 0.01
    assert (films[0] != films[1][:, :, ::-1]).mean() < 0.002


def test_feet_stay_on_the_ground_and_a_squat_lowers_the_body():
    body = Body.of()
    bent = {f"{side}_{joint}": angle for side in "lr" for joint, angle in (("hip", 80.0), ("knee", 110.0))}
    standing, squatting = (forward(posed(**angles), body) for angles in ({}, bent))
    for pose in (standing, squatting):
        assert min(pose.origin[f"{side}_foot"][0, 2] for side in "lr") == pytest.approx(0, abs=0.05)
    drop = standing.origin["head"][0, 2] - squatting.origin["head"][0, 2]
    assert 0.2 < drop < 0.6


def test_limbs_keep_their_lengths_whatever_the_pose():
    body = Body.of(1.8)
    angles = np.random.default_rng(0).uniform(-180, 180, (50, len(DOFS)))
    pose = forward(angles, body)
    for lower, upper in (("r_forearm", "r_upper_arm"), ("l_foot", "l_shin"), ("r_shin", "r_thigh")):
        lengths = np.linalg.norm(pose.origin[lower] - pose.origin[upper], axis=1)
        np.testing.assert_allclose(lengths, np.linalg.norm(body.ends[upper]), rtol=1e-12)
        rotation = pose.rotation[lower]
        np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(rotation), 1.0)


def test_a_camera_at_the_side_sees_what_one_in_front_sees_of_a_person_who_turns():
    # A person who turns by -90 degrees shows the camera in front what the camera at their left saw.
    body = Body.of()
    side = render(forward(posed(), body), body, 96, Camera(azimuth_deg=90.0))[0]
    turned = render(forward(posed(yaw=-90.0), body), body, 96, Camera())[0]
    np.testing.assert_allclose(side, turned, atol=1e-2)
    assert np.abs(side - render(forward(posed(), body), body, 96, Camera())[0]).max() > 100


def test_an_occluder_hides_its_share_and_stands_still():
    seen = np.full((6, 40, 40), 2000, np.float32)
    kinds = set()
    for draw in range(20):
        hidden = occluded(seen, 0.25, np.random.default_rng(draw)) == 0
        assert hidden.mean() == 0.25
        assert (hidden == hidden[0]).all()
        kinds.add("desk" if hidden[0, -1].all() else "pillar")
    assert kinds == {"desk", "pillar"}
    assert seen.all()
