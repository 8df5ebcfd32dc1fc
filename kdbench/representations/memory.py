"""Memory of images: fresh, or the caller's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from kdbench.errors import UsageError

CHUNK_BYTES = 8 << 20
"""A share of a processor's last cache: what one pass has written there, the next finds there. Less gains nothing, and
makes threads wait for one another more often."""


def fresh(shape: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialised tensor.

    On the CPU its memory comes from NumPy, which asks the kernel for huge pages: a first write to ordinary pages takes
    three to four times as long as the images themselves, because each page of 4 KiB interrupts it.
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.empty(size, dtype=np.uint8)).view(dtype).view(*shape)


def reusable(out: Tensor, shape: Sequence[int], *, dtype: torch.dtype, source: Tensor) -> Tensor:
    """Checks a caller's buffer, and returns it.

    Args:
        out: The buffer.
        shape: Shape of what will be written.
        dtype: Its dtype.
        source: What it is computed from; the buffer must lie on its device and share no memory with it.

    Raises:
        UsageError: The buffer does not fit.
    """
    wanted = (tuple(shape), dtype, source.device)
    traits = (tuple(out.shape), out.dtype, out.device)
    if wanted != traits:
        named = [" ".join(map(str, trait)) for trait in (wanted, traits)]
        raise UsageError(f"out: expected {named[0]}, got {named[1]}", hint="Make it so: torch.empty(shape, dtype=…).")
    if not out.is_contiguous():
        raise UsageError(
            f"out: expected contiguous memory, got the strides {out.stride()}",
            hint="Pass a tensor that torch.empty(shape) made.",
        )
    if out.requires_grad:
        raise UsageError("out: expected a tensor without gradient", hint="Pass out.detach().")
    starts, ends = zip(_bytes(out), _bytes(source), strict=True)
    if max(starts) < min(ends):
        raise UsageError("out: shares its memory with the series", hint="Pass a tensor of its own.")
    return out


def chunks(images: Tensor, *factors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cuts images `(N, S, S)` and what they are computed from, N rows each, to fit a cache; whole on a GPU."""
    rows = len(images)
    if images.device.type == "cpu" and images.numel():
        rows = max(1, CHUNK_BYTES // (images[0].numel() * images.element_size()))
    return zip(*(tensor.split(max(1, rows)) for tensor in (images, *factors)), strict=True)


def _bytes(tensor: Tensor) -> tuple[int, int]:
    """Addresses of the first byte and of the one after the last."""
    if not tensor.numel():
        return tensor.data_ptr(), tensor.data_ptr()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
