"""Random changes of the training inputs, drawn from named seeds and applied on the device.

The random numbers are drawn on the host, so that every device and every method sees the same changes at a seed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.recipes.schema import Augment
from kdbench.types import Batch


class Augmenter:
    """Changes the batches of one training.

    Args:
        spec: How much.
        axis_std: Standard deviation of each sensor's axes over the training part, `{sensor: (axes,)}`; sensors that it
            lacks stay as they are and draw nothing.
    """

    def __init__(self, spec: Augment, axis_std: dict[str, Tensor]) -> None:
        self.spec = spec
        self.axis_std = axis_std
        self.changes_series = bool(axis_std) and (spec.noise > 0 or spec.scale > 0)
        self.changes_video = spec.rotate_deg > 0 or spec.shift > 0 or spec.scale > 0

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Returns the changed batch; labels and ids stay."""
        generator = torch.Generator().manual_seed(seed)
        if self.changes_series and batch.sensors:
            changed = {name: self._series(name, batch.sensors[name], generator) for name in self.axis_std}
            batch = batch.replace(sensors={**batch.sensors, **changed})
        if self.changes_video and batch.video is not None:
            batch = batch.replace(video=self._video(batch.video, generator))
        return batch

    def _series(self, name: str, x: Tensor, generator: torch.Generator) -> Tensor:
        gain = 1 + self.spec.scale * _symmetric((len(x), 1, 1), generator)
        noise = self.spec.noise * torch.randn(x.shape, generator=generator)
        return x * _to(gain, x) + _to(noise, x) * self.axis_std[name][:, None]

    def _video(self, video: Tensor, generator: torch.Generator) -> Tensor:
        B, C, T, H, W = video.shape
        angle = math.radians(self.spec.rotate_deg) * _symmetric((B,), generator)
        zoom = 1 + self.spec.scale * _symmetric((B,), generator)
        # Shares of the size are halves of affine_grid's range [-1, 1].
        shift = 2 * self.spec.shift * _symmetric((2, B), generator)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        theta = torch.stack([torch.stack([cos, -sin, shift[0]], -1), torch.stack([sin, cos, shift[1]], -1)], 1)
        frames = video.reshape(B, C * T, H, W)
        frames = frames.float() / 255 if video.dtype == torch.uint8 else frames
        grid = F.affine_grid(_to(theta, frames), [B, C * T, H, W], align_corners=False)
        return F.grid_sample(frames, grid, align_corners=False).reshape(B, C, T, H, W)


def _symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def _to(value: Tensor, like: Tensor) -> Tensor:
    if like.is_cuda:
        value = value.pin_memory()
    return value.to(like.device, non_blocking=True)
