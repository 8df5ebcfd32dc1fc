"""Finished runs on UTD-MHAD as a training leaves them, with chosen accuracies; for tests of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdbench.evaluation.metrics import over_shuffles
from kdbench.leaderboard.entry import content_id
from kdbench.leaderboard.trials import card_of, expected
from kdbench.recipes.resolve import resolve

LIBRARIES = {"python": "3.11.7", "kdbench": "0.1.0", "torch": "2.14.1"}


UTD_MHAD: tuple[str, str, dict[str, Any]] = ("utd_mhad", "cross_subject", {})


def run(
    root: Path,
    method: str,
    seed: int,
    /,
    *,
    right: float = 0.8,
    base: str = "kd",
    on: tuple[str, str, dict[str, Any]] = UTD_MHAD,
    **changes: Any,
) -> Path:
    """One finished run.

    Args:
        root: Folder of the runs.
        method: The recipe's name.
        seed: The run's.
        right: How likely a trial is predicted right.
        base: The shipped recipe that it has the settings of.
        on: Data set, protocol, and the data set's knobs.
        changes: Replace keys of `run.json`; a mapping is merged into the one that is there.
    """
    dataset, protocol, options = on
    known, card = expected(*on), card_of(dataset, options)
    assert known is not None
    view = "depth" if "depth" in card.views else next(iter(card.views))
    recipe = {**resolve(base, "small").model_dump(mode="json"), "name": method}
    recipe["data"] = {**recipe["data"], "options": options}
    reported = recipe["student"] or recipe["teacher"]
    built = [key for key in ("representation", "encoder", "pooling", "branches", "fusion") if reported.get(key)]
    trials, labels = list(known.test), np.array(list(known.test.values()))
    draw = np.random.default_rng([seed, *method.encode()])
    logits = draw.normal(size=(len(trials), len(known.classes))).astype(np.float32)
    hit = draw.random(len(trials)) < right
    logits[np.arange(len(trials)), np.where(hit, labels, (labels + 1) % len(known.classes))] += 9
    result: dict[str, Any] = {
        "schema_version": 1,
        "status": "finished",
        "method": method,
        "dataset": dataset,
        "protocol": protocol,
        "preset": "small",
        "seed": seed,
        "recipe": recipe,
        "conditions": {
            "dataset": dataset,
            "version": card.version,
            "fingerprint": "f" * 64,
            "packed": None,
            "view": view,
            "protocol": protocol,
            "split": known.split,
            "preset": "small",
            "part": "test",
            "selection": "last",
            **{key: recipe[key] for key in ("data", "precision", "compile")},
            **{key: reported[key] for key in (*built, "train", "augment")},
            "weights": None,
            "test_modalities": [f"video:{view}"],
            "tuning": "defaults",
            "libraries": LIBRARIES,
        },
        "plugins": [],
        "environment": {
            "libraries": LIBRARIES,
            "platform": "Linux x86_64",
            "device": "cpu",
            "threads": 1,
            "command": ["kdbench", "run", "--out", "/home/me/runs"],
        },
        "excluded": {},
        "metrics": over_shuffles(logits[None], labels, known.classes),
        "teacher": {"folder": "utd_mhad-teacher", "accuracy": 0.6, "macro_f1": 0.59} if recipe["teacher"] else None,
        "cost": {"parameters": 452891, "flops": 2.7e8, "latency_ms": 9.6, "train_seconds": 240.0 + seed},
        "best_epoch": None,
    }
    for key, value in changes.items():
        result[key] = {**result.get(key, {}), **value} if isinstance(value, Mapping) else value
    folder = root / f"{content_id(result)}-s{seed}"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(result))
    phase = "student" if recipe["student"] else "teacher"
    epochs = [{"phase": phase, "epoch": e, "loss": 3 / e, "accuracy": 1 - 1 / e} for e in range(1, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    table = pd.DataFrame({"trial": trials, "label": labels, "shuffle": 0, "batch_size": 16})
    scores = pd.DataFrame(logits, columns=[f"logit_{k}" for k in range(logits.shape[1])])
    table.join(scores).to_parquet(folder / "predictions.parquet", index=False)
    return folder


def explained(folder: Path, picture: bytes, *, probability: float | None = None) -> Path:
    """Puts an explanation of its first trial into a run, as `kdbench explain` leaves it.

    Args:
        folder: The run.
        picture: The Grad-CAM picture.
        probability: What the explanation says of the predicted class; by default what the run predicts.
    """
    first = pd.read_parquet(folder / "predictions.parquet").iloc[0]
    logits = first[[name for name in first.index if name.startswith("logit_")]].to_numpy(dtype=np.float64)
    own = float(np.exp(logits - logits.max()).max() / np.exp(logits - logits.max()).sum())
    name = f"gradcam_{first['trial']}"
    trial = {"trial": first["trial"], "probability_of_predicted": own if probability is None else probability}
    pictures = [{"file": f"{name}.png", "caption": "a clip"}, {"file": f"{name}.gif", "caption": "moving"}]
    part = {"pictures": pictures, "numbers": {"trials": [trial]}}
    (folder / "explain").mkdir()
    (folder / "explain" / f"{name}.png").write_bytes(picture)
    (folder / "explain" / "explain.json").write_text(json.dumps({"format": 1, "parts": {"gradcam": part}}))
    return folder


def runs(root: Path, method: str, /, *, seeds: int = 3, **changes: Any) -> list[Path]:
    """Finished runs of one method at the seeds 0 … N−1."""
    return [run(root, method, seed, **changes) for seed in range(seeds)]
