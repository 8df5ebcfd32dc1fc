"""How long `kdbench compare` takes over 500 finished runs: python benchmarks/compare_speed.py.

Twice 500 runs of 430 trials and 27 classes: five tables of twenty methods at five seeds, and one table of a hundred.
Median, fastest and slowest of seven times.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from made_runs import make_run

from kdbench.evaluation.metrics import classification
from kdbench.util.records import read_json, write_json, write_parquet

CLASSES = [f"class {number}" for number in range(27)]
TRIALS = [f"a{1 + n % 27}_s{2 + 2 * (n // 27 % 4)}_t{1 + n // 108}" for n in range(430)]
LABELS = np.arange(430) % 27
REPEATS = 7


def fill(root: Path, methods: int, seeds: int, tables: int) -> None:
    generator = np.random.default_rng(0)
    for table in range(tables):
        for method in range(methods):
            for seed in range(seeds):
                name = f"method_{method}" if method else "student_only"
                folder = make_run(root, name, seed, folder=f"{name}-{table}-{seed}", train__epochs=30 + table)
                logits = 2 * np.eye(27)[LABELS] + generator.normal(0, 1, (430, 27))
                result = read_json(folder / "run.json")
                write_json(folder / "run.json", result | {"metrics": classification(logits, LABELS, CLASSES)})
                rows = pd.DataFrame({"trial": TRIALS, "label": LABELS, "shuffle": 0, "batch_size": 16})
                columns = [f"logit_{k}" for k in range(27)]
                scores = pd.DataFrame(logits.astype(np.float32), columns=columns)
                write_parquet(folder / "predictions.parquet", rows.join(scores))


def seconds(root: Path) -> tuple[str, str]:
    """Of the whole command, and of the call alone once everything is imported."""
    command = [sys.executable, "-m", "kdbench", "compare", "--out", str(root)]
    whole = [_timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(REPEATS)]
    import kdbench

    kdbench.compare(root)
    call = [_timed(lambda: kdbench.compare(root)) for _ in range(REPEATS)]
    return _spread(whole), _spread(call)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


def main() -> None:
    for methods, seeds, tables in ((20, 5, 5), (100, 5, 1)):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), methods, seeds, tables)
            command, call = seconds(Path(folder))
        print(f"{tables} x {methods} methods x {seeds} seeds: command {command}, kdbench.compare {call}")


if __name__ == "__main__":
    main()
