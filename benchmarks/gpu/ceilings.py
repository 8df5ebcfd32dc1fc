"""What a GPU can do at most: matrix products, a copy, a transfer from the host; one line of JSON.

python benchmarks/gpu/ceilings.py [cuda | cpu]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

TAKES = 3


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    on_gpu = device == "cuda"
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1) if on_gpu else None,
    }
    size = 8192 if on_gpu else 512
    kinds = (("bf16", torch.bfloat16, False), ("fp32", torch.float32, False), ("tf32", torch.float32, True))
    for name, dtype, tf32 in kinds:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        takes = seconds(lambda: a @ b, on_gpu, repeats=5 if name == "fp32" else 20)  # noqa: B023
        found[f"{name}_tflops"] = [round(2 * size**3 / each / 1e12, 1) for each in takes]
    source = torch.randn(2**30 if on_gpu else 2**22, device=device)
    target = torch.empty_like(source)
    takes = seconds(lambda: target.copy_(source), on_gpu, repeats=10)
    found["copy_tb_s"] = [round(2 * source.nbytes / each / 1e12, 3) for each in takes]
    host = torch.empty(2**26 if on_gpu else 2**20, dtype=torch.uint8, pin_memory=on_gpu)
    takes = seconds(lambda: host.to(device, non_blocking=True), on_gpu, repeats=20)
    found["host_to_device_gb_s"] = [round(host.nbytes / each / 1e9, 1) for each in takes]
    print(json.dumps(found))


def seconds(work: Callable[[], object], on_gpu: bool, *, repeats: int) -> list[float]:
    """Time of a call, in takes of several calls each."""
    for _ in range(3):
        work()
    takes = []
    for _ in range(TAKES):
        wait(on_gpu)
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        wait(on_gpu)
        takes.append((time.perf_counter() - started) / repeats)
    return takes


def wait(on_gpu: bool) -> None:
    """Waits for the GPU, where there is one."""
    if on_gpu:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
