"""The camera: a depth view of a pose, drawn by a vectorised rasteriser of tapered capsules.

The camera stands at distance d from the person and looks at them along the -x of its own frame, which is the world's
turned about the vertical by the camera's azimuth: 0 faces the person. A point (x, y, z) of that frame appears at
(u, v) = (y, z − h) · d / (d − x), in metres of the plane through the world's origin; radii scale alike. For a capsule
with projected ends a, b, radii r_a, r_b and depths x_a, x_b, a pixel p lies on it where

    s = clip(⟨p − a, b − a⟩ / |b − a|², 0, 1),  r = r_a + s (r_b − r_a),  δ² = |p − a − s (b − a)|² < r²,

and its surface there is at depth x = x_a + s (x_b − x_a) + √(r² − δ²). The nearest surface is what a pixel shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdbench.data.readers.motionsim.body import Body
from kdbench.data.readers.motionsim.kinematics import Pose

MARGIN = 1.06


@dataclass(frozen=True)
class Camera:
    """A camera that looks at the person.

    Attributes:
        distance_m: Distance from the world's origin.
        height_m: Height of the lens.
        azimuth_deg: Where it stands around the person: 0 in front, 90 at their left.
    """

    distance_m: float = 3.2
    height_m: float = 1.1
    azimuth_deg: float = 0.0

    def frame(self, points: np.ndarray) -> np.ndarray:
        """Points `(..., 3)` of the world in the camera's frame, metres."""
        if not self.azimuth_deg:
            return points
        turn = np.deg2rad(self.azimuth_deg)
        cosine, sine = np.cos(turn), np.sin(turn)
        return points @ np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


CAMERAS = (
    Camera(),
    Camera(height_m=1.9, azimuth_deg=55),
    Camera(height_m=1.9, azimuth_deg=-55),
    Camera(height_m=1.4, azimuth_deg=150),
)
"""The fixed cameras of the room, in the order of their numbers: one in front, one at each side, one behind."""


def render(pose: Pose, body: Body, size: int, camera: Camera) -> np.ndarray:
    """Draws the poses at T times.

    The picture is a square around the person over the whole trial.

    Args:
        pose: Poses at the T times of the frames.
        body: Whose flesh to draw.
        size: Side of a frame in pixels.
        camera: Where from.

    Returns:
        Distance from the camera's plane in millimetres `(T, size, size)`, float32, 0 where there is no person; the
        first row is the top.
    """
    starts, stops, radii = _project(pose, body, camera)
    window = _window(starts, stops, radii)
    surface = np.full((starts.shape[1], size, size), -np.inf, np.float32)
    for start, stop, radius in zip(starts, stops, radii, strict=True):
        _draw(surface, start, stop, radius, window)
    distance = np.float32(1000) * (np.float32(camera.distance_m) - surface)
    return np.where(np.isfinite(surface), np.maximum(distance, 1), 0)


def occluded(millimetres: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Hides a part of the person behind a thing that stands still, as furniture does in a room.

    The thing is a desk, which hides the lower part of the picture, or a pillar, which hides an upright strip. The
    picture shows the person alone, so that what hides them reads 0 like the background.

    Args:
        millimetres: What `render` returns `(T, size, size)`; left as it is.
        share: Share of the picture's height (desk) or width (pillar) that is hidden, 0 to 1.
        rng: Draws which of the two, and where the pillar stands.
    """
    size = millimetres.shape[-1]
    hidden = round(share * size)
    desk, place = rng.random() < 0.5, rng.random()
    result = millimetres.copy()
    if desk:
        result[:, size - hidden :] = 0
    else:
        left = round(place * (size - hidden))
        result[:, :, left : left + hidden] = 0
    return result


def _project(pose: Pose, body: Body, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends `(N, T, 3)` as (u, v, depth) and radii `(N, T, 2)` of the body's N capsules."""

    def seen(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = camera.distance_m / np.maximum(camera.distance_m - point[:, 0], 0.2)
        across, up = point[:, 1] * scale, (point[:, 2] - camera.height_m) * scale
        return np.stack([across, up, point[:, 0]], axis=-1), scale

    starts, stops, radii = [], [], []
    for part in body.capsules:
        start, near = seen(camera.frame(pose.point(part.segment, np.array(part.start))))
        stop, far = seen(camera.frame(pose.point(part.segment, np.array(part.stop))))
        starts.append(start)
        stops.append(stop)
        radii.append(np.stack([part.start_radius * near, part.stop_radius * far], axis=-1))
    return np.stack(starts), np.stack(stops), np.stack(radii)


def _window(starts: np.ndarray, stops: np.ndarray, radii: np.ndarray) -> tuple[float, float, float]:
    """Left edge, top edge and side of the square that holds the person in every frame."""
    ends = np.stack([starts, stops])[..., :2]
    reach = np.moveaxis(radii, -1, 0)[..., None]
    low, high = (ends - reach).min((0, 1, 2)), (ends + reach).max((0, 1, 2))
    side = float((high - low).max()) * MARGIN
    left, bottom = (low + high - side) / 2
    return float(left), float(bottom + side), side


def _draw(
    surface: np.ndarray, start: np.ndarray, stop: np.ndarray, radius: np.ndarray, window: tuple[float, float, float]
) -> None:
    """Draws one capsule into the depths `(T, size, size)`, touching only the pixels that it can reach."""
    left, top, side = window
    size = surface.shape[-1]
    pixel = side / size
    reach = radius.max()
    low = np.minimum(start, stop)[:, :2].min(0) - reach
    high = np.maximum(start, stop)[:, :2].max(0) + reach
    columns = slice(max(int((low[0] - left) / pixel), 0), min(int((high[0] - left) / pixel) + 1, size))
    rows = slice(max(int((top - high[1]) / pixel), 0), min(int((top - low[1]) / pixel) + 1, size))
    u = (left + (np.arange(size)[columns] + 0.5) * pixel).astype(np.float32)
    v = (top - (np.arange(size)[rows] + 0.5) * pixel).astype(np.float32)[:, None]

    first, last, radii = (part.astype(np.float32)[:, :, None, None] for part in (start, stop, radius))
    across, up, deep = (last - first).swapaxes(0, 1)
    du, dv = u - first[:, 0], v - first[:, 1]
    along = np.clip((du * across + dv * up) / (across**2 + up**2 + 1e-8), 0.0, 1.0)
    thick = radii[:, 0] + along * (radii[:, 1] - radii[:, 0])
    bulge = thick**2 - (du - along * across) ** 2 - (dv - along * up) ** 2
    depth = first[:, 2] + along * deep + np.sqrt(np.maximum(bulge, 0.0))
    target = surface[:, rows, columns]
    np.maximum(target, depth, out=target, where=bulge > 0)
