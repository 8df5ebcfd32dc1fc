"""A skeleton's joints as a series, with its bones and with their velocities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.registry import representation
from kdbench.representations.base import Representation, Statistics
from kdbench.representations.length import resample, wide
from kdbench.representations.skeletons import AXES, joints_of
from kdbench.types import JointGraph


@representation("joints", modality="sensors")
class Joints(Representation):
    """Positions of J joints, and what follows from them: `(B, 3 J, n)` to `(B, 3 J k, n')`, k the number of streams.

    A stream is the positions x; the bones, `x_child - x_parent` at the child's place and 0 at the root's; or a
    velocity `x_(t+1) - x_t`, 0 at the end. Joints, bones and their motions are the streams of Shi et al., CVPR 2019
    (2s-AGCN) and TIP 2020 (MS-AAGCN), which trains a network on each and averages their scores; here they are channels
    of one. Each axis of a stream is standardised by its mean and deviation over the training part, all joints together,
    so that the body keeps its proportions; one that is constant there becomes zero.

    Args:
        channels: 3 J, joint by joint.
        statistics: Not used: the training part gives them.
        skeleton: How the joints hang together.
        bones: Whether the bones are a stream.
        velocities: Whether the velocities of each of these streams are streams too.
        samples: n', to which the positions are resampled first; None leaves n. Velocities are per such sample.

    Raises:
        UsageError: It does not see a skeleton, bones are asked for and the data set's card names none, or `samples` is
            less than 2.
    """

    makes = "series"
    parents: Tensor | None
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        skeleton: JointGraph | None = None,
        bones: bool = False,
        velocities: bool = False,
        samples: int | None = None,
    ) -> None:
        super().__init__(channels, statistics=statistics)
        self.joints = joints_of("joints", skeleton)
        assert skeleton is not None
        if bones and not skeleton.bones:
            raise ParameterError(
                "joints: bones = true, and the data set's card names no bones of the skeleton", "bones"
            )
        if samples is not None and samples < 2:
            raise ParameterError(
                f"joints: samples = {samples}, expected at least 2, or null for those of the series", "samples"
            )
        self.samples = samples
        self.velocities = velocities
        # A root is its own parent: its bone is zero.
        parents = list(range(self.joints))
        for parent, child in skeleton.bones:
            parents[child] = parent
        self.register_buffer("parents", torch.tensor(parents) if bones else None, persistent=False)
        self.streams = (1 + bones) * (1 + velocities)
        self.out_channels = channels * self.streams
        self.register_buffer("mean", torch.zeros(self.streams * AXES))
        self.register_buffer("deviation", torch.ones(self.streams * AXES))

    def _streams(self, x: Tensor) -> Tensor:
        """`(B, 3 J, n)` to `(B, k, J, 3, n')`."""
        x = x if self.samples is None else resample(x, self.samples)
        positions = x.unflatten(1, (self.joints, AXES))
        streams = [positions]
        if self.parents is not None:
            streams.append(positions - positions.index_select(1, self.parents))
        if self.velocities:
            # The last moment has no next one, and no motion.
            streams += [F.pad(stream.diff(dim=-1), (0, 1)) for stream in streams]
        return torch.stack(streams, dim=1)

    def fit(self, values: Tensor) -> None:
        """Takes the mean and the standard deviation of each axis of a stream over all of `values` (N, 3 J, n)."""
        streams = self._streams(values).transpose(2, 3).flatten(1, 2)
        deviation, mean = torch.std_mean(wide(streams), dim=(0, 2, 3), correction=0)
        self.mean.copy_(mean)
        # What rounding alone makes of positions that stay is no motion.
        constant = deviation <= 1e-6 * values.abs().amax()
        self.deviation.copy_(torch.where(constant, 1.0, deviation))

    def forward(self, x: Tensor) -> Tensor:
        """See the base class."""
        shape = (1, self.streams, 1, AXES, 1)
        streams = (self._streams(x) - self.mean.view(shape)) / self.deviation.view(shape)
        return streams.flatten(1, 3)
