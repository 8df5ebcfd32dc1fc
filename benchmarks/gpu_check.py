"""Every check that needs a GPU, and a short run at the paper's sizes; writes one report in Markdown.

Runs the tests marked `gpu`, then trains `sgm_ft` at `paper` for a few steps: from a packed copy or the recordings where
they are there (`--data-dir`), else from generated data. Measures an epoch, clips per second, peak memory and the share
of the card's own bf16 matrix rate, against a plain eager float32 loop over the same step. Needs torch, torchvision,
timm and kdbench's light dependencies; neither mlflow nor transformers.

    python benchmarks/gpu_check.py --data-dir PACKED --dataset utd_mhad --out gpu_report.md
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from plain import plain_step

from kdbench.engine.loop import Training
from kdbench.runs import libraries
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.cost import flops
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher, teacher_training

WARM_UP = 3
# Forward and backward of a network cost about three times its forward pass.
TRAINING_FACTOR = 3


@dataclass(frozen=True)
class Figure:
    """One measured training at the paper's sizes."""

    name: str
    step_ms: float
    clips_per_second: float
    epoch_seconds: float
    peak_gib: float
    tflops: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="motionsim")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--video", default=None)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda", help="cpu runs the measurements on the CPU, to try this script")
    parser.add_argument("--weights", default="random", help="random or pretrained; the speed is the same")
    parser.add_argument("--out", type=Path, default=Path("gpu_report.md"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here; see `kdbench doctor`.")
        return 1
    lines = [f"# GPU check, {datetime.date.today().isoformat()}", "", *machine(arguments.device), ""]
    failed, tested = tests() if arguments.device == "cuda" else (False, ["GPU tests: left out, --device cpu"])
    rate = matmul_tflops(arguments.device)
    lines += ["## Tests", "", *tested, "", "## Speed at the paper's sizes", ""]
    lines += [f"bf16 matrix product, measured: {rate:.1f} TFLOP/s", ""]
    lines += [f"`sgm_ft` on {arguments.dataset}, {arguments.preset}, {arguments.weights} weights", ""]
    lines += [
        "TFLOP/s count the network in training, forward and backward, without the frozen teacher and the ablated pass.",
        "",
    ]
    lines += ["| phase | variant | ms per step | clips/s | s per epoch | peak GiB | TFLOP/s | share of matrix rate |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|---:|"]
    baseline: dict[str, float] = {}
    variants = (
        ("plain float32", "fp32", False, True),
        ("kdbench float32", "fp32", False, False),
        ("kdbench bf16", "bf16", False, False),
        ("kdbench bf16, compiled", "bf16", True, False),
    )
    for variant, precision, compiled, plain in variants if arguments.device == "cuda" else variants[:2]:
        for phase, figure in measure(arguments, precision, compiled, plain):
            baseline.setdefault(phase, figure.step_ms)
            lines.append(
                f"| {phase} | {variant} ({baseline[phase] / figure.step_ms:.2f}× plain) | {figure.step_ms:.1f} "
                f"| {figure.clips_per_second:.1f} | {figure.epoch_seconds:.1f} | {figure.peak_gib:.2f} "
                f"| {figure.tflops:.1f} | {100 * figure.tflops / rate:.1f} % |"
            )
            print(lines[-1], flush=True)
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"report: {arguments.out}")
    return int(failed)


def machine(device: str) -> list[str]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    versions = ", ".join(f"{library} {version}" for library, version in libraries.installed().items())
    return [f"Device: {name}", "", f"Versions: {versions}, CUDA {torch.version.cuda}"]


def tests() -> tuple[bool, list[str]]:
    """Runs the tests marked `gpu`; whether they failed, and pytest's last lines."""
    if importlib.util.find_spec("pytest") is None:
        return True, ["pytest is not installed, so the GPU tests did not run: pip install pytest pytest-timeout"]
    root = Path(__file__).resolve().parent.parent
    # Other files may import what is not carried along, and one that cannot be imported stops all.
    files = [str(path) for path in sorted((root / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    last = [line for line in done.stdout.splitlines() if line.strip()][-12:]
    print("\n".join(last), flush=True)
    return done.returncode != 0, ["```", *last, "```"]


def matmul_tflops(device: str) -> float:
    """Rate of a large square matrix product in bf16."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = median_seconds(lambda: a @ b, device, 10)
    return 2 * size**3 / seconds / 1e12


def measure(arguments: argparse.Namespace, precision: str, compiled: bool, plain: bool) -> list[tuple[str, Figure]]:
    """Times steps of both phases at one precision."""
    overrides = [
        f"compile={str(compiled).lower()}",
        f"teacher.encoder.weights={arguments.weights}",
        f"student.encoder.weights={arguments.weights}",
        # The speed does not depend on where the label vectors come from.
        "semantics.name=hash",
    ]
    if arguments.preset != "paper":
        overrides = [overrides[0], overrides[-1]]
    setting = context_for(
        RunRequest(
            "sgm_ft",
            arguments.dataset,
            preset=arguments.preset,
            video=arguments.video,
            overrides=overrides,
            device=arguments.device,
            precision=precision,
            data_dir=arguments.data_dir,
        )
    )
    recipe = setting.run_spec.recipe
    assert recipe.teacher is not None
    assert recipe.student is not None
    with tempfile.TemporaryDirectory() as folder:
        network = setting.build("teacher", recipe.teacher)
        training = teacher_training(setting, setting.run_spec.teacher_parts[0], network, Path(folder))
        found = [("teacher", figure_of(setting, training, arguments, plain))]
        teacher = [Teacher(network.eval(), Path(folder), {}, setting, setting.run_spec.teacher_parts[0])]
        training = student_training(setting, recipe.student, teacher, Path(folder))
        found.append(("student", figure_of(setting, training, arguments, plain)))
    return found


def figure_of(setting: RunContext, training: Training, arguments: argparse.Namespace, plain: bool) -> Figure:
    """Times full steps, data included: kdbench's, or plain ones."""
    device = setting.accelerator.device
    training.begin()
    size = min(training.spec.train.batch_size, len(training.loader))
    order = torch.randperm(len(training.loader)).repeat(1 + (arguments.steps + WARM_UP) * size // len(training.loader))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step = plain_step(training) if plain else lambda batch, n: training.backward(*training.forward(batch, 1, n)[1:3])
    times = []
    batches = training.loader.batches(order[: (arguments.steps + WARM_UP) * size], size)
    started = time.perf_counter()
    for number, batch in enumerate(batches):
        step(batch, number)
        wait(device.type)
        times.append(time.perf_counter() - started)
        started = time.perf_counter()
    step = statistics.median(times[WARM_UP:])
    one = next(iter(training.loader.batches([0], 1)))
    with setting.accelerator.autocast():
        inputs = training.network.represent(one)
    operations = TRAINING_FACTOR * flops(lambda: training.network(inputs))
    return Figure(
        name=training.phase,
        step_ms=1000 * step,
        clips_per_second=size / step,
        epoch_seconds=step * len(training.loader) / size,
        peak_gib=torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0,
        tflops=operations * size / step / 1e12,
    )


def median_seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats + WARM_UP):
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[WARM_UP:])


def wait(device: str) -> None:
    """Waits for the GPU, where there is one."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
