"""How long a training will take, from a few steps on copies of its networks."""

from __future__ import annotations

import copy
import dataclasses
import time

import torch

from kdbench.engine.loop import Training
from kdbench.engine.progress import duration
from kdbench.wording import counted

SLOW_STEP_SECONDS = 5.0


def seconds_per_step(training: Training) -> float:
    """Times one full step on copies; the training, its seeds and its networks stay as they are.

    The first step warms up; it counts only where it alone takes longer than `SLOW_STEP_SECONDS`.
    """
    probe = dataclasses.replace(
        training, network=copy.deepcopy(training.network), objective=copy.deepcopy(training.objective)
    )
    probe.begin()
    count = min(len(training.loader), training.spec.train.batch_size)
    seconds = 0.0
    with torch.random.fork_rng():
        for _ in range(2):
            batch = next(iter(training.loader.batches(list(range(count)), count)))
            _wait(training)
            started = time.perf_counter()
            probe.backward(probe.forward(batch, 0, 0)[1])
            _wait(training)
            seconds = time.perf_counter() - started
            if seconds > SLOW_STEP_SECONDS:
                break
    return seconds


def announce(training: Training, *, done: int) -> None:
    """Says how long the training will take from here, before it starts.

    Args:
        training: What is about to run.
        done: Epochs that lie behind it.
    """
    train = training.spec.train
    steps = training.steps * (train.epochs - done)
    if steps:
        expected = duration(steps * seconds_per_step(training))
        training.reporter.message(
            f"{training.phase}: about {expected} for {counted(steps, 'step')} on {training.accelerator.device}"
        )


def _wait(training: Training) -> None:
    if training.accelerator.device.type == "cuda":
        torch.cuda.synchronize()
