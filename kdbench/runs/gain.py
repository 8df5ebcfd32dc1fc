"""What a method gains over its student alone."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import DataError, KdbenchError
from kdbench.recipes.network_spec import RANDOM, NetworkSpec
from kdbench.recipes.pairs import pair_of, title_of
from kdbench.recipes.resolve import NO_TEACHER, PLAIN, STUDENTS_ALONE, student_alone_of
from kdbench.recipes.shipped import aliases, names
from kdbench.recipes.track import is_transfer_alone
from kdbench.registry import registry
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun, stored_run
from kdbench.runs.tested import tested
from kdbench.text.wording import some
from kdbench.types import SENSORS, VIDEO

SKELETON = "skeleton"
UNTRAINED = {VIDEO: "untrained", SENSORS: "untrained_sensor", SKELETON: "untrained_skeleton"}
"""The student as it was initialised, by what it sees: what transfer alone is measured against."""

BASELINES = (*STUDENTS_ALONE, *UNTRAINED.values())
"""The shipped methods that gains are over."""

_OF_A_RUN = re.compile(r"-s(\d+)-[0-9a-f]{10}\Z")
"""The end of the name that a run's folder is given, its seed and its hash; it begins with the method."""
_NAMED = 3
"""Conditions that are named at most."""


def alone_for(result: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """The method that a result is measured against, and `none` where it is the result's own without its teacher.

    It is the student alone, by plain cross-entropy; without labels, the untrained network. None for a result that is
    that itself, or that has no student.
    """
    recipe, conditions = result["recipe"], result["conditions"]
    if not recipe.get("student") or is_alone(recipe):
        return None
    if is_transfer_alone(conditions):
        sees_skeleton = conditions.get("test_modalities") == [SKELETON]
        kind = VIDEO if conditions["view"] is not None else SKELETON if sees_skeleton else SENSORS
        return UNTRAINED[kind], None
    try:
        return student_alone_of(pair_of(result)[0], result["preset"])
    except KdbenchError:
        # A recipe of one's own that lies elsewhere now, or that changed.
        return pair_of(result)[0], NO_TEACHER


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
    """Whether a recipe is what gains are over: a student alone by plain cross-entropy; without labels, not trained.

    One whose losses were changed does not stand for it.

    Args:
        recipe: As `run.json` holds it.
    """
    student = recipe.get("student")
    if recipe.get("teacher") is not None or recipe.get("teachers") or not isinstance(student, Mapping):
        return False
    if is_transfer_alone(recipe):
        return student.get("weights") == RANDOM
    return student.get("losses") == PLAIN and student.get("weights") != RANDOM


@dataclass(frozen=True)
class GainNow:
    """What a run gains over its student alone, by the folder of runs as it is now.

    Attributes:
        run: The folder's name of the student alone; None where there is none.
        over: What that run is called: its method, with `none` for the teacher that it lacks.
        accuracy: The gain, as a share; None without one.
        macro_f1: The same.
        why: Why there is none, in words; empty where there is one, and for a run that has no student alone.
    """

    run: str | None = None
    over: str = ""
    accuracy: float | None = None
    macro_f1: float | None = None
    why: str = ""

    def record(self) -> dict[str, Any] | None:
        """As `run.json` keeps it; None without a gain."""
        return {"run": self.run, "accuracy": self.accuracy, "macro_f1": self.macro_f1} if self.run else None


def _settings_of(budget: Mapping[str, Any]) -> str:
    """The options of `kdbench search` that give a budget."""
    options = {key: budget.get(key) for key in ("trials", "trial_seeds", "sampler", "pruner")}
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items() if value is not None)


