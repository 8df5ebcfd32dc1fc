"""What a fusion is: how the sensor branches of a network meet, between or after their stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import Tensor, nn

Maps: TypeAlias = tuple[Tensor, ...]
Joined: TypeAlias = tuple[Maps, Tensor] | tuple[Maps, Tensor, Tensor]
"""What a joint fusion hands out: maps, an embedding, and what the group heads see if that is another feature."""


class Fusion(nn.Module):
    """Joins the branches of a network; this base leaves them apart.

    Subclasses take the three arguments below and their own keyword parameters, which recipes set.

    Args:
        channels: C_1 … C_4 of a branch.
        sources: m, the number of branches.
        width: D, the width of a branch's embedding.

    Attributes:
        couples_batch: A row's output depends on the other rows of the batch, in eval mode too.
        normalisation: As of an encoder: `batch` where BatchNorm ties a row to its batch while the network trains.
        constant_batch_invariant: In a batch of equal rows each gets what it would get alone.
        joint: The branches end in one head over joined embeddings, as one branch.
        out_channels: Channels of the four maps that a branch hands out.
        out_width: Width of the embedding that a branch hands out.
    """

    couples_batch: bool = False
    normalisation: Literal["batch", "sample"] = "sample"
    constant_batch_invariant: bool = True
    joint: bool = False

    def __init__(self, channels: Sequence[int], sources: int, width: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.sources = sources
        self.width = width
        self.out_channels = self.channels
        self.out_width = width

    def between(self, stage: int, maps: list[Tensor]) -> list[Tensor]:  # noqa: ARG002
        """Called after stages 0, 1 and 2 with the branches' maps; what it returns enters the next stage.

        Args:
            stage: Index of the stage that has just run.
            maps: One map `(B, C, *grid)` per branch.

        Returns:
            Maps of the same shapes.
        """
        return maps

    def last(self, maps: list[Tensor]) -> list[Tensor]:
        """Called after stage 3 with the branches' maps; what it returns is pooled. By default nothing changes.

        Args:
            maps: One map `(B, C_4, *grid)` per branch.

        Returns:
            Maps of the same shapes.
        """
        return maps

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> Joined:
        """Called once after the last stage, only where `joint` is true.

        Args:
            stages: The four maps of each branch, as `between` left them.
            embeddings: The pooled last map `(B, D)` of each branch.

        Returns:
            Four maps `(B, out_channels, *grid)`, an embedding `(B, out_width)` and, where the heads that tell groups of
            classes apart see another feature than the embedding, that one `(B, auxiliary_width)`.
        """
        raise NotImplementedError(f"{type(self).__name__} declares joint = True and does not define after()")

    @property
    def auxiliary_width(self) -> int:
        """Width of what the group heads see."""
        return self.out_width
