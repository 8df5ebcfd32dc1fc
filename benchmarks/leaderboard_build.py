"""How long a board of many submissions takes to verify and to build, and how much memory: a budget, not a test.

    python benchmarks/leaderboard_build.py SUBMISSION --count 3334
    python benchmarks/leaderboard_build.py SUBMISSION --count 3334 --folder FOLDER     # keeps the board there

Copies one submission under other names, with other predictions (so that every one is scored for itself), into a folder
of its own; 3,334 submissions of three seeds are 10,000 runs. The site is built as where nothing was built before, and
once more over the first one, with one more submission. Each command runs in a process of its own; wall time, processor
time (that of the process which unpacks predictions included) and peak memory are theirs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from many_runs import folder_or_temporary, measured

from kdbench.evaluation.metrics import over_shuffles
from kdbench.leaderboard.entry import content_id, found, load, place
from kdbench.leaderboard.schema import Submission


def copy(source: Path, board: Path, number: int) -> Path:
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
    return temporary.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submission", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="keep the board here, or find it here again")
    given = parser.parse_args()
    with folder_or_temporary(given.folder) as kept, tempfile.TemporaryDirectory() as scratch:
        board, site = kept / "board", Path(scratch) / "site"
        made = len(found(board))
        for number in range(made, given.count):
            copy(given.submission, board, number)
        print(f"{len(found(board))} submissions")
        _report("verify", measured(Path(scratch), "leaderboard", "verify", "--board", str(board)))
        words = ["leaderboard", "build", "--board", str(board), "--out", str(site)]
        _report("build", measured(Path(scratch), *words))
        extra = copy(given.submission, board, given.count)
        _report("build again, with one more", measured(Path(scratch), *words))
        shutil.rmtree(extra.parent)


def _report(name: str, used: tuple[float, float, int, int]) -> None:
    wall, cpu, peak, _ = used
    print(f"{name}: {wall:.1f} s wall, {cpu:.1f} s of one core, {peak / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
