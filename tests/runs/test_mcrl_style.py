"""The MCRL-style system."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers import WORLD

from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS
from kdbench.runs.run import run
from kdbench.runs.training import records_of

QUICK = ["teacher.train.batch_size=8", "teacher.train.epochs=12"]


def test_it_sees_skeleton_and_depth_and_has_one_loss() -> None:
    for preset in PRESETS:
        reported = resolve("mcrl_style", preset).reported
        assert reported.sees(()) == ("skeleton", "video:depth")
        assert list(reported.losses) == ["shared_space"]


def test_it_learns_and_says_what_it_sees(tmp_path: Path) -> None:
    done = run("mcrl_style", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=[*WORLD, *QUICK])
    assert done.result["conditions"]["test_modalities"] == ["skeleton", "video:depth"]
    records = [each for path in tmp_path.rglob("metrics.jsonl") for each in records_of(path.parent)]
    assert min(record["loss"] for record in records[1:]) < records[0]["loss"]
    assert all(np.isfinite(record["diagnostics"]["shared_space/apart"]) for record in records)
