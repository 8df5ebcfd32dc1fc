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
from torch import nn

from kdbench.engine.loop import Sums, Training
from kdbench.engine.optim import learning_rate
from kdbench.phases import obtain_teacher, student_training
from kdbench.setting import settle


def kdbench_step(training: Training, sums: Sums) -> Callable[[torch.Tensor, int], None]:
    """One step as the loop does it, with its records."""

    def step(order: torch.Tensor, number: int) -> None:
        batch = next(iter(training.loader.batches(order, len(order))))
        for group in training.optimizer.param_groups:
            group["lr"] = learning_rate(training.spec.train, number, 1000)
        student, loss, values = training.forward(batch, 1, number)
        norm = training.backward(loss)
        sums.add(number, student, values, norm, training.objective.diagnostics(), batch)

    return step


def plain_step(training: Training) -> Callable[[torch.Tensor, int], None]:
    """The same step without any of kdbench's loop: tensors in memory, losses called directly."""
    network, teacher = training.network, training.teacher
    clips, labels = training.loader._clips, training.loader.labels
    terms = [(term.weight, term.loss, term.with_teacher, term.on) for term in training.objective._terms()]
    inputs = teacher._inputs if teacher else None
    kept = teacher._features if teacher else None
    parameters = [*network.parameters(), *training.objective.parameters()]
    needs_ablation = "ablated_logits" in training.objective.needs
    names = training.loader.trials

    def step(order: torch.Tensor, number: int) -> None:
        from kdbench.types import Batch

        batch = Batch({}, clips[order], labels[order], tuple(names[i] for i in order.tolist()), order)
        teachers = []
        if teacher is not None:
            with torch.no_grad():
                if kept is not None:
                    teachers = teacher(batch)
                else:
                    teachers = teacher.network([x[order] for x in inputs])
                    if needs_ablation:
                        held = teacher._ablated
                        teachers = [
                            t.replace(ablated_logits=a.expand(len(order), -1))
                            for t, a in zip(teachers, held, strict=True)
                        ]
        batch = training.augment(batch, number)
        shown = network.represent(batch)
        (student,) = network(shown)
        if needs_ablation:
            network.eval()
            with torch.no_grad():
                ablated = network([torch.zeros_like(shown[0][:1])])[0].logits.expand(len(order), -1)
            network.train()
            student = student.replace(ablated_logits=ablated)
        total = 0.0
        for weight, loss, with_teacher, on in terms:
            ours = student if on is None else getattr(student, on)
            if with_teacher:
                value = sum(loss(ours, t if on is None else getattr(t, on)) for t in teachers) / len(teachers)
            else:
                value = loss(ours, batch=batch)
            total = total + weight * value
        training.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, training.spec.train.grad_clip)
        training.optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="sgm_ft")
    parser.add_argument("--dataset", default="utd_mhad")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    quick = ["teacher.train.epochs=3"] if arguments.method != "student_only" else []
    setting = settle(arguments.method, arguments.dataset, preset=arguments.preset, overrides=quick)
    spec = setting.cell.recipe.student
    with tempfile.TemporaryDirectory() as folder:
        teacher = obtain_teacher(setting, Path(folder), fresh=True) if setting.cell.recipe.teacher else None
        ours = student_training(setting, spec, teacher, Path(folder) / "run")
    for training in (ours, theirs := copy.copy(ours)):
        training.network = copy.deepcopy(ours.network)
        training.objective = copy.deepcopy(ours.objective)
        training.begin()
    steps = [kdbench_step(ours, Sums(ours.objective, setting.accelerator.device)), plain_step(theirs)]
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
    print(f"kdbench {ours_ms:.1f} ms, plain {plain_ms:.1f} ms a step of {spec.train.batch_size} trials")
    print(f"ratio: median {statistics.median(ratios):.3f}, quartiles {low:.3f} to {high:.3f}, {arguments.steps} pairs")


if __name__ == "__main__":
    main()
