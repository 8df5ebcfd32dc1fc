"""An encoder whose last map is projected to another network's, so that the other's classifier fits it (SimKD)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.encoders.base import Encoder

_LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "series": (nn.Conv1d, nn.BatchNorm1d),
    "image": (nn.Conv2d, nn.BatchNorm2d),
    "clip": (nn.Conv3d, nn.BatchNorm3d),
}


class ProjectedEncoder(Encoder):
    """An encoder with SimKD's projector behind its last stage (Chen et al., CVPR 2022, section 3.2).

    `F' = ReLU(BN(1×1 ReLU(BN(3×3 ReLU(BN(1×1 F))))))`, with C' / factor channels between; the embedding is the mean of
    F' over its grid.

    Args:
        inner: The encoder; its own pooling is not used.
        channels: C' of the projected map.
        kind: What the encoder takes: `series`, `image` or `clip`.
        factor: How much narrower the middle of the projector is.
    """

    normalisation = "batch"

    def __init__(self, inner: Encoder, channels: int, *, kind: str, factor: int) -> None:
        super().__init__(inner.in_channels)
        self.inner = inner
        self.channels = (*inner.channels[:-1], channels)
        self.width = channels
        self.isotropic = inner.isotropic
        self.pretrained = inner.pretrained
        self.knows_joints_of = inner.knows_joints_of
        middle = max(channels // factor, 1)
        self.projector = nn.Sequential(
            *_layer(kind, inner.channels[-1], middle, 1),
            *_layer(kind, middle, middle, 3),
            *_layer(kind, middle, channels, 1),
        )

    def stem(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.inner.stem(x)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        x = self.inner.stage(index, x)
        return self.projector(x) if index == len(self.channels) - 1 else x

    def pool(self, last: Tensor) -> Tensor:
        """The mean over the grid."""
        return last.flatten(2).mean(2, dtype=torch.promote_types(last.dtype, torch.float32)).to(last.dtype)


def _layer(kind: str, inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    convolve, normalise = _LAYERS[kind]
    return (
        convolve(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        normalise(outputs),
        nn.ReLU(),
    )
