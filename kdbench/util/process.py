"""Processes that work for this one: they get its code, their share of the machine and its plugins, and end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from kdbench.util import tied

Process = subprocess.Popen[bytes]
_HAS_GROUPS = hasattr(os, "killpg")


def start(command: Sequence[str], output: IO[bytes], environment: Mapping[str, str], *, apart: bool) -> Process:
    """Starts a process that ends when this one does, however this one ends; it has to call `kdbench.util.tied.tie`.

    Args:
        command: Program and arguments.
        output: Gets what it prints.
        environment: As `environment_of` makes it.
        apart: Whether it is out of the reach of the terminal's Ctrl-C, with a group of its own.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**environment, tied.ASKED: "1"},
        start_new_session=apart and _HAS_GROUPS,
    )


def interrupt(process: Process) -> None:
    """Asks a process to keep what it has and to end."""
    if process.poll() is not None:
        return
    if _HAS_GROUPS:
        process.send_signal(signal.SIGINT)
    elif process.stdin is not None:
        process.stdin.close()


def kill(process: Process, *, apart: bool) -> None:
    """Ends a process at once; one that is apart with all that it started."""
    if process.poll() is None:
        if apart and _HAS_GROUPS:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


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
