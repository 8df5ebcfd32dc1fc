"""How long `kdbench runs list` and `kdbench compare` take over 10,000 runs, and how much memory: a budget, not a test.

    python benchmarks/many_runs.py --runs 10000
    python benchmarks/many_runs.py --runs 10000 --folder FOLDER     # keeps the runs there, and finds them there again

One run is trained at `smoke`; the others are copies of its files under other methods, seeds and conditions, each with
predictions, metrics and hashes of its own: tables of a hundred methods at ten seeds. Each command runs in a process of
its own; wall time, processor time and peak memory are those of that process.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

METHODS, SEEDS = 100, 10
COMMANDS = (
    ("runs", "list"),
    ("runs", "list", "--format", "json"),
    ("runs", "show", "00000007"),
    # Once over runs of which the cache folder keeps nothing, as those of another machine, and once as over runs that
    # were made here: each keeps what a comparison needs of it when it ends.
    ("compare",),
    ("compare",),
)


def trained(root: Path) -> Path:
    """A real run, of seconds."""
    import kdbench

    return kdbench.run("student_only", "motionsim", preset="smoke", device="cpu", out=root).folder


def fill(root: Path, source: Path, count: int) -> None:
    """Copies a run `count` times; the files are written as they come, since flushing each would take half an hour."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kdbench.evaluation.metrics import classification
    from kdbench.util.records import hashes, sealed

    told = json.loads((source / "run.json").read_text())
    table = pq.read_table(source / "predictions.parquet")
    labels = np.asarray(table["label"])
    columns = [name for name in table.column_names if name.startswith("logit_")]
    logits = np.stack([np.asarray(table[name]) for name in columns], axis=1)
    classes = list(told["metrics"]["per_class_recall"])
    others = [
        path for path in source.iterdir() if path.is_file() and path.name not in ("run.json", "predictions.parquet")
    ]
    generator = np.random.default_rng(0)
    for number in range(count):
        method, seed, group = number // SEEDS % METHODS, number % SEEDS, number // (SEEDS * METHODS)
        result = copy.deepcopy(told)
        result |= {"method": f"method_{method:03}" if method else "student_only", "seed": seed}
        result["recipe"]["name"] = result["method"]
        for part in (result["conditions"]["train"], result["recipe"]["student"]["train"]):
            part["epochs"] = 2 + group
        scores = logits + generator.normal(0, 0.5 + method / METHODS, logits.shape)
        result["metrics"] = classification(scores, labels, classes)
        folder = root / f"{result['method']}-motionsim-cross_subject-smoke-s{seed}-{number:08}"
        folder.mkdir(parents=True)
        rows = table.drop_columns(columns)
        for name, values in zip(columns, scores.astype(np.float32).T, strict=True):
            rows = rows.append_column(name, pa.array(values))
        pq.write_table(rows, folder / "predictions.parquet")
        for path in others:
            os.link(path, folder / path.name)
        result["files"] = hashes(folder, result["files"])
        (folder / "run.json").write_text(json.dumps(sealed(result, folder / "run.json"), indent=2))


def measured(cache: Path, *arguments: str) -> tuple[float, float, int, int]:
    """Wall seconds, processor seconds and peak bytes of a command, and the bytes that it printed."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        command = [sys.executable, "-m", "kdbench", *arguments]
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | {"KDBENCH_CACHE": str(cache)}
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        said = output.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said.decode(errors="replace"))
    unit = 1 if sys.platform == "darwin" else 1024
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit, len(said)


@contextlib.contextmanager
def folder_or_temporary(given: Path | None) -> Iterator[Path]:
    """The folder that was given, or one that is removed in the end."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only-fill", action="store_true", help="make the runs, and measure nothing")
    given = parser.parse_args()
    with folder_or_temporary(given.folder) as root:
        runs = root / "runs"
        if given.only_fill:
            fill(runs, trained(root / "source"), given.runs)
            return
        if not runs.is_dir():
            # Apart: a process counts as its own peak what its parent held when it was forked.
            words = ["--runs", str(given.runs), "--folder", str(root), "--only-fill"]
            subprocess.run([sys.executable, __file__, *words], check=True)
        print(f"{len(list(runs.iterdir()))} runs")
        with tempfile.TemporaryDirectory() as cache:
            for command in COMMANDS:
                wall, cpu, peak, said = measured(Path(cache), *command, "--out", str(runs))
                print(
                    f"kdbench {' '.join(command)}: {wall:.1f} s wall, {cpu:.1f} s of one core, "
                    f"{peak / 2**20:.0f} MiB, {said / 2**20:.1f} MiB of text"
                )


if __name__ == "__main__":
    main()
