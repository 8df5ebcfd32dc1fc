"""A device whose memory ran out, explained."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from kdbench.errors import RunFailed
from kdbench.text.wording import counted

_SIGNS = ("DefaultCPUAllocator: ", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What torch raises as a plain RuntimeError says."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory is too small."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def out_of_memory(
    error: BaseException, device: torch.device, precision: str, batch_sizes: Mapping[str, int]
) -> RunFailed:
    """What to tell of a run that ended with such an error, and what makes it smaller.

    Args:
        error: What was raised.
        device: Where the run computed.
        precision: `fp32` or `bf16`.
        batch_sizes: Trials a step of each network, by its key in the recipe.
    """
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    batches = " and ".join(f"{counted(size, 'trial')} ({key})" for key, size in batch_sizes.items())
    smaller = " ".join(f"--set {key}.train.batch_size={max(1, size // 2)}" for key, size in batch_sizes.items())
    cheaper = "try --precision bf16, or " if precision == "fp32" and device.type == "cuda" else ""
    return RunFailed(
        f"out of memory on {_named(device)}, in {precision} with batches of {batches}: {first}",
        hint=f"Close what else uses its memory; {cheaper}smaller batches, which is another condition: {smaller}. "
        "Epochs that were finished are kept.",
    )


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    if hasattr(os, "sysconf"):
        return f"the CPU ({os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB)"
    return "the CPU"
