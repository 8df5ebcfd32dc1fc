"""What a network costs: parameters, floating-point operations, latency and memory."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def parameters(model: nn.Module) -> int:
    """Number of parameters; one that is shared by several layers counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops(forward: Callable[[], Any]) -> int:
    """Floating-point operations of one call: matrix products, convolutions, attention, LSTMs; a multiply-add as two.

    Args:
        forward: Runs the forward pass, of one sample where the cost of a sample is wanted.
    """
    # The counter does not see into torch's fused attention.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
            forward()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


def _of_lstm(steps: Sequence[int], *weights: Any, **_: Any) -> int:
    """Operations of LSTM layers on `(S, B, D)`: every step of every row goes through each matrix of weights."""
    # cuDNN is given its weights as one list, oneDNN one after the other.
    shapes = weights[0] if isinstance(weights[0], list) else weights[:2]
    return 2 * math.prod(steps[:2]) * sum(math.prod(shape) for shape in shapes if len(shape) == 2)


def _of_attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


_UNCOUNTED: dict[Any, Any] = {
    torch.ops.aten.mkldnn_rnn_layer: _of_lstm,
    torch.ops.aten._cudnn_rnn: _of_lstm,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _of_attention,
}
"""What torch's counter passes over."""


def latency_ms(forward: Callable[[], Any], device: torch.device | str, repeats: int = 20) -> float:
    """Median wall time of one call in milliseconds, after warm-up, without gradients.

    Args:
        forward: Runs the forward pass.
        device: Where it runs; a GPU is waited for.
        repeats: Timed calls.
    """
    wait: Callable[[], None] = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    times = []
    with torch.inference_mode():
        for _ in range(max(1, repeats // 5)):
            forward()
        for _ in range(repeats):
            wait()
            start = time.perf_counter()
            forward()
            wait()
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


class PeakMemory:
    """Measures the peak memory of a block; reads nothing while the block runs.

    On a GPU it is the most that torch's allocator held on the device; on the CPU the peak of the process's resident
    memory since it started, since the system keeps no other mark.

    Args:
        device: Where the block computes.

    Attributes:
        peak_bytes: The peak, set on leaving the block.

    Example:
        `with PeakMemory(device) as memory: train(); memory.peak_bytes`
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        if self.device.type == "cuda":
            # What reference cycles still hold would count as the block's.
            gc.collect()
            torch.cuda.reset_peak_memory_stats(self.device)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peak_bytes = (
            torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else process_peak_bytes()
        )


def process_peak_bytes() -> int:
    """Peak resident memory of this process since it started, bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kibibytes, but bytes on macOS.
    return peak if sys.platform == "darwin" else peak * 1024
