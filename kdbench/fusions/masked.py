"""A masked autoencoder over the tokens of the branches (ActionMAE; Woo et al., AAAI 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.fusions.base import JointFusion, Rebuilt, Shape
from kdbench.layers.heads import demand_divisor
from kdbench.registry import fusion

_STD = 0.02
_EPS = 1e-6


@fusion("masked")
class Masked(JointFusion):
    """Rebuilds the tokens of missing branches from those that are there and from learnt memory, under one head.

    With the embedding of each branch as one token, `t_m = W_m h_m + b_m` (h_m itself where it has d entries), memory
    tokens c_1 … c_K, a place p_m of each branch in the encoder and one q_m in the decoder:

        [c', e] = LN(Encoder([c, t_m + p_m of the kept branches]))
        r = W LN(Decoder([c', e_m + q_m where m is kept, q_m elsewhere])) + b,  h = [r_1 … r_M]

    Encoder and decoder are pre-norm transformers. In training, of M tokens of a trial a random number from 1 to M is
    kept, and which ones is drawn; the errors of the others, `1/d ||r_m - (t_m - mean t_m) / sd t_m||²`, are what the
    loss `reconstruction` reads. At test, and in training with `drop_sources`, the branches are missing whose source
    is: one whose input is zero throughout.

    Layers and numbers are those of the authors' code (sangminwoo/ActionMAE), whose fusion by a sum of one linear layer
    a branch is this one's head. It differs in four ways. There the number of kept tokens is drawn for a batch, here for
    a trial, so that no row depends on another. There places are computed and then not added, so that the decoder cannot
    tell branches apart; here they are learnt. There the decoder is left out where all is kept, and the head reads the
    first memory tokens; here it always runs. And `W_m` is needed since the branches here are not of one width.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        width: d, which the heads divide.
        memory: K, tokens of memory.
        depth: Blocks of the encoder, and as many of the decoder.
        heads: Attention heads.
        drop_tokens: Share of the trials of which training takes tokens away.
        live_targets: Whether the gradient of the errors also goes to the true tokens, as in the authors' code. Where
            encoders start from nothing, that makes the tokens of all trials alike, which are then easy to rebuild.

    Raises:
        UsageError: A width below 2, no memory token or block, heads that do not divide the width, or a share outside
            [0, 1].
    """

    sees_missing = True

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        maps_of: str | None = None,
        width: int = 512,
        memory: int = 10,
        depth: int = 2,
        heads: int = 8,
        drop_tokens: float = 1.0,
        live_targets: bool = False,
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        for key, value, least in (("width", width, 2), ("memory", memory, 1), ("depth", depth, 1)):
            if value < least:
                raise ParameterError(f"masked: {key} = {value}, expected a whole number from {least}", key)
        demand_divisor("masked", heads, width)
        if not 0 <= drop_tokens <= 1:
            raise ParameterError(f"masked: drop_tokens = {drop_tokens}, expected a share in [0, 1]", "drop_tokens")
        self.token_width = width
        self.drop_tokens = drop_tokens
        self.live_targets = live_targets
        self.tokens = nn.ModuleList(
            nn.Identity() if shape.width == width else nn.Linear(shape.width, width) for shape in shapes
        )
        self.memory = nn.Parameter(_STD * torch.randn(1, memory, width))
        self.encoder_places = nn.Parameter(_STD * torch.randn(1, self.sources, width))
        self.decoder_places = nn.Parameter(_STD * torch.randn(1, self.sources, width))
        self.encoder = _Blocks(width, depth, heads)
        self.decoder = _Blocks(width, depth, heads)
        self.prediction = nn.Linear(width, width)

    @property
    def rebuilt_tokens(self) -> int:
        """See the base class."""
        return self.sources

    def joined_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return tuple(self.sources * count for count in self.channels)

    def joined_width(self) -> int:
        """See the base class."""
        return self.sources * self.token_width

    def after(
        self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor], present: Tensor | None = None
    ) -> Rebuilt:
        """Rebuilds what is missing; see the base class.

        Args:
            stages: The maps of each branch.
            embeddings: One `(B, D_m)` per branch.
            present: Whether each branch has its source `(B, M)`; None where all have.
        """
        tokens = torch.stack([layer(x) for layer, x in zip(self.tokens, embeddings, strict=True)], dim=1)
        if present is None:
            present = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        taken = self.taken(present)
        rebuilt = self._rebuilt(tokens, present & ~taken)
        joined = rebuilt.flatten(1)
        maps = self.joined_maps(stages, lambda maps: torch.cat(list(maps), dim=1))
        errors = squared_errors(rebuilt, tokens if self.live_targets else tokens.detach())
        return maps, joined, joined, errors.to(joined) * taken

    def taken(self, present: Tensor) -> Tensor:
        """Which tokens a step of training takes away, never all of a trial; outside of training none.

        Args:
            present: Whether each branch has its source `(B, M)`.

        Returns:
            `(B, M)`, of the same type.
        """
        if not self.training or self.drop_tokens == 0 or self.sources == 1:
            return torch.zeros_like(present)
        draws = torch.rand(len(present), self.sources + 2, device=present.device)
        order, number, chosen = draws.split([self.sources, 1, 1], dim=1)
        kept = 1 + (number * present.sum(1, keepdim=True)).floor()
        # Those that are missing anyway come last.
        place = order.masked_fill(~present, 2).argsort(1).argsort(1)
        return present & (place >= kept) & (chosen < self.drop_tokens)

    def _rebuilt(self, tokens: Tensor, kept: Tensor) -> Tensor:
        count = self.memory.shape[1]
        memory = self.memory.to(tokens).expand(len(tokens), -1, -1)
        hidden = torch.cat([kept.new_zeros(len(kept), count), ~kept], dim=1)
        encoded = self.encoder(torch.cat([memory, tokens + self.encoder_places], dim=1), hidden)
        seen = encoded[:, count:].masked_fill(~kept[..., None], 0) + self.decoder_places
        decoded: Tensor = self.prediction(self.decoder(torch.cat([encoded[:, :count], seen], dim=1))[:, count:])
        return decoded


class _Blocks(nn.Module):
    """Pre-norm transformer blocks with a LayerNorm behind them."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """`(B, S, d)` to the same; `hidden` `(B, S)` are places that nobody attends to."""
        for block in self.blocks:
            tokens = block(tokens, src_key_padding_mask=hidden)
        normed: Tensor = self.norm(tokens)
        return normed


def squared_errors(rebuilt: Tensor, tokens: Tensor) -> Tensor:
    """Mean squared differences of rebuilt tokens and of the true ones, each standardised over its entries.

    Args:
        rebuilt: `(B, M, d)`.
        tokens: `(B, M, d)`.

    Returns:
        `(B, M)`, at least float32.
    """
    exact = torch.promote_types(tokens.dtype, torch.float32)
    rebuilt, tokens = rebuilt.to(exact), tokens.to(exact)
    variance, mean = torch.var_mean(tokens, dim=-1, keepdim=True)
    return (rebuilt - (tokens - mean) / (variance + _EPS).sqrt()).square().mean(-1)
