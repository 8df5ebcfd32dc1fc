"""Frames drawn from body joints: each bone a soft line, brighter where it is nearer to the camera.

The projection is the same for every trial. It is orthographic along the camera's axis, so no lens enters; the picture
is centred on where the hip centre mostly is, and scaled by the length of the torso, so that people of unlike heights
fill it alike and a raised arm does not make the person smaller. Both hold for a whole trial: squatting and stepping
aside stay visible as movement. Left and right are as the camera sees them, as in the depth view.
"""

from __future__ import annotations

import numpy as np

from kdbench.data.readers.timeline import centre_frames

SHOULDER_CENTRE, HIP_CENTRE = 1, 3
BONES = (
    *((0, 1), (1, 2), (2, 3)),  # head, shoulder centre, spine, hip centre
    *((1, 4), (4, 5), (5, 6), (6, 7)),  # left arm
    *((1, 8), (8, 9), (9, 10), (10, 11)),  # right arm
    *((3, 12), (12, 13), (13, 14), (14, 15)),  # left leg
    *((3, 16), (16, 17), (17, 18), (18, 19)),  # right leg
)
"""Pairs of joints in the order of the first Kinect."""
JOINTS = 20
HALF_SIDE = 2.75
"""From the picture's centre to its edge, in torso lengths."""
NEAREST, FARTHEST = 2.5, -1.0
"""Depths towards the camera, from the hip, in torso lengths, that are drawn with 255 and with `GREY_OF_FARTHEST`."""
GREY_OF_FARTHEST = 40
FARTHEST_JOINT = 1e4
"""In torso lengths: what lies farther from the hip is no joint."""
THICKNESS = 0.011
"""Standard deviation of a line's Gaussian profile, as a share of the picture's side."""


def normalised(joints: np.ndarray) -> np.ndarray:
    """Joints relative to the trial's hip centre, in torso lengths.

    Args:
        joints: Positions `(F, 20, 3)` in metres: x to the right of the picture, y up, z away from the camera.

    Returns:
        `(F, 20, 3)`, float32: x to the right, y down, z towards the camera.

    Raises:
        ValueError: The torso has no length, or a joint is nowhere near it: the person was not tracked.
    """
    torso = np.median(np.linalg.norm(joints[:, SHOULDER_CENTRE] - joints[:, HIP_CENTRE], axis=-1))
    if not torso > 0:
        raise ValueError("the torso has no length in most frames")
    centred = joints - np.median(joints[:, HIP_CENTRE], axis=0)
    far = np.abs(centred).max() / torso
    if far > FARTHEST_JOINT:
        raise ValueError(f"a joint lies {far:.3g} torso lengths from the hip")
    return (centred * (1, -1, -1) / torso).astype(np.float32)


def clip_of(joints: np.ndarray, count: int, side: int) -> np.ndarray:
    """Some frames of normalised joints, drawn.

    Args:
        joints: As from `normalised`, every frame of the trial `(F, 20, 3)`.
        count: How many frames to take, at the centres of equal parts.
        side: Height and width of a frame, pixels.

    Returns:
        `(count, side, side)`, uint8.
    """
    return draw(joints[centre_frames(len(joints), count)], side)


def draw(joints: np.ndarray, side: int) -> np.ndarray:
    """Draws normalised joints.

    Where bones cross, the nearer one is seen: it is the brighter one.

    Args:
        joints: As from `normalised`, `(F, 20, 3)`.
        side: Height and width of a frame, pixels.

    Returns:
        Frames `(F, side, side)`, uint8.
    """
    places = (joints[..., :2] / HALF_SIDE + 1) * (side / 2) - 0.5
    share = (np.clip(joints[..., 2], FARTHEST, NEAREST) - FARTHEST) / (NEAREST - FARTHEST)
    greys = GREY_OF_FARTHEST + (255 - GREY_OF_FARTHEST) * share
    axis = np.arange(side, dtype=np.float32)
    frames = np.zeros((len(joints), side, side), np.float32)
    for first, second in BONES:
        start, along = places[:, first], places[:, second] - places[:, first]
        x = axis[None, None, :] - start[:, 0, None, None]
        y = axis[None, :, None] - start[:, 1, None, None]
        dx, dy = along[:, 0, None, None], along[:, 1, None, None]
        # Where along the bone its nearest point lies.
        t = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-6), 0, 1)
        squared = (x - t * dx) ** 2 + (y - t * dy) ** 2
        # A bone that points at the camera is one pixel; its nearer end is what is seen.
        foremost = np.where(dx * dx + dy * dy < 1, np.maximum(greys[:, first], greys[:, second])[:, None, None], 0)
        grey = greys[:, first, None, None] * (1 - t) + greys[:, second, None, None] * t
        line = np.exp(squared * (-0.5 / (THICKNESS * side) ** 2)) * np.maximum(grey, foremost)
        np.maximum(frames, line, out=frames)
    return np.rint(frames).astype(np.uint8)
