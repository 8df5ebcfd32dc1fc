"""Step times of one method at the paper's sizes, the most valuable first; one line of JSON a figure.

    python benchmarks/gpu/steps.py --data-dir packed --variants bf16,fp32,plain,tf32 --out steps.jsonl

Variants: `bf16` (autocast), `fp32`, `plain` (float32, a loop written by hand), `tf32`, `compiled` (bf16).
A figure: milliseconds a step and of the host, the share spent waiting for data, peak memory, TFLOP/s of the network in
training (three forward passes; without the frozen teacher and the ablated pass) and their share of `--rate`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from plain import plain_step

from kdbench.engine.loop import Training
from kdbench.engine.sums import Sums
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.cost import flops
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher, teacher_training

WARM_UP = 4
# Forward and backward of a network cost about three times its forward pass.
TRAINING_FACTOR = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="sgm_ft")
    parser.add_argument("--dataset", default="utd_mhad")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--variants", default="bf16,fp32,plain,tf32")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rate", type=float, default=0.0, help="TFLOP/s of a large bf16 product, for the share")
    parser.add_argument("--profile", action="store_true", help="print the kernels of two steps of the student")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for variant in options.variants.split(","):
        for figure in measured(options, variant):
            # Written as they come: the machine may be taken away.
            with options.out.open("a") as file:
                file.write(json.dumps(figure) + "\n")
            print(json.dumps(figure), flush=True)
        if options.device == "cuda":
            torch.cuda.empty_cache()


def measured(options: argparse.Namespace, variant: str) -> list[dict[str, Any]]:
    """Both phases of a variant."""
    torch.backends.cuda.matmul.allow_tf32 = variant == "tf32"
    torch.backends.cudnn.allow_tf32 = variant == "tf32"
    on_gpu = options.device == "cuda"
    # The speed does not depend on where the label vectors and the weights come from.
    overrides = ["semantics.name=hash", *options.set]
    overrides += ["compile=true"] * (variant == "compiled")
    if options.preset == "paper":
        overrides += ["teacher.encoder.weights=random", "student.encoder.weights=random"]
    if options.batch:
        overrides += [f"{phase}.train.batch_size={options.batch}" for phase in ("teacher", "student")]
    context = context_for(
        RunRequest(
            options.method,
            options.dataset,
            preset=options.preset,
            overrides=overrides,
            device=options.device,
            precision="bf16" if variant in ("bf16", "compiled") and on_gpu else "fp32",
            data_dir=options.data_dir,
        )
    )
    recipe, part = context.run_spec.recipe, context.run_spec.teacher_parts[0]
    assert recipe.student is not None
    with tempfile.TemporaryDirectory() as folder:
        network = context.build("teacher", part.spec)
        training = teacher_training(context, part, network, Path(folder))
        found = [figure("teacher", context, training, options, variant)]
        started = time.perf_counter()
        teacher = Teacher(network.eval(), Path(folder), {}, context, part)
        training = student_training(context, recipe.student, [teacher], Path(folder))
        wait(options)
        prepared = time.perf_counter() - started
        found.append(figure("student", context, training, options, variant))
        assert training.teacher is not None
        found[-1] |= {"prepare_s": round(prepared, 2), "teacher_keeps": training.teacher.networks[0].cached}
    return found


def figure(
    phase: str, context: RunContext, training: Training, options: argparse.Namespace, variant: str
) -> dict[str, Any]:
    """Times full steps, data included."""
    on_gpu = options.device == "cuda"
    training.begin()
    size = min(training.spec.train.batch_size, len(training.loader))
    count = options.steps + WARM_UP
    order = torch.randperm(len(training.loader)).repeat(1 + count * size // len(training.loader))[: count * size]
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    plain = plain_step(training) if variant == "plain" else None
    sums = Sums(training.objective, context.accelerator.device)
    loader, waited, first, begun = training.loader, 0.0, 0.0, 0.0
    started = time.perf_counter()
    for number, batch in enumerate(loader.batches(order, size)):
        if plain is not None:
            plain(batch, number)
        else:
            student, loss, values, _ = training.forward(batch, 1, number)
            norm = training.backward(loss, values)
            sums.add(number, student, values, norm, training.objective.diagnostics(), batch)
        # Only the warm-up waits: a step's host work hides behind the one before, as in the real loop.
        if number < WARM_UP:
            wait(options)
            first = first or time.perf_counter() - started
            begun, waited = time.perf_counter(), loader.waited_seconds
    launched = time.perf_counter() - begun
    wait(options)
    seconds = (time.perf_counter() - begun) / options.steps
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0
    with context.accelerator.autocast():
        inputs = training.network.represent(next(iter(loader.batches([0], 1))))
        operations = TRAINING_FACTOR * flops(lambda: training.network.forward(inputs))
    rate = operations * size / seconds / 1e12
    if options.profile and variant != "plain" and phase == "student":
        profiled(training, size)
    return {
        "phase": phase,
        "variant": variant,
        "batch": size,
        "ms": round(1000 * seconds, 2),
        "host_ms": round(1000 * launched / options.steps, 2),
        "first_s": round(first, 2),
        "clips_s": round(size / seconds, 1),
        "waited_share": round((loader.waited_seconds - waited) / (seconds * options.steps), 4),
        "peak_gib": round(peak, 2),
        "tflops": round(rate, 2),
        "share": round(rate / options.rate, 4) if options.rate else None,
    }


def profiled(training: Training, size: int) -> None:
    """Prints the kernels of two steps, by time."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as record:
        for number, batch in enumerate(training.loader.batches(list(range(2 * size)), size)):
            training.backward(*training.forward(batch, 1, number)[1:3])
    by = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    print(record.key_averages().table(sort_by=by, row_limit=40, max_name_column_width=70), flush=True)


def wait(options: argparse.Namespace) -> None:
    """Waits for the GPU, where there is one."""
    if options.device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
