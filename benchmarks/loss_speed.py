"""Time and memory of the losses, forward and backward: against torchdistill's, and what each adds to a training step.

Three tables in Markdown: RKD's angle at 256 samples of 768 features; every loss that torchdistill has too; and all
registered losses on the stages of Video Swin-T (student) and Swin-T (teacher). What is compared runs interleaved in one
process, so that a busy machine slows both, and ratios are those of neighbouring calls. Memory is the peak of torch's
allocator above what was there before: the values, gradients and buffers of one call, without the maps themselves.

    python benchmarks/loss_speed.py --threads 1 --rounds 15
    python benchmarks/loss_speed.py --only zoo --batch 4      # the student's maps of 16 trials take 0.6 GB
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from loss_rivals import RIVALS, Rival, sample
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from kdbench.engine.objective import Objective
from kdbench.errors import KdbenchError
from kdbench.recipes.terms import LossTerm
from kdbench.registry import part_of, registry
from kdbench.types import Batch, Context, Features, Widths

CHANNELS = (96, 192, 384, 768)
SIDES = (56, 28, 14, 7)
FRAMES, EMBEDDING, CLASSES, GROUPS, TRIALS = 16, 768, 27, 6, 431
WARM_UP = 2
# A call much shorter than the clock's jitter and the scheduler's slice is repeated until it is not.
LEAST_SECONDS = 0.02

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Work = Callable[[], object]


@dataclass(frozen=True)
class Stopwatch:
    """How calls are timed.

    Attributes:
        rounds: Measurements of each, interleaved.
        device: Where the work is done.
        clock: Gives seconds.
    """

    rounds: int
    device: str
    clock: Callable[[], float]

    def interleaved(self, works: Sequence[Work]) -> list[list[float]]:
        """Seconds a call of each, one after the other in every round, the order turned around every second round."""
        times: list[list[float]] = [[] for _ in works]
        calls = []
        for work in works:
            work()
            calls.append(max(1, round(LEAST_SECONDS / max(self.timed(work, 1), 1e-6))))
        for number in range(self.rounds + WARM_UP):
            order = range(len(works)) if number % 2 else reversed(range(len(works)))
            for which in order:
                times[which].append(self.timed(works[which], calls[which]))
        return [held[WARM_UP:] for held in times]

    def timed(self, work: Work, calls: int) -> float:
        """Seconds a call, the mean of some in a row."""
        started = self.clock()
        for _ in range(calls):
            work()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return (self.clock() - started) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("angle", "rivals", "zoo"), help="one of the tables; all by default")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each, interleaved")
    parser.add_argument("--batch", type=int, default=16, help="samples of the zoo's step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: CPU time, where others use the machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    watch = Stopwatch(options.rounds, options.device, CLOCKS[options.clock])
    name = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, threads: {options.threads}"
    clock = "CPU time" if options.clock == "cpu" else "wall-clock time"
    print(f"{name}; torch {torch.__version__}, float32; {clock}, medians of {options.rounds} rounds (quartiles)\n")
    if options.only in (None, "angle"):
        print("RKD's angle, 256 samples of 768 features\n")
        rival_table([rival for rival in RIVALS if rival.title == "rkd, angle"], watch)
    if options.only in (None, "rivals"):
        print("Losses that torchdistill has too\n")
        rival_table(RIVALS, watch)
    if options.only in (None, "zoo"):
        print(f"What a loss adds to a training step of {options.batch} trials, one teacher branch\n")
        zoo_table(options.batch, watch)


def rival_table(rivals: Iterable[Rival], watch: Stopwatch) -> None:
    """One line a rival: times, the ratio of neighbouring calls, peak memory and its ratio."""
    print("| loss | size | kdbench ms | torchdistill ms | times faster | kdbench MiB | torchdistill MiB | memory |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for rival in rivals:
        if rival.loss not in registry("loss").names():
            continue
        works = [step(*side) for side in rival.sides(watch.device)]
        ours, theirs = watch.interleaved(works)
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        memory = [peak_mib(work, watch.device) for work in works]
        print(
            f"| {rival.title} | {rival.size} | {milliseconds(ours)} | {milliseconds(theirs)} | {spread(ratios, 2)} "
            f"| {memory[0]:.1f} | {memory[1]:.1f} | {memory[0] / memory[1]:.3f} |",
            flush=True,
        )
    print()


def zoo_table(samples: int, watch: Stopwatch) -> None:
    """One line a registered loss."""
    student, teacher, batch = swin(samples, watch.device)
    inputs = [tensor for tensor in tensors(student) if tensor.requires_grad]
    works: dict[str, Work] = {}
    refused: dict[str, str] = {}
    for name in registry("loss").names():
        try:
            objective = Objective({name: LossTerm()}, context(), owner="student").to(watch.device)
            work = step(
                lambda objective=objective: objective([student], [teacher], batch)[0],
                [*inputs, *objective.parameters()],
            )
            work()
            works[name] = work
        except KdbenchError as error:
            refused[name] = error.message
    times = watch.interleaved(list(works.values()))
    print("| loss | on | ms forward + backward | peak MiB |")
    print("|---|---|---:|---:|")
    for (name, work), held in zip(works.items(), times, strict=True):
        declares = part_of(registry("loss").get(name)).declares
        fields = declares["on"] or ", ".join(declares["reads"])
        print(f"| `{name}` | {fields} | {milliseconds(held)} | {peak_mib(work, watch.device):.1f} |", flush=True)
    for name, why in refused.items():
        print(f"| `{name}` | | {why} | |")
    print()


def step(loss: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Work:
    """Forward and backward to the inputs, whose gradients are handed on, as to the network behind them."""
    return lambda: torch.autograd.grad(loss(), list(inputs), allow_unused=True)


def peak_mib(work: Work, device: str) -> float:
    """Most that torch's allocator held during a call above what it held before."""
    work()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak / 2**20


