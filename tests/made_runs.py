"""Run folders with known numbers, written by the writers that runs use."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdbench.evaluation.metrics import over_shuffles
from kdbench.recipes.pairs import pair_of
from kdbench.runs.overview import shipped_recipe
from kdbench.runs.schema import SCHEMA_VERSION
from kdbench.util.records import append_jsonl, write_json, write_parquet

CLASSES = ("wave", "clap", "throw", "squat")
SUBJECTS = (2, 4, 6, 8)
REPETITIONS = 5
TRIALS = [f"a{a + 1}_s{s}_t{t + 1}" for a in range(len(CLASSES)) for s in SUBJECTS for t in range(REPETITIONS)]
LABELS = np.repeat(np.arange(len(CLASSES)), len(SUBJECTS) * REPETITIONS)


def network(losses: Mapping[str, Any], modality: str = "video", **more: Any) -> dict[str, Any]:
    """A network of a recipe."""
    return {
        "modality": modality,
        "sensors": None,
        "representation": {"name": "clip" if modality == "video" else "raw"},
        "encoder": {"name": "conv2plus1d" if modality == "video" else "conv1d"},
        "fusion": {"name": "none"},
        "losses": dict(losses),
        "train": {"epochs": 30, "batch_size": 16},
        **more,
    }


def conditions(**changes: Any) -> dict[str, Any]:
    """Conditions of a run; `a__b` changes the key a.b."""
    made: dict[str, Any] = {
        "dataset": "utd_mhad",
        "version": "2015",
        "fingerprint": "f" * 64,
        "view": "depth",
        "protocol": "cross_subject",
        "split": "0123456789",
        "preset": "small",
        "part": "test",
        "selection": "last",
        "encoder": {"name": "conv2plus1d"},
        "train": {"epochs": 30, "batch_size": 16},
        "precision": "fp32",
        "test_modalities": ["video:depth"],
        "tuning": "defaults",
        "libraries": {"torch": "2.11.0"},
    }
    for key, value in changes.items():
        *above, last = key.split("__")
        place = made
        for name in above:
            place = place[name]
        place[last] = value
    return made


def least(**changes: Any) -> dict[str, Any]:
    """The least that the `run.json` of a finished run holds."""
    made = {
        "schema_version": SCHEMA_VERSION,
        "status": "finished",
        "method": "rkd",
        "dataset": "utd_mhad",
        "protocol": "cross_subject",
        "preset": "small",
        "seed": 0,
        "recipe": {"teacher": None, "student": network({})},
        "conditions": conditions(),
        "metrics": {"n": 2, "accuracy": 0.5, "macro_f1": 0.5, "weighted_f1": 0.5, "per_class_recall": {"wave": 0.5}},
    }
    return made | copy.deepcopy(changes)


def make_run(
    root: Path,
    method: str,
    seed: int = 0,
    *,
    wrong: int = 10,
    status: str = "finished",
    folder: str | None = None,
    teacher: Mapping[str, Any] | None = None,
    student: Mapping[str, Any] | None = None,
    trials: list[str] | None = None,
    shuffles: int = 1,
    change: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Path:
    """Writes a run that gets `wrong` trials wrong, spread evenly and shifted by the seed; returns its folder."""
    names = TRIALS if trials is None else trials
    labels = np.array([int(name[1]) - 1 for name in names])
    predicted = labels.copy()
    if wrong:
        rows = (np.arange(wrong) * len(labels) // wrong + 3 * seed) % len(labels)
        predicted[rows] = (labels[rows] + 1) % len(CLASSES)
    logits = np.tile(np.eye(len(CLASSES), dtype=np.float32)[predicted], (shuffles, 1, 1))
    taught = method != "student_only"
    track = json.dumps(changed.get("track") or {}, sort_keys=True)
    shipped = shipped_recipe(pair_of({"method": method}), str(changed.get("preset", "small")), track)
    recipe = copy.deepcopy(dict(shipped or {}))
    if not recipe:
        losses = {"ce": {"weight": 1.0}, **({"st": {"weight": 1.0}} if taught else {})}
        taught_by = network({"ce": {"weight": 1.0}}, "sensors") if taught else None
        recipe = {"name": method, "teacher": taught_by, "student": network(losses), "precision": "fp32"}
    recipe |= {} if teacher is None else {"teacher": copy.deepcopy(dict(teacher))}
    recipe |= {} if student is None else {"student": copy.deepcopy(dict(student))}
    recipe |= {key: changed[key] for key in ("track",) if key in changed}
    result = {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "method": method,
        "dataset": "utd_mhad",
        "protocol": "cross_subject",
        "preset": "small",
        "seed": seed,
        "recipe": recipe,
        "conditions": conditions(**changed),
        "environment": {"device": "cpu", "gpu": None, "threads": 1},
        "metrics": over_shuffles(logits, labels, CLASSES) if status == "finished" else None,
        "teacher": {"accuracy": 0.75, "macro_f1": 0.7, "folder": f"teacher-{seed}"} if taught else None,
        "cost": {
            "parameters": 400_000,
            "flops": 270_000_000,
            "latency_ms": 10.0 + seed,
            "seconds_per_epoch": 8.0 + seed,
            "train_seconds": 240.0,
            "teacher_seconds": 60.0 if taught else None,
            "peak_memory_bytes": (1 + seed) * 2**30,
        },
    }
    for key in ("dataset", "protocol", "preset"):
        result[key] = result["conditions"][key]
    result |= copy.deepcopy(dict(change or {}))
    path = root / (folder or f"{method}-s{seed}-{abs(hash(str(changed))) % 10**6}")
    write_json(path / "run.json", result)
    if status == "finished":
        table = pd.DataFrame(
            {
                "trial": names * shuffles,
                "label": np.tile(labels, shuffles),
                "shuffle": np.repeat(np.arange(shuffles), len(names)),
                "batch_size": 16,
            }
        ).join(pd.DataFrame(logits.reshape(-1, len(CLASSES)), columns=[f"logit_{k}" for k in range(len(CLASSES))]))
        write_parquet(path / "predictions.parquet", table)
        for epoch in range(1, 4):
            record = {"phase": "student", "epoch": epoch, "accuracy": epoch / 4, "terms": {"ce": 3 / epoch}}
            append_jsonl(path / "metrics.jsonl", record)
    return path


def make_study(root: Path, wrong: Mapping[str, int], seeds: int = 3, **changed: Any) -> None:
    """Several methods at several seeds."""
    for method, count in wrong.items():
        for seed in range(seeds):
            make_run(root, method, seed, wrong=count + seed, **changed)
