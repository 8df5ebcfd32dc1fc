"""Where and how precisely a run computes."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from kdbench.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")


def check_device(device: str) -> None:
    """Checks a device's name, without opening the device.

    Raises:
        UsageError: There is no such device here.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device '{device}', expected one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "there is no CUDA device here", hint="Check the driver with `kdbench doctor`, or use --device cpu"
        )


def build_accelerator(device: str, precision: str) -> Accelerator:
    """Builds the accelerator of one run.

    Args:
        device: `auto` (CUDA where it is there), `cpu` or `cuda`.
        precision: `fp32`, or `bf16` autocast.

    Raises:
        UsageError: The device is not there; bf16 is asked for on a CPU; or the process is one of several: losses
            between samples would see only their process's share of a batch.
    """
    check_device(device)
    # accelerate keeps one state a process; a second run in it may want another device or precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    use_cpu = device == "cpu" or not torch.cuda.is_available()
    if use_cpu and precision == "bf16":
        # oneDNN's bf16 weight gradient of a 3×1×1 convolution over a 1×1 grid holds uninitialised values (torch 2.14).
        raise UsageError(
            "bf16 needs a GPU: on the CPU some of its gradients are wrong at random", hint="Use --precision fp32."
        )
    accelerator = Accelerator(cpu=use_cpu, mixed_precision="bf16" if precision == "bf16" else "no")
    if accelerator.num_processes > 1:
        raise UsageError(
            f"this is one of {accelerator.num_processes} processes, and relation losses need the whole batch in one",
            hint="Start one process a run, each with a GPU of its own (CUDA_VISIBLE_DEVICES).",
        )
    return accelerator