def swin(samples: int, device: str) -> tuple[Features, Features, Batch]:
    """Features of Video Swin-T on 32 frames of 224², of Swin-T on an image of 224², and the batch."""

    def features(seed: int, *frames: int, grad: bool) -> Features:
        shapes = [(samples, c, *frames, side, side) for c, side in zip(CHANNELS, SIDES, strict=True)]
        held = [sample(*shape, seed=seed, device=device) for shape in shapes]
        vectors = {
            name: sample(samples, width, seed=seed + 1, device=device)
            for name, width in (
                ("logits", CLASSES),
                ("embedding", EMBEDDING),
                ("semantic", EMBEDDING),
                ("group_logits", GROUPS),
                ("ablated_logits", CLASSES),
            )
        }
        for name, tensor in (*enumerate(held), *vectors.items()):
            tensor.requires_grad_(grad and name != "ablated_logits")
        return Features(stages=tuple(held), **vectors)

    index = torch.arange(samples, device=device)
    batch = Batch({}, None, index % CLASSES, tuple(f"trial_{i}" for i in range(samples)), index)
    return features(0, FRAMES, grad=True), features(10, grad=False), batch


def context() -> Context:
    """What the losses are built from: one teacher branch of the student's widths."""
    widths = Widths(CLASSES, CHANNELS, EMBEDDING, EMBEDDING, GROUPS)
    return Context(
        classes=CLASSES,
        student=widths,
        teachers=(widths,),
        label_vectors=sample(CLASSES, EMBEDDING, seed=3) / 2,
        train_size=TRIALS,
        groups=torch.arange(CLASSES) % GROUPS,
        student_classifiers=(nn.Linear(EMBEDDING, CLASSES),),
        teacher_classifiers=(nn.Linear(EMBEDDING, CLASSES).requires_grad_(False),),
    )


def tensors(features: Features) -> list[Tensor]:
    return [*features.stages, *(value for value in vars(features).values() if isinstance(value, Tensor))]


def milliseconds(seconds: Sequence[float]) -> str:
    return spread([1000 * each for each in seconds], 2)


def spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
