"""How long a board of many submissions takes to verify and to build: the README's figure, not a test.

    python benchmarks/leaderboard_build.py SUBMISSION --count 500

Copies one submission under other names, with other predictions (so that every one is scored for itself), into a folder
of its own, and builds the site.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from kdbench.evaluation.metrics import over_shuffles
from kdbench.leaderboard.build import build
from kdbench.leaderboard.entry import content_id, found, load, place
from kdbench.leaderboard.schema import Submission
from kdbench.leaderboard.verify import verify


def copy(source: Path, board: Path, number: int) -> None:
    """One more submission: the same, with its logits shifted and under another name."""
    entry, draw = load(source), np.random.default_rng(number)
    held = entry.predictions
    logits = held.logits + draw.normal(scale=draw.uniform(0.5, 4), size=held.logits.shape).astype(np.float32)
    content = entry.result.model_dump(mode="json") | {"method": f"{entry.result.method}_{number:03}"}
    recipe = yaml.safe_load(entry.recipe_text) | {"name": content["method"]}
    for each in content["seeds"]:
        rows = held.seed == each["seed"]
        shuffles = len(np.unique(held.shuffle[rows]))
        scores = logits[rows].reshape(shuffles, -1, logits.shape[1])
        labels = held.label[rows][: scores.shape[1]]
        each["metrics"] = {"shuffles": 1, **over_shuffles(scores, labels, entry.result.classes)}
    table = pq.read_table(source / "predictions.parquet").drop_columns(["logits"])
    values = pa.ListArray.from_arrays(
        np.arange(len(logits) + 1, dtype=np.int32) * logits.shape[1], pa.array(logits.ravel())
    )
    temporary = board / f"new{number}"
    temporary.mkdir(parents=True)
    pq.write_table(table.append_column("logits", values), temporary / "predictions.parquet", compression="zstd")
    (temporary / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (temporary / "environment.json").write_bytes((source / "environment.json").read_bytes())
    content["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in temporary.iterdir()}
    content["id"] = content_id(content)
    (temporary / "result.json").write_text(json.dumps(content))
    target = board / "submissions" / place(Submission.model_validate(content))
    target.parent.mkdir(parents=True)
    temporary.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submission", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, help="keep the site here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "board"
        for number in range(given.count):
            copy(given.submission, board, number)
        for name, work in (
            ("verify", lambda: verify(found(board))),
            ("build, verification included", lambda: build(board, given.out or Path(folder) / "site")),
        ):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            print(f"{name}: {time.perf_counter() - wall:.1f} s wall, {time.process_time() - cpu:.1f} s of one core")


if __name__ == "__main__":
    main()
