"""What an encoder is: a backbone that can be driven stage by stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError


def unread(result: Tensor, maps: Sequence[Tensor]) -> tuple[int, ...]:
    """The maps, counted from one, on which the gradient of a result is zero everywhere.

    Args:
        result: Any tensor that was computed from the maps.
        maps: In the order of the stages.
    """
    # Each entry has a weight of its own: the plain sum of what a norm gives does not depend on anything.
    weights = torch.arange(1, result.numel() + 1, device=result.device).cos().view_as(result)
    watched = {number: x for number, x in enumerate(maps, start=1) if x.requires_grad}
    total = (weights * result).sum()
    gradients = torch.autograd.grad(total, list(watched.values()), allow_unused=True) if watched else ()
    read = {n for n, gradient in zip(watched, gradients, strict=True) if gradient is not None and bool(gradient.any())}
    return tuple(number for number in range(1, len(maps) + 1) if number not in read)


def demand_at_least(least: int, **sizes: int) -> None:
    """Refuses a size of an encoder that is no whole number, or too small.

    Args:
        least: The smallest that there may be.
        sizes: By the names of their parameters.

    Raises:
        ParameterError: One is not such a number.
    """
    for key, size in sizes.items():
        if not isinstance(size, int) or size < least:
            raise ParameterError(f"{key} = {size!r}: expected a whole number, at least {least}", key)


class Encoder(nn.Module, ABC):
    """A backbone without a head, of four stages or fewer.

    Fusions between stages and losses on stages ask for four; what asks for none takes any. The embedding depends on
    all maps. Where a class token is what is read, the last map is therefore that of the patches which it still looks
    at: the input of the last block, which is then a part of `pool`.

    Subclasses take `in_channels` and their own keyword parameters, which recipes set. They are driven as `stem`,
    `stage(0)` … `stage(3)`, `pool`; a fusion may replace the map between two stages. A pooling takes the place of
    `pool` with what `tokens` gives.

    Args:
        in_channels: Channels of the input.

    Attributes:
        statistics: Mean and standard deviation of the input in [0, 1] that the encoder expects, a value a channel or
            one for all. Known before construction: the representation is built first.
        normalisation: `sample` where every row is normalised on its own (GroupNorm, LayerNorm), `batch` for BatchNorm.
        isotropic: Whether all maps have one grid, as in a ViT; otherwise each stage shrinks the one before.
        channels: C_1 … C_4; as many as there are stages.
        width: D, the width of the embedding.
        stem_channels: Channels of what the stem gives, where a fusion may act on it; 0 where none may.
        pretrained: False, or where the weights come from.
        knows_joints_of: A skeleton of the data set that it is built for without seeing it; None for none.
    """

    statistics: ClassVar[tuple[Sequence[float], Sequence[float]]] = ((0.5,), (0.5,))
    normalisation: Literal["batch", "sample"] = "sample"
    isotropic: bool = False
    channels: tuple[int, ...]
    width: int
    stem_channels: int = 0
    pretrained: bool | str = False
    knows_joints_of: str | None = None

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels

    @abstractmethod
    def stem(self, x: Tensor) -> Tensor:
        """The input `(B, in_channels, *grid)` to what the first stage takes."""

    @abstractmethod
    def stage(self, index: int, x: Tensor) -> Tensor:
        """Runs one stage, which starts with the merging, if there is one, that shrinks the grid of the stage before.

        Args:
            index: From 0, one for each of `channels`.
            x: The stem's output for stage 0, else the map of the stage before `(B, C_index, *grid)`.

        Returns:
            The stage's map `(B, C_{index+1}, *grid)`, channels first.
        """

    @abstractmethod
    def pool(self, last: Tensor) -> Tensor:
        """The last map `(B, C_4, *grid)` to the embedding `(B, D)`."""

    @property
    def token_width(self) -> int:
        """Width of a token; by default C of the last map."""
        return self.channels[-1]

    def tokens(self, last: Tensor) -> Tensor:
        """The last map `(B, C, *grid)` as a sequence in the order of time `(B, S, token_width)`.

        Time is the one axis of a series, the first of a clip, and the last one of an image of a series, whose columns
        follow the samples (as its rows do); the other axes are averaged. An encoder whose own pooling does more than
        average, as one that normalises the last map, does that here too.
        """
        if last.dim() == 3:
            return last.transpose(1, 2)
        return (last.mean(2) if last.dim() == 4 else last.mean((3, 4))).transpose(1, 2)

    def unread(self, x: Tensor) -> tuple[int, ...]:
        """The stages, counted from one, whose maps the embedding does not depend on; they should be none.

        Args:
            x: A batch of what the encoder takes.
        """
        with torch.enable_grad():
            maps, embedding = self(x.detach().requires_grad_())
            return unread(embedding, maps)

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Runs everything.

        Returns:
            The maps of all stages, and the embedding.
        """
        maps = []
        x = self.stem(x)
        for index in range(len(self.channels)):
            x = self.stage(index, x)
            maps.append(x)
        return tuple(maps), self.pool(x)
