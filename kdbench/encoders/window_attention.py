"""Attention within shifted windows of a clip, by torch's fused attention (Liu et al., 2022)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

_APART = -100.0
"""What is added to the score of two positions that only the shift has brought into one window; see the paper's code."""
_Grid = tuple[int, int, int]


class FusedWindowAttention3d(ShiftedWindowAttention3d):  # type: ignore[misc]
    """torchvision's module, its weights and its values, by `scaled_dot_product_attention`.

    The scores of a window, 392 × 392 for each head, are the largest tensors of a Video Swin by far; the fused kernels
    of a GPU never write them out. The mask is formed once for a size of maps.
    """

    masks: dict[tuple[_Grid, _Grid, _Grid, torch.device], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, T, H, W, C)` to maps of that shape."""
        B, *sizes, _ = x.shape
        window, shift = self._window(sizes)
        x = F.pad(x, (0, 0, *(pad for w, n in zip(window[::-1], sizes[::-1], strict=True) for pad in (0, -n % w))))
        grid = (x.shape[1], x.shape[2], x.shape[3])
        shifted = any(shift)
        if shifted:
            x = torch.roll(x, [-s for s in shift], (1, 2, 3))
        windows = _cut(x, window)
        W, length = windows.shape[1:3]
        # Windows count as heads where they differ by a mask: one that all trials share is then broadcast.
        query, key, value = self.qkv(windows).unflatten(-1, (3, self.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        bias = self.get_relative_position_bias(window).to(query.dtype)
        if shifted:
            mask = self._mask(grid, window, shift, x.device).to(query.dtype)
            bias = (bias + mask[:, None]).flatten(0, 1)[None]
            query, key, value = (part.flatten(1, 2) for part in (query, key, value))
        else:
            query, key, value = (part.flatten(0, 1) for part in (query, key, value))
        dropout = self.attention_dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        out = out.reshape(B, W, self.num_heads, length, -1).transpose(2, 3).flatten(3)
        out = F.dropout(self.proj(out), p=self.dropout, training=self.training)
        x = _joined(out, grid, window)
        if shifted:
            x = torch.roll(x, list(shift), (1, 2, 3))
        return x[:, : sizes[0], : sizes[1], : sizes[2]].contiguous()

    def _window(self, sizes: list[int]) -> tuple[Any, Any]:
        """Window and shift for maps of a size; a window that holds all of it is as small, and is not shifted."""
        inside = [n > w for n, w in zip(sizes, self.window_size, strict=True)]
        window = tuple(w if fits else n for w, n, fits in zip(self.window_size, sizes, inside, strict=True))
        return window, tuple(s if fits else 0 for s, fits in zip(self.shift_size, inside, strict=True))

    def _mask(self, grid: _Grid, window: _Grid, shift: _Grid, device: torch.device) -> Tensor:
        # A compiler folds what depends on sizes alone.
        if torch.compiler.is_compiling():
            return _mask_of(grid, window, shift, device)
        key = (grid, window, shift, device)
        if key not in self.masks:
            self.masks[key] = _mask_of(grid, window, shift, device)
        return self.masks[key]


def with_fused_attention(model: nn.Module) -> nn.Module:
    """Lets every window attention of a torchvision model be computed by `FusedWindowAttention3d`; returns the model."""
    masks: dict[Any, Tensor] = {}
    for module in model.modules():
        if type(module) is ShiftedWindowAttention3d:
            # The subclass only computes: weights and buffers keep their names.
            fused: Any = module
            fused.__class__ = FusedWindowAttention3d
            fused.masks = masks
    return model


def _cut(x: Tensor, window: _Grid) -> Tensor:
    """Maps `(B, T, H, W, C)` to the positions of each window `(B, windows, positions, C)`."""
    x = x.unflatten(3, (-1, window[2])).unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)


def _joined(x: Tensor, grid: _Grid, window: _Grid) -> Tensor:
    """The inverse of `_cut`."""
    counts = [n // w for n, w in zip(grid, window, strict=True)]
    x = x.unflatten(2, window).unflatten(1, counts)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(x.shape[0], *grid, -1)


def _mask_of(grid: _Grid, window: _Grid, shift: _Grid, device: torch.device) -> Tensor:
    """What is added to the scores of each window `(windows, positions, positions)`, float32."""
    region = torch.zeros(grid, device=device)
    for axis, (n, w, s) in enumerate(zip(grid, window, shift, strict=True)):
        if not s:
            continue
        # After the shift, the last window holds the end of the maps and their beginning.
        place = torch.arange(n, device=device)
        part = (place >= n - w).float() + (place >= n - s).float()
        region = 3 * region + part.view([-1 if axis == each else 1 for each in range(3)])
    regions = _cut(region[None, ..., None], window)[0, :, :, 0]
    return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, _APART)
