"""Where the time of a training step goes on a CPU: its parts by the clock, and the operators that compute it.

    python benchmarks/step_shares.py --method student_only --method hinton --method sgm_ft --dataset utd_mhad
    python benchmarks/step_shares.py … --picture docs/step.png

The steps are those of the loop, with all data in memory; a method's teacher is trained for three epochs first. The
operators are those of torch's profiler, over a tenth of the steps, which its own work makes slower.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from kdbench.engine.loop import Sums, Training
from kdbench.engine.optim import learning_rate
from kdbench.plotting.style import COLOURS, png_figure
from kdbench.runs.context import context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training

PARTS = ("reading", "teacher", "augmentation", "forward", "losses", "backward", "clipping, optimizer", "records")
KINDS = {
    "convolution": ("aten::conv",),
    "normalisation": ("aten::batch_norm", "aten::native_batch_norm", "aten::layer_norm", "aten::native_layer_norm"),
    "activation": ("aten::relu", "aten::threshold", "aten::clamp_min"),
    "products of matrices": ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::matmul"),
    "resampling": ("aten::grid_sampler",),
    "optimizer": ("aten::_foreach", "aten::_fused_adam"),
}
"""Operators by kind, by how their names begin; the first that fits."""
WARM_UP = 5
SHOWN = 5.0
"""Percents that a picture writes out."""


class Clock:
    """Seconds by part; what is timed inside something else that is timed counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose calls are timed as a part."""

        def timing(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            started = time.perf_counter()
            try:
                return work(*arguments, **named)
            finally:
                took = time.perf_counter() - started
                self.seconds[part] += took - self._inner.pop()
                self._inner[-1] += took

        return timing


def parted(training: Training, clock: Clock) -> Callable[[torch.Tensor, int], None]:
    """A step of the loop, with its records, each of whose parts is timed."""
    sums = Sums(training.objective, training.accelerator.device)
    read = clock.timed("reading", lambda order: next(iter(training.loader.batches(order, len(order)))))
    record = clock.timed("records", sums.add)
    forward = clock.timed("forward", training.forward)
    backward = clock.timed("backward", training._descend)
    move = clock.timed("clipping, optimizer", training._move)
    if training.teacher is not None:
        training.teacher = clock.timed("teacher", training.teacher)  # type: ignore[assignment]
    training.augment = clock.timed("augmentation", training.augment)  # type: ignore[assignment]
    training.objective.forward = clock.timed("losses", training.objective.forward)  # type: ignore[method-assign]

    def step(order: torch.Tensor, number: int) -> None:
        batch = read(order)
        for group in training.optimizer.param_groups:
            group["lr"] = learning_rate(training.spec.train, number, 1000)
        training.optimizer.zero_grad(set_to_none=True)
        student, loss, values, _ = forward(batch, 1, number)
        backward(loss, values)
        norm = move()
        record(number, student, values, norm, training.objective.diagnostics(), batch)

    return step


def measured(given: argparse.Namespace, method: str) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of a step by part, medians over the steps, and the shares of the kinds of operators."""
    quick = ["teacher.train.epochs=3"] if method != "student_only" else []
    request = RunRequest(
        method, given.dataset, preset=given.preset, teacher=given.teacher if quick else None, device="cpu",
        video=given.video, overrides=[*quick, *given.set],
    )  # fmt: skip
    context = context_for(request)
    with tempfile.TemporaryDirectory() as folder:
        teachers = of_parts(obtain_teachers(context, Path(folder), fresh=True))
        training = student_training(context, context.run_spec.recipe.student, teachers, Path(folder) / "run")
    training.begin()
    clock = Clock()
    step = parted(training, clock)
    steps = []
    for number in range(given.steps + WARM_UP):
        clock.seconds.clear()
        step(torch.randperm(len(training.loader))[: training.spec.train.batch_size], number)
        steps.append(dict(clock.seconds))
    parts = {part: 1000 * statistics.median(one.get(part, 0.0) for one in steps[WARM_UP:]) for part in PARTS}
    with torch.profiler.profile() as profile:
        for number in range(max(1, given.steps // 10)):
            step(torch.randperm(len(training.loader))[: training.spec.train.batch_size], number)
    return parts, kinds_of(profile)


def kinds_of(profile: torch.profiler.profile) -> dict[str, float]:
    """The share of each kind of operator in the time of all operators, each with what it calls."""
    sums: dict[str, float] = defaultdict(float)
    for event in profile.events():
        if event.cpu_parent is not None and event.cpu_parent.name.startswith("aten::"):
            continue
        if event.name.startswith("aten::"):
            sums[event.name] += event.cpu_time_total
        elif event.name.startswith("Optimizer.step"):
            sums["aten::_foreach"] += event.cpu_time_total
    whole = sum(sums.values())
    kinds = dict.fromkeys((*KINDS, "all others"), 0.0)
    for name, took in sums.items():
        kind = next((kind for kind, names in KINDS.items() if name.startswith(names)), "all others")
        kinds[kind] += took / whole
    return kinds


def draw(shares: Mapping[str, Mapping[str, float]], path: Path, title: str) -> None:
    """A bar for each method, whose pieces are the parts of its step, as shares of it."""
    with png_figure(path, 7.5, 0.9 + 0.5 * len(shares)) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        left = dict.fromkeys(shares, 0.0)
        for part, colour in zip(PARTS, COLOURS, strict=True):
            for method, of in shares.items():
                share = 100 * of[part] / sum(of.values())
                axes.barh(method, share, left=left[method], color=colour, label=part, height=0.6)
                if share > SHOWN:
                    middle = left[method] + share / 2
                    axes.text(middle, method, f"{share:.0f} %", ha="center", va="center", color="white")
                left[method] += share
        handles, labels = axes.get_legend_handles_labels()
        pieces = dict(zip(labels, handles, strict=True))
        axes.legend(pieces.values(), pieces.keys(), loc="upper left", bbox_to_anchor=(1, 1.05), fontsize=8)
        axes.set_xlabel("% of a step")
        axes.set_title(title, loc="left")
        axes.invert_yaxis()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", required=True)
    parser.add_argument("--teacher")
    parser.add_argument("--dataset", default="utd_mhad")
    parser.add_argument("--video", default="depth")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="change a key of the recipe")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    shares = {}
    for method in given.method:
        parts, kinds = measured(given, method)
        shares[method], whole = parts, sum(parts.values())
        print(f"{method}: {whole:.1f} ms a step on {torch.get_num_threads()} threads")
        print("  " + ", ".join(f"{part} {ms:.2f} ms ({100 * ms / whole:.1f} %)" for part, ms in parts.items()))
        print("  operators: " + ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in kinds.items()), flush=True)
    if given.picture is not None:
        draw(shares, given.picture, f"A step at {given.preset} on {given.dataset}, {given.video}")


if __name__ == "__main__":
    main()
