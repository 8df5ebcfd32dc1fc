"""How the body's shape changes over a trial, in one image: heatmaps of joints under approximate rank pooling."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.registry import representation
from kdbench.representations.base import Statistics
from kdbench.representations.images import ImageOfSeries
from kdbench.representations.skeletons import AXES, extremes, joints_of
from kdbench.types import JointGraph

_LEAST = 1e-5
"""Share of the largest possible value below which an image is rounding alone."""


@representation("shape_image", modality="sensors")
class ShapeImage(ImageOfSeries):
    """The evolution of a body's shape as an image `(B, 1, S, S)`, from the front.

    Each moment has a map of all J joints, and the maps are summed with the weights of approximate rank pooling
    (Bilen et al., CVPR 2016, without smoothing), under which what stays still vanishes:

        H_t(v, u) = sum_j exp(-((u - x_j,t)^2 + (v - y_j,t)^2) / (2 sigma^2))
        D(v, u) = sum_(t = 1 … n) (2 t - n - 1) H_t(v, u)

    D is scaled by its own largest magnitude to [-1, 1], moved to [0, 1], so that nothing is 0.5, and normalised by the
    statistics of the encoder's pretraining. The frame holds the training part's joints with a margin of 2 sigma, with
    one scale for both axes; v runs downwards. In the style of the shape evolution image of Liu and Yuan, CVPR 2018,
    which pools the heatmaps of a pose estimator.

    Args:
        channels: 3 J, joint by joint; x, y (upwards), z each.
        statistics: See the base class.
        skeleton: How the joints hang together; here only how many there are.
        image_size: S, height and width of the image.
        sigma: σ as a share of S.

    Raises:
        UsageError: It does not see a skeleton, S is less than 1, or σ is not in (0, 0.25).
    """

    middle: Tensor
    extent: Tensor
    cells: Tensor

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        skeleton: JointGraph | None = None,
        image_size: int = 224,
        sigma: float = 0.04,
    ) -> None:
        super().__init__(channels, statistics=statistics, image_size=image_size, images=1)
        self.joints = joints_of("shape_image", skeleton)
        if not 0 < sigma < 0.25:
            raise ParameterError(
                f"shape_image: sigma = {sigma}, expected a share of the image's side in (0, 0.25)", "sigma"
            )
        self.sigma = sigma
        self.register_buffer("middle", torch.zeros(2))
        self.register_buffer("extent", torch.ones(()))
        self.register_buffer("cells", (torch.arange(image_size) + 0.5) / image_size - 0.5, persistent=False)

    def fit(self, values: Tensor) -> None:
        """Takes the frame that holds all joints of `values` (N, 3 J, n)."""
        low, high = extremes(values)
        self.middle.copy_((low + high)[:2] / 2)
        # Two deviations of a bump are left between the outermost joints and the edge.
        self.extent.copy_((high - low)[:2].amax() / (1 - 4 * self.sigma))

    def forward(self, x: Tensor) -> Tensor:
        """See the base class."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        n = x.shape[-1]
        positions = x.to(dtype).unflatten(1, (self.joints, AXES))[:, :, :2]
        places = (positions - self.middle[:, None]) / self.extent
        across, up = (places[:, :, axis].flatten(1) for axis in range(2))
        # Gaussians of two axes are products of those of one: the sum over joints and time is a matrix product.
        # The rows of an image run downwards.
        columns, rows = self._bumps(across), self._bumps(-up)
        order = 2 * torch.arange(1, n + 1, device=x.device, dtype=dtype) - n - 1
        weights = order.repeat(self.joints)
        with torch.autocast(x.device.type, enabled=False):
            pooled = (rows * weights[:, None]).transpose(1, 2) @ columns
        least = _LEAST * self.joints * order.abs().sum()
        largest = pooled.abs().amax((1, 2), keepdim=True)
        image = 0.5 + 0.5 * pooled / torch.maximum(largest, least)
        return self.normalise(image[:, None])

    def _bumps(self, places: Tensor) -> Tensor:
        """Gaussians about places `(B, J n)` at the middles of the cells `(B, J n, S)`."""
        return torch.exp(-(places[..., None] - self.cells).square() / (2 * self.sigma**2))
