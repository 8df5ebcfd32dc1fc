"""One training step of kdbench against the same step written by hand in plain PyTorch.

Both use the same initial networks, losses, batches and optimizer, with all data in memory; the steps are interleaved
in one process, so that a busy machine slows both. Prints the medians and the ratio of each pair's times.

    python benchmarks/step_overhead.py --method sgm_ft --dataset utd_mhad --steps 40
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from plain import plain_step

from kdbench.engine.loop import Sums, Training
from kdbench.engine.optim import learning_rate
from kdbench.runs.context import context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.types import Batch


def kdbench_step(training: Training, sums: Sums) -> Callable[[torch.Tensor, int], None]:
    """One step as the loop does it, with its records."""

    def step(order: torch.Tensor, number: int) -> None:
        batch = next(iter(training.loader.batches(order, len(order))))
        for group in training.optimizer.param_groups:
            group["lr"] = learning_rate(training.spec.train, number, 1000)
        student, loss, values, _ = training.forward(batch, 1, number)
        norm = training.backward(loss, values)
        sums.add(number, student, values, norm, training.objective.diagnostics(), batch)

    return step


def by_hand(training: Training) -> Callable[[torch.Tensor, int], None]:
    """The plain step on batches that are indexed from tensors in memory."""
    step = plain_step(training)
    clips, labels, names = training.loader._clips["video"], training.loader.labels, training.loader.trials

    def run(order: torch.Tensor, number: int) -> None:
        step(Batch({}, clips[order], labels[order], tuple(names[i] for i in order.tolist()), order), number)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="sgm_ft")
    parser.add_argument("--dataset", default="utd_mhad")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="change a key of the recipe")
    arguments = parser.parse_args()
    quick = ["teacher.train.epochs=3"] if arguments.method != "student_only" else []
    setting = context_for(
        RunRequest(arguments.method, arguments.dataset, preset=arguments.preset, overrides=[*quick, *arguments.set])
    )
    spec = setting.run_spec.recipe.student
    with tempfile.TemporaryDirectory() as folder:
        teacher = of_parts(obtain_teachers(setting, Path(folder), fresh=True))
        ours = student_training(setting, spec, teacher, Path(folder) / "run")
    for training in (ours, theirs := copy.copy(ours)):
        training.network = copy.deepcopy(ours.network)
        training.objective = copy.deepcopy(ours.objective)
        training.begin()
    steps = [kdbench_step(ours, Sums(ours.objective, setting.accelerator.device)), by_hand(theirs)]
    times: list[list[float]] = [[], []]
    for number in range(arguments.steps + 5):
        order = torch.randperm(len(ours.loader))[: spec.train.batch_size]
        # Which of the two goes first alternates, too.
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            steps[which](order, number)
            times[which].append(time.perf_counter() - started)
    times = [held[5:] for held in times]
    ratios = [a / b for a, b in zip(*times, strict=True)]
    ours_ms, plain_ms = (1000 * statistics.median(held) for held in times)
    low, high = statistics.quantiles(ratios, n=4)[::2]
    print(f"{arguments.method} on {arguments.dataset}, {arguments.preset}, {torch.get_num_threads()} threads")
    print(f"kdbench {ours_ms:.1f} ms, plain {plain_ms:.1f} ms per step of {spec.train.batch_size} trials")
    print(f"ratio: median {statistics.median(ratios):.3f}, quartiles {low:.3f} to {high:.3f}, {arguments.steps} pairs")


if __name__ == "__main__":
    main()
