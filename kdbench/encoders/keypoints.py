"""Points found in each frame of a clip, and a net over how they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.encoders.base import Encoder, demand_at_least
from kdbench.encoders.conv import Conv1d, Residual, convolution, normalise
from kdbench.errors import ParameterError, near_misses
from kdbench.layers.series import AXES_OF_A_JOINT, at_places, places_in, turned
from kdbench.registry import encoder
from kdbench.types import JointGraph

# Points are told in twentieths of the frame's sides, about the spread of a body's joints in a clip cut to the person.
_SCALE = 10.0


@encoder("keypoints", eats="clip")
class Keypoints(Encoder):
    """Sees a clip `(B, C, T, H, W)` as K points that move, and reads their movement as a series.

    A 2-D net gives every frame K heat maps. The mean place under the softmax of each is a point's x and y
    (soft-argmax), and the mean of a second map under the same weights its depth; a linear layer of the mean of the last
    map, which sees the frame as a whole, is added to the three. The points are interpolated over time.
    They are the first map, `(B, 3K, samples, 1, 1)`: the place at which `series` with `stage: 0` tells the net where
    the joints are; without such a loss the points are free. The other three maps and the embedding are those of
    `conv1d` over the points and their velocities, its last two stages in one.

    Source: soft-argmax as in Levine, Finn, Darrell and Abbeel, JMLR 2016; poses and actions in one net after Luvizon,
    Picard and Tabia, CVPR 2018, whose visibility of joints and branch for appearance are left out.

    Args:
        in_channels: Channels of the input.
        skeletons: The data set's.
        points: K.
        joints: A skeleton of the data set whose joints the points are to be, as many as it has; `points` then counts
            for nothing. None: they stand for nothing that has a name.
        widths: Channels of the 2-D net at 1/2, 1/4, 1/8 and 1/16 of the frame's sides; the heat maps have 1/4.
        merged: Channels in which the last three are added up for the heat maps.
        samples: Length of the series of points.
        series_widths: The four widths of `conv1d`.
        time_scale: Largest relative change of the part of the clip that `conv1d` sees at its whole length while it
            trains, as in a recipe's `augment`; the points that `series` reads stay as the clip shows them.
        turn_deg: Largest rotation of the points about the vertical axis before `conv1d` while it trains, degrees.
        dropout: Share of the embedding's entries that training drops.

    Raises:
        ParameterError: Sizes that no net has, or a skeleton that the data set lacks.
    """

    normalisation = "batch"
    statistics = ((0.0,), (0.25,))

    def __init__(
        self,
        in_channels: int,
        *,
        skeletons: Mapping[str, JointGraph] | None = None,
        points: int = 20,
        joints: str | None = None,
        widths: Sequence[int] = (16, 32, 64, 96),
        merged: int = 32,
        samples: int = 64,
        series_widths: Sequence[int] = (32, 64, 96, 128),
        time_scale: float = 0.0,
        turn_deg: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels)
        if joints is not None:
            points = len(_joints(joints, skeletons or {}).joints)
        demand_at_least(1, points=points, merged=merged)
        demand_at_least(16, samples=samples)
        for key, four in (("widths", widths), ("series_widths", series_widths)):
            if len(four) != 4 or any(width < 1 for width in four):
                raise ParameterError(f"{key} = {list(four)}: expected four positive channel counts", key)
        if not 0 <= time_scale < 1:
            raise ParameterError(f"time_scale = {time_scale!r}: expected a share, from 0 to below 1", "time_scale")
        if not 0 <= turn_deg <= 180:
            raise ParameterError(f"turn_deg = {turn_deg!r}: expected degrees, from 0 to 180", "turn_deg")
        self.points, self.samples = points, samples
        self.time_scale, self.turn_deg = time_scale, turn_deg
        self.knows_joints_of = joints
        self.series = Conv1d(2 * AXES_OF_A_JOINT * points, widths=series_widths, dropout=dropout)
        first, second, _, last = self.series.channels
        self.channels = (AXES_OF_A_JOINT * points, first, second, last)
        self.width = self.series.width
        self.first = _seen(in_channels, widths[0], kernel=5, stride=2)
        self.shrinking = nn.ModuleList(_shrinking(before, after) for before, after in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv2d(width, merged, 1) for width in widths[1:])
        self.maps = nn.Sequential(_seen(merged, merged), nn.Conv2d(merged, 2 * points, 1))
        self.whole = nn.Linear(widths[-1], AXES_OF_A_JOINT * points)
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.whole.bias)

    def stem(self, x: Tensor) -> Tensor:
        """The frames `(B, C, T, H, W)` as they are."""
        return x

    def stage(self, index: int, x: Tensor) -> Tensor:
        """The points of the frames for 0; then the stages of `conv1d`, the last two as one."""
        if index == 0:
            return self._points(x)[..., None, None]
        x = x.flatten(2)
        x = self.series.stage(index - 1, self._moving(x) if index == 1 else x)
        return (self.series.stage(index, x) if index == 3 else x)[..., None, None]

    def pool(self, last: Tensor) -> Tensor:
        """As `conv1d`."""
        return self.series.pool(last)

    def _points(self, x: Tensor) -> Tensor:
        """The points `(B, 3K, samples)` of a clip."""
        frames = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = [self.first(frames)]
        for block in self.shrinking:
            maps.append(block(maps[-1]))
        merged: Tensor | None = None
        for lateral, found in zip(reversed(self.lateral), reversed(maps), strict=False):
            here = lateral(found)
            merged = here if merged is None else here + F.interpolate(merged, here.shape[-2:], mode="nearest")
        assert merged is not None
        heat, depth = self.maps(F.relu(merged)).flatten(2).chunk(2, dim=1)
        weights = heat.softmax(-1)
        rows, columns = merged.shape[-2:]
        up = torch.linspace(1, -1, rows, dtype=x.dtype, device=x.device).repeat_interleave(columns)
        across = torch.linspace(-1, 1, columns, dtype=x.dtype, device=x.device).repeat(rows)
        places = torch.stack([weights @ across, weights @ up], dim=-1) * _SCALE
        found = torch.cat([places, (weights * depth).sum(-1, keepdim=True)], dim=-1).flatten(1)
        points = (found + self.whole(maps[-1].mean((2, 3)))).unflatten(0, (x.shape[0], -1)).transpose(1, 2)
        # A frame stands for the middle of its part of the trial; before the first middle and behind the last, points
        # stay where they are.
        return F.interpolate(points, self.samples, mode="linear", align_corners=False)

    def _moving(self, points: Tensor) -> Tensor:
        """What `conv1d` takes of the points `(B, 3K, samples)`: these and their velocities."""
        if self.training:
            points = _turned(_at_other_speeds(points, self.time_scale), self.turn_deg)
        velocity = F.pad(points.diff(dim=-1), (1, 0)) * (self.samples / 8)
        return self.series.stem(torch.cat([points, velocity], dim=1))


def _joints(name: str, skeletons: Mapping[str, JointGraph]) -> JointGraph:
    if name not in skeletons:
        has = f"has {', '.join(skeletons)}" if skeletons else "has none"
        raise ParameterError(f"joints = {name!r}: the data set {has}{near_misses(str(name), skeletons)}", "joints")
    return skeletons[name]


def _at_other_speeds(points: Tensor, most: float) -> Tensor:
    """Series `(B, 3K, n)` of which a part of 1 ± `most` of each is shown at the whole length; its ends are held."""
    if most == 0:
        return points
    rows, _, n = points.shape
    length = 1 + most * torch.empty(rows, 1, device=points.device).uniform_(-1, 1)
    start = (1 - length) * torch.rand(rows, 1, device=points.device)
    return at_places(points, places_in(start, length, n))


def _turned(points: Tensor, most: float) -> Tensor:
    """Points `(B, 3K, n)` turned about the vertical axis by up to `most` degrees, each row by an angle of its own."""
    if most == 0:
        return points
    return turned(points, torch.deg2rad(most * points.new_empty(len(points), 1, 1).uniform_(-1, 1)))


def _shrinking(inputs: int, outputs: int) -> Residual:
    """Two convolutions around a shortcut, at half of the sides."""
    return Residual(
        _seen(inputs, outputs, stride=2),
        nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), normalise("batch", outputs, 2)),
        nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), normalise("batch", outputs, 2)),
    )


def _seen(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*convolution(2, inputs, outputs, kernel, stride, "batch"), nn.ReLU())
