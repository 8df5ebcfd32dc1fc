"""How long `kdbench compare` takes over 500 finished runs: python benchmarks/compare_speed.py.

Twice 500 runs of 430 trials and 27 classes: five tables of twenty methods at five seeds, and one table of a hundred.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from made_runs import make_run

from kdbench.results.files import read_json, write_json, write_parquet
from kdbench.results.metrics import classification

CLASSES = [f"class {number}" for number in range(27)]
TRIALS = [f"a{1 + n % 27}_s{2 + 2 * (n // 27 % 4)}_t{1 + n // 108}" for n in range(430)]
LABELS = np.arange(430) % 27


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


def seconds(root: Path) -> tuple[float, float]:
    """Of the whole command, and of the call alone once everything is imported."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kdbench", "compare", "--out", str(root)], check=True, capture_output=True)
    command = time.perf_counter() - start
    import kdbench

    kdbench.compare(root)
    start = time.perf_counter()
    kdbench.compare(root)
    return command, time.perf_counter() - start


def main() -> None:
    for methods, seeds, tables in ((20, 5, 5), (100, 5, 1)):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), methods, seeds, tables)
            command, call = seconds(Path(folder))
        print(f"{tables} x {methods} methods x {seeds} seeds: command {command:.2f} s, kdbench.compare {call:.2f} s")


if __name__ == "__main__":
    main()
