"""A skeleton's joints over time as one image: a row a joint, a column a moment, a channel an axis."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.registry import representation
from kdbench.representations.base import Representation, Statistics, per_channel
from kdbench.representations.images import checked_size
from kdbench.representations.skeletons import AXES, extremes, joints_of
from kdbench.types import JointGraph


@representation("pose_image", modality="sensors")
class PoseImage(Representation):
    """The positions of J joints as an image `(B, 3, S, S)`: joints are rows, time are columns, x, y, z are channels.

    `I[a, j, t] = (x_j,t,a - low_a) / (high_a - low_a)`, clamped to [0, 1], with the extremes of axis a over the
    training part, all joints together; then J × n is resized to S × S (bilinear, antialiased) and normalised by the
    statistics of the encoder's pretraining. In the style of the pose evolution image of Liu and Yuan, CVPR 2018, whose
    sampling guided by the body is not this: joints stand in the order of the data set's card.

    Args:
        channels: 3 J, joint by joint.
        statistics: See the base class.
        skeleton: How the joints hang together; here only how many there are.
        image_size: S, height and width of the image.

    Raises:
        UsageError: It does not see a skeleton, or S is less than 1.
    """

    makes = "image"
    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        skeleton: JointGraph | None = None,
        image_size: int = 224,
    ) -> None:
        super().__init__(channels, statistics=statistics)
        checked_size(image_size)
        self.joints = joints_of("pose_image", skeleton)
        self.image_size = image_size
        self.out_channels = AXES
        self.register_buffer("low", torch.zeros(AXES))
        self.register_buffer("high", torch.ones(AXES))
        for name, values in zip(("mean", "std"), statistics, strict=True):
            self.register_buffer(name, per_channel(values, AXES).view(-1, 1, 1), persistent=False)

    def fit(self, values: Tensor) -> None:
        """Takes the extremes of each axis over all of `values` (N, 3 J, n)."""
        low, high = extremes(values)
        self.low.copy_(low)
        self.high.copy_(high)

    def forward(self, x: Tensor) -> Tensor:
        """See the base class."""
        image = x.unflatten(1, (self.joints, AXES)).transpose(1, 2)
        low, high = self.low.view(-1, 1, 1), self.high.view(-1, 1, 1)
        image = ((image - low) / (high - low)).clamp(0, 1)
        size = (self.image_size, self.image_size)
        image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        return (image - self.mean) / self.std
