"""Finished runs on UTD-MHAD as a training leaves them, with chosen accuracies; for tests of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdbench.board.entry import content_id
from kdbench.board.trials import expected
from kdbench.recipe import resolve
from kdbench.results.metrics import over_shuffles

LIBRARIES = {"python": "3.11.7", "kdbench": "0.1.0", "torch": "2.14.1"}


def run(root: Path, method: str, seed: int, /, *, right: float = 0.8, base: str = "hinton", **changes: Any) -> Path:
    """One finished run.

    Args:
        root: Folder of the runs.
        method: The recipe's name.
        seed: The run's.
        right: How likely a trial is predicted right.
        base: The shipped recipe that it has the settings of.
        changes: Replace keys of `run.json`; a mapping is merged into the one that is there.
    """
    known = expected("utd_mhad", "cross_subject", {})
    assert known is not None
    recipe = {**resolve(base, "small").model_dump(mode="json"), "name": method}
    reported = recipe["student"]
    trials, labels = list(known.test), np.array(list(known.test.values()))
    draw = np.random.default_rng([seed, *method.encode()])
    logits = draw.normal(size=(len(trials), len(known.classes))).astype(np.float32)
    hit = draw.random(len(trials)) < right
    logits[np.arange(len(trials)), np.where(hit, labels, (labels + 1) % len(known.classes))] += 9
    result: dict[str, Any] = {
        "schema_version": 1,
        "status": "finished",
        "method": method,
        "dataset": "utd_mhad",
        "protocol": "cross_subject",
        "preset": "small",
        "seed": seed,
        "recipe": recipe,
        "conditions": {
            "dataset": "utd_mhad",
            "version": "2015",
            "fingerprint": "f" * 64,
            "packed": None,
            "view": "depth",
            "protocol": "cross_subject",
            "split": known.split,
            "preset": "small",
            "part": "test",
            "selection": "last",
            **{key: recipe[key] for key in ("data", "precision", "compile")},
            **{key: reported[key] for key in ("representation", "encoder", "fusion", "train", "augment")},
            "weights": None,
            "test_modalities": ["video:depth"],
            "tuning": "defaults",
            "libraries": LIBRARIES,
        },
        "plugins": [],
        "environment": {
            "libraries": LIBRARIES,
            "device": "cpu",
            "command": ["kdbench", "run", "--out", "/home/me/runs"],
        },
        "excluded": {},
        "metrics": over_shuffles(logits[None], labels, known.classes),
        "teacher": {"folder": "utd_mhad-teacher", "accuracy": 0.6, "macro_f1": 0.59} if recipe["teacher"] else None,
        "cost": {"parameters": 452891, "flops": 2.7e8, "latency_ms": 9.6, "train_seconds": 240.0 + seed},
        "best_epoch": None,
    }
    for key, value in changes.items():
        result[key] = {**result[key], **value} if isinstance(value, Mapping) else value
    folder = root / f"{content_id(result)}-s{seed}"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(result))
    epochs = [{"phase": "student", "epoch": e, "loss": 3 / e, "accuracy": 1 - 1 / e} for e in range(1, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    table = pd.DataFrame({"trial": trials, "label": labels, "shuffle": 0, "batch_size": 16})
    scores = pd.DataFrame(logits, columns=[f"logit_{k}" for k in range(logits.shape[1])])
    table.join(scores).to_parquet(folder / "predictions.parquet", index=False)
    return folder


def runs(root: Path, method: str, /, *, seeds: int = 3, **changes: Any) -> list[Path]:
    """Finished runs of one method at the seeds 0 … N−1."""
    return [run(root, method, seed, **changes) for seed in range(seeds)]