def gain_now(root: Path, result: Mapping[str, Any]) -> GainNow:
    """Looks the student alone up: the finished run of the same conditions at the same seed, by plain cross-entropy.

    In transfer alone it is the untrained network.
    A run whose losses were changed does not stand for it. Damaged neighbours are no answer and no error.

    Args:
        root: Folder of the runs.
        result: What a finished run's `run.json` says.
    """
    recipe = result["recipe"]
    # What a teacher adds at test is no gain of the student's.
    if result["conditions"].get("predicts") or is_alone(recipe) or not (recipe.get("student") and result["metrics"]):
        return GainNow()
    near = []
    for other in _alone(root, result):
        unlike = _unlike(result["conditions"], other.conditions)
        if unlike:
            near.append((len(unlike), other.title, unlike))
        elif _is_proven(other):
            return _difference(result["metrics"], other)
    sought = alone_for(result)
    if sought is None:
        return GainNow()
    name, teacher = sought
    command = f"run {name} with the same options" if teacher is None else "run the same command with --teacher none"
    budget = (recipe.get("tuning") or {}).get("budget")
    if budget:
        command = f"tune {title_of(name, teacher)} under the same budget ({_settings_of(budget)})"
    # Another student alone says nothing of this one's, nor does one on other recordings.
    same = [entry for entry in near if entry[1] == title_of(name, teacher) and "dataset" not in entry[2]]
    if not same:
        return GainNow(why=f"{command} to see it")
    # The run that comes nearest tells best what to do otherwise.
    _, title, keys = min(same, key=lambda entry: entry[0])
    again = "run it with the same options" if teacher is None and not budget else command
    return GainNow(why=f"{title} was run under other conditions ({some(keys, _NAMED)}); {again} to see it")


def gain_over_student_only(root: Path, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy and macro F1 above those of the student alone, as `run.json` keeps them; None where there is none."""
    return gain_now(root, result).record()


@functools.cache
def _with_teachers() -> frozenset[str]:
    """How the folders of shipped methods begin that are no student alone."""
    methods = {*names(), *aliases()} - {*BASELINES}
    taught = {f"{method}_{teacher}" for method in names() for teacher in registry("teacher").names()}
    return frozenset(methods | taught)


def _alone(root: Path, result: Mapping[str, Any]) -> Iterator[StoredRun]:
    """The finished runs of a student alone at a result's seed, the shipped methods first."""
    recipe, seed = result["recipe"], int(result["seed"])
    found = []
    for folder in sorted(path.name for path in Path(root).iterdir()) if Path(root).is_dir() else ():
        # Thousands of runs that each read all others would be more than a shared disk can bear. A name that was given
        # by hand tells nothing.
        named = _OF_A_RUN.search(folder)
        if named and (int(named[1]) != seed or folder.partition("-")[0] in _with_teachers()):
            continue
        path = Path(root) / folder / "run.json"
        try:
            # Hundreds of neighbours are read past in the time that it takes to parse a few.
            if '"teacher": null' not in path.read_text(errors="replace"):
                continue
            run = stored_run(path.parent)
            mine = run.seed == seed and run.status == FINISHED and is_alone(run.result["recipe"])
            if mine and is_transfer_alone(run.result["recipe"]) == is_transfer_alone(recipe):
                found.append(run)
        except (KdbenchError, OSError):
            continue
    yield from sorted(found, key=lambda run: run.method not in BASELINES)


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The conditions that differ, between a method and a student alone.

    A library that only one of two runs uses is no difference, nor is what a track says of teachers, which the student
    alone has none of.
    """
    keys = [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]
    of, other = (one.get("libraries") for one in (first, second))
    if "libraries" in keys and isinstance(of, Mapping) and isinstance(other, Mapping):
        keys.remove("libraries")
        keys += [f"libraries.{name}" for name in of if name in other and of[name] != other[name]]
    tracks = [one.get("track") or {} for one in (first, second)]
    if "track" in keys and len({json.dumps(_of_students(track), sort_keys=True) for track in tracks}) == 1:
        keys.remove("track")
    return keys


def _of_students(track: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in track.items() if key not in ("teacher_labels", "teacher_steps")}


def _is_proven(run: StoredRun) -> bool:
    """Whether its predictions give its metrics."""
    try:
        tested(run)
    except DataError:
        return False
    return True


def _difference(metrics: Mapping[str, Any], alone: StoredRun) -> GainNow:
    accuracy, macro_f1 = (metrics[key] - alone.metrics[key] for key in ("accuracy", "macro_f1"))
    return GainNow(alone.folder.name, alone.title, accuracy, macro_f1)
