"""The joints of a performance, as a camera's body tracking would give them."""

from __future__ import annotations

import numpy as np

from kdbench.data.readers.motionsim.kinematics import Pose
from kdbench.data.readers.motionsim.render import Camera

NOISE_M = 0.01
HIP, NECK = 0, 1
JOINTS = {
    "hip centre": "pelvis",
    "neck": "head",
    "right shoulder": "r_upper_arm",
    "right elbow": "r_forearm",
    "right wrist": "r_hand",
    "left shoulder": "l_upper_arm",
    "left elbow": "l_forearm",
    "left wrist": "l_hand",
    "right hip": "r_thigh",
    "right knee": "r_shin",
    "right ankle": "r_foot",
    "left hip": "l_thigh",
    "left knee": "l_shin",
    "left ankle": "l_foot",
}
"""Each joint's segment, whose origin it is; in the order of the card."""


def tracked(pose: Pose, camera: Camera, noise: float, generator: np.random.Generator) -> np.ndarray:
    """Positions relative to the trial's hip centre, in torso lengths, as those of UTD-MHAD are.

    Args:
        pose: The body at F times.
        camera: Which sees it.
        noise: Factor of the errors: white noise of 1 cm.
        generator: Draws them.

    Returns:
        `(F, joints, 3)`, float32: x to the right of the picture, y down, z towards the camera.
    """
    points = np.stack([camera.frame(pose.origin[segment]) for segment in JOINTS.values()], axis=1)
    points = points + NOISE_M * noise * generator.standard_normal(points.shape)
    torso = np.median(np.linalg.norm(points[:, NECK] - points[:, HIP], axis=-1))
    centred = (points - np.median(points[:, HIP], axis=0)) / torso
    # The world has x towards the camera, y to the right and z up.
    return np.stack([centred[..., 1], -centred[..., 2], centred[..., 0]], axis=-1).astype(np.float32)
