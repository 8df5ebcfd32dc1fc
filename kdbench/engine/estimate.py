"""How long a run will take, from a few steps on copies of its networks, before any of them is trained."""

from __future__ import annotations

import copy
import dataclasses
import time

import torch

from kdbench.engine.loop import Training
from kdbench.network.sharing import ALONE
from kdbench.util.progress import duration

SLOW_STEP_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a training will take from where it stands.

    Attributes:
        phase: `teacher` or `student`.
        steps: Steps that are left.
        seconds: Their time.
    """

    phase: str
    steps: int
    seconds: float


def seconds_per_step(training: Training) -> float:
    """Times one full step on copies; the training, its seeds and its networks stay as they are.

    The first step warms up; it counts only where it alone takes longer than `SLOW_STEP_SECONDS`. A copy is not
    compiled, so that the time of a compiled training is an upper bound.
    """
    teachers = [] if training.teacher is None else training.teacher.networks
    compiles = any(teacher.is_compiled for teacher in teachers)
    # In one copy, since losses may hold parts of the network.
    network, objective = copy.deepcopy((training.network, training.objective))
    # In one process: the others are not told of it.
    probe = dataclasses.replace(training, network=network, objective=objective, processes=ALONE)
    probe.begin()
    seconds = 0.0
    with torch.random.fork_rng():
        # The first step also pays for start-up (kernels, memory); the second one counts.
        for _ in range(2):
            batch = next(training.batches(training.order(1)))
            _wait(training)
            started = time.perf_counter()
            probe.step(batch, 0, 0)
            _wait(training)
            seconds = time.perf_counter() - started
            # At this length start-up hardly matters, and another step would be felt.
            if seconds > SLOW_STEP_SECONDS and not compiles:
                break
    return max(0.0, seconds)


def expected(training: Training, *, steps: int, done: int) -> Expected:
    """What a training will take from here.

    Args:
        training: Like the one that is about to run; its loader may hold a single batch.
        steps: Steps of an epoch over the whole training part.
        done: Epochs that lie behind it.
    """
    train = training.spec.train
    steps *= max(0, train.epochs - done)
    return Expected(training.phase, steps, steps * seconds_per_step(training) if steps else 0.0)


def said(phases: list[Expected], device: torch.device) -> str | None:
    """One line on the time of all trainings that are left; None where none is."""
    left = [phase for phase in phases if phase.steps]
    if not left:
        return None
    parts = ", ".join(f"{work.phase} {duration(work.seconds)} for {work.steps} steps" for work in left)
    return f"about {duration(sum(work.seconds for work in left))} of training on {device.type}: {parts}"


def _wait(training: Training) -> None:
    # CUDA works behind the host; a clock read before it is done shows the launch alone.
    if training.accelerator.device.type == "cuda":
        torch.cuda.synchronize()
