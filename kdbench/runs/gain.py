"""What a method gains over its student alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import DataError, KdbenchError
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.track import is_transfer_alone
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun, stored_run
from kdbench.runs.tested import tested
from kdbench.types import SENSORS, VIDEO

SKELETON = "skeleton"
ALONE = {VIDEO: "student_only", SENSORS: "student_only_sensor", SKELETON: "student_only_skeleton"}
"""The student without a teacher, by what it sees."""

PLAIN = {"ce": {"weight": 1.0}}
"""Its losses."""

UNTRAINED = {VIDEO: "untrained", SENSORS: "untrained_sensor", SKELETON: "untrained_skeleton"}
"""The student as it was initialised, by what it sees: what transfer alone is measured against."""

BASELINES = (*ALONE.values(), *UNTRAINED.values())

_OF_A_RUN = re.compile(r"-s(\d+)-[0-9a-f]{10}\Z")
"""The end of the name that a run's folder is given, its seed and its hash; it begins with the method."""
_NAMED = 3
"""Conditions that are named at most."""


def alone_for(result: Mapping[str, Any]) -> str:
    """The method that a result is measured against: its student without a teacher; without labels, not trained."""
    conditions = result["conditions"]
    names = UNTRAINED if is_transfer_alone(conditions) else ALONE
    if conditions["view"] is not None:
        return names[VIDEO]
    return names[SKELETON if conditions.get("test_modalities") == [SKELETON] else SENSORS]


def untrained_like(student: NetworkSpec) -> str:
    """The method whose student is as this one is before any training.

    Args:
        student: The student's recipe.
    """
    if student.shows(VIDEO):
        return UNTRAINED[VIDEO]
    return UNTRAINED[SKELETON if all(branch.sees == SKELETON for branch in student.kinds) else SENSORS]


def alone_words(conditions: Mapping[str, Any]) -> str:
    """What gains are over under some conditions, nested or flat, in words."""
    return "the untrained network" if is_transfer_alone(conditions) else "the student alone"


def is_alone(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe is what gains are over: the student alone by plain cross-entropy, or not trained at all.

    One whose losses were changed does not stand for it.

    Args:
        recipe: As `run.json` holds it.
    """
    student = recipe.get("student")
    if recipe.get("teacher") is not None or not isinstance(student, Mapping):
        return False
    return student.get("weights") == "random" or student.get("losses") == PLAIN


@dataclass(frozen=True)
class GainNow:
    """What a run gains over its student alone, by the folder of runs as it is now.

    Attributes:
        run: The folder's name of the student alone; None where there is none.
        accuracy: The gain, as a share; None without one.
        macro_f1: The same.
        why: Why there is none, in words; empty where there is one, and for a run that has no student alone.
    """

    run: str | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    why: str = ""

    def record(self) -> dict[str, Any] | None:
        """As `run.json` keeps it; None without a gain."""
        return {"run": self.run, "accuracy": self.accuracy, "macro_f1": self.macro_f1} if self.run else None


def gain_now(root: Path, result: Mapping[str, Any]) -> GainNow:
    """Looks the student alone up: the finished run of the same conditions at the same seed, by plain cross-entropy.

    In transfer alone it is the untrained network.
    A run whose losses were changed does not stand for it. Damaged neighbours are no answer and no error.

    Args:
        root: Folder of the runs.
        result: What a finished run's `run.json` says.
    """
    alone = alone_for(result)
    # What a teacher adds at test is no gain of the student's.
    if (
        result["conditions"].get("predicts")
        or result["method"] == alone
        or not (result["recipe"].get("student") and result.get("metrics"))
    ):
        return GainNow()
    near = []
    for other in _finished(root, alone, int(result["seed"])):
        unlike = _unlike(result["conditions"], other.conditions)
        if unlike:
            near.append(unlike)
        elif is_alone(other.result["recipe"]) and _is_proven(other):
            return _difference(result["metrics"], other)
    if not near:
        return GainNow(why=f"run {alone} with the same options to see it")
    # The run that comes nearest tells best what to do otherwise.
    keys = min(near, key=len)
    named = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
    return GainNow(why=f"{alone} was run under other conditions ({named}); run it with the same options to see it")


def gain_over_student_only(root: Path, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy and macro F1 above those of the student alone, as `run.json` keeps them; None where there is none."""
    return gain_now(root, result).record()


def _finished(root: Path, method: str, seed: int) -> Iterator[StoredRun]:
    name = json.dumps(method)
    for folder in sorted(path.name for path in Path(root).iterdir()) if Path(root).is_dir() else ():
        # Thousands of runs that each read all others would be more than a shared disk can bear. A name that was given
        # by hand tells nothing.
        named = _OF_A_RUN.search(folder)
        if named and (int(named[1]) != seed or not folder.startswith(f"{method}-")):
            continue
        path = Path(root) / folder / "run.json"
        try:
            # Hundreds of neighbours are read past in the time that it takes to parse a few.
            if name not in path.read_text(errors="replace"):
                continue
            run = stored_run(path.parent)
            if run.method == method and run.seed == seed and run.status == FINISHED:
                yield run
        except (KdbenchError, OSError):
            continue


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The conditions that differ; a library that only one of two runs uses is no difference."""
    keys = [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]
    of, other = (one.get("libraries") for one in (first, second))
    if "libraries" in keys and isinstance(of, Mapping) and isinstance(other, Mapping):
        keys.remove("libraries")
        keys += [f"libraries.{name}" for name in of if name in other and of[name] != other[name]]
    return keys


def _is_proven(run: StoredRun) -> bool:
    """Whether its predictions give its metrics."""
    try:
        tested(run)
    except DataError:
        return False
    return True


def _difference(metrics: Mapping[str, Any], alone: StoredRun) -> GainNow:
    accuracy, macro_f1 = (metrics[key] - alone.metrics[key] for key in ("accuracy", "macro_f1"))
    return GainNow(alone.folder.name, accuracy, macro_f1)
