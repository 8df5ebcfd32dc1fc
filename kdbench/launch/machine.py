"""What a process of this machine gets: the kdbench that this one runs, and its share of the cores and GPUs."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path


def environment_of(slot: int, *, jobs: int, gpus: Sequence[str], cores: int, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process; it imports the kdbench that this one runs, also where another one is installed.

    Args:
        slot: Its place among `jobs`.
        jobs: Processes at a time; one alone keeps all threads.
        gpus: Ids of the GPUs; with several, places take turns.
        cores: Cores that are there.
        base: What is set already, and stays.
    """
    environment = {**base, "PYTHONUNBUFFERED": "1"}
    root = str(Path(__file__).parents[2])
    if root not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [base.get("PYTHONPATH")])])
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // jobs)))
    if len(gpus) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return environment


def gpus() -> list[str]:
    """Ids of the GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [index.strip() for index in named.split(",") if index.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
