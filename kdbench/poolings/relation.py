"""Temporal relations between frames (TRN; Zhou et al., ECCV 2018)."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.poolings.base import Pooling
from kdbench.poolings.checks import demand_positive, demand_share
from kdbench.registry import pooling

MOST_FRAMES = 16
"""With more frames, the subsets are too many to list."""


@pooling("relation")
class Relation(Pooling):
    """Multi-scale relations: one MLP for the subsets of each size, in the order of time.

    With K frames `f_t = W dropout(x_t) + b`, and for k = K, K-1, …, 2 some subsets t_1 < … < t_k:

        g_k = Σ over subsets of ReLU(W_k ReLU([f_t1 … f_tk]) + b_k),  h = [g_K … g_2]

    TRN adds up a linear layer of each g_k, which is one linear layer of h: the network's own head. The one subset of K
    frames is taken once; of every smaller size the code draws three for the whole batch, anew at each call. Here it
    does so in training; in eval mode the subsets are fixed, evenly spaced in their lexicographic order, so that a
    prediction repeats. A token sequence of another length than K is brought to it by the mean over K equal parts.

    The defaults are the released code's. SAKDN's student has K = 8 or 3, features of 300 and dropout of 0.8; its
    semantic output, the mean of f_t over time, is not made here.

    Args:
        width: D.
        frames: K, 2 to 16.
        feature: Width of f_t.
        hidden: Width of each g_k.
        subsets: Largest number of subsets of each size below K.
        dropout: Share of the entries of x_t that training drops.

    Raises:
        UsageError: A number out of range.
    """

    def __init__(
        self,
        width: int,
        *,
        frames: int = 8,
        feature: int = 256,
        hidden: int = 256,
        subsets: int = 3,
        dropout: float = 0.8,
    ) -> None:
        super().__init__(width)
        demand_positive("relation", feature=feature, hidden=hidden, subsets=subsets)
        demand_share("relation", dropout=dropout)
        if not isinstance(frames, int) or not 2 <= frames <= MOST_FRAMES:
            raise ParameterError(
                f"relation: frames = {frames!r}, expected a whole number from 2 to {MOST_FRAMES}: a relation is "
                "between two moments or more, and each number of them has layers of its own",
                "frames",
            )
        self.frames = frames
        self.subsets = subsets
        self.sizes = range(frames, 1, -1)
        self.out_width = hidden * len(self.sizes)
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Linear(width, feature)
        self.relations = nn.ModuleList(nn.Linear(size * feature, hidden) for size in self.sizes)
        for size in self.sizes:
            every = torch.tensor(list(itertools.combinations(range(frames), size)))
            self.register_buffer(f"_subsets_{size}", every, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the base class."""
        if tokens.shape[1] != self.frames:
            tokens = F.adaptive_avg_pool1d(tokens.mT, self.frames).mT
        features = self.feature(self.dropout(tokens)).relu()
        sums = []
        for size, relation in zip(self.sizes, self.relations, strict=True):
            chosen = self._chosen(size)
            # Frames of a subset lie side by side in the order of time, so that the layer can tell which comes first.
            related = relation(features[:, chosen].flatten(2)).relu()
            sums.append(related.sum(1))
        return torch.cat(sums, 1)

    def _chosen(self, size: int) -> Tensor:
        """Frames of the subsets of a size `(n, size)`."""
        every: Tensor = getattr(self, f"_subsets_{size}")
        count = min(self.subsets, len(every))
        if count == len(every):
            return every
        if self.training:
            # The largest of random numbers are a draw without repetition that stays on the device.
            return every[torch.rand(len(every), device=every.device).topk(count).indices]
        return every[(2 * torch.arange(count, device=every.device) + 1) * len(every) // (2 * count)]
