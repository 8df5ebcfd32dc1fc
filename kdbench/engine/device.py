"""Where a run computes, how precisely, and in how many threads."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from threadpoolctl import threadpool_limits

from kdbench.engine.device_name import check_device_name
from kdbench.errors import UsageError

CPU_THREADS = 1
"""Threads of a run on a CPU. Sums are split among them, so their number changes roundings and, after some epochs,
results; one number for all machines keeps tables comparable."""
MOST_THREADS = 256
_THREADS = "Take 1, or as many as there are cores: --threads 1"


def check_device(device: str) -> None:
    """Checks a device's name, without opening the device.

    Raises:
        UsageError: There is no such device here.
    """
    check_device_name(device)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "there is no CUDA device here", hint="Check the driver with `kdbench doctor`, or use --device cpu"
        )


def device_kind(device: str) -> str:
    """`cpu` or `cuda`: what a device's name comes to on this machine.

    Raises:
        UsageError: There is no such device here.
    """
    check_device(device)
    return "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"


def threads_on(kind: str, threads: int | None) -> int | None:
    """Threads that a run computes in: as asked for, else `CPU_THREADS`; None on a GPU, where none of them matters.

    Args:
        kind: `cpu` or `cuda`.
        threads: What the user asks for; None for the default.

    Raises:
        UsageError: No whole number from 1 on.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise UsageError(f"threads is {threads!r}, expected a whole number from 1 to {MOST_THREADS}", hint=_THREADS)
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"threads is {threads}, expected 1 to {MOST_THREADS}", hint=_THREADS)
    return None if kind == "cuda" else threads or CPU_THREADS


@contextmanager
def fixed_threads(threads: int | None) -> Iterator[None]:
    """Computes in a fixed number of threads inside the block, whatever the environment asks for.

    It holds for torch and for the linear algebra of numpy and scipy.

    Args:
        threads: Their number; None leaves everything as it is.
    """
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    # torch's own setting leaves the pools of NumPy's libraries alone.
    with threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def build_accelerator(device: str, precision: str, processes: int = 1) -> Accelerator:
    """Builds the accelerator of one run.

    Args:
        device: `auto` (CUDA where it is there), `cpu` or `cuda`; of several GPUs, each process has its own.
        precision: `fp32`, or `bf16` autocast.
        processes: How many make the run together.

    Raises:
        UsageError: The device is not there; bf16 is asked for on a CPU; or the process was started as one of another
            number of them.
    """
    use_cpu = device_kind(device) == "cpu"
    # accelerate keeps one state a process; a second run in it may want another device or precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    if use_cpu and precision == "bf16":
        # oneDNN's bf16 weight gradient of a 3×1×1 convolution over a 1×1 grid holds uninitialised values (torch 2.14).
        raise UsageError(
            "bf16 needs a GPU: on the CPU some of its gradients are wrong at random", hint="Use --precision fp32."
        )
    # Those that wait for the first, which evaluates alone, wait long; who watches them knows when one has died.
    waiting = InitProcessGroupKwargs(timeout=datetime.timedelta(days=7))
    accelerator = Accelerator(
        cpu=use_cpu, mixed_precision="bf16" if precision == "bf16" else "no", kwargs_handlers=[waiting]
    )
    if accelerator.num_processes != processes:
        raise UsageError(
            f"this is one of {accelerator.num_processes} processes that another program started",
            hint="Let kdbench start them: kdbench run --processes N",
        )
    return accelerator
