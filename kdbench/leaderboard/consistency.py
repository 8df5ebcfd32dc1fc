"""Holds what a submission says in one place to what it says in another, to its files, and to the data set's card."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdbench.data.card import Card
from kdbench.data.splits import rule_of
from kdbench.errors import DataError
from kdbench.leaderboard import redaction
from kdbench.leaderboard.allowed import check_names
from kdbench.leaderboard.claims import check_claims
from kdbench.leaderboard.entry import BoardEntry, id_of, place
from kdbench.leaderboard.files import VERIFICATION, read_bytes, read_json
from kdbench.leaderboard.picture import plain
from kdbench.leaderboard.schema import ENVIRONMENT, PICTURE, PREDICTIONS, RECIPE, RESULT
from kdbench.leaderboard.tier import verification
from kdbench.leaderboard.track import check_track
from kdbench.leaderboard.trials import ExpectedTrials
from kdbench.recipes.schema import PRESETS, SEARCHED
from kdbench.types import SENSORS, VIDEO

MIN_SEEDS = 3
HONEST = ("last", "best-val")
"""The rules that choose an epoch without a look at the test part."""
CONDITIONS = {
    "plugins",
    "dataset",
    "version",
    "fingerprint",
    "packed",
    "view",
    "protocol",
    "split",
    "preset",
    "part",
    "selection",
    "track",
    "data",
    "representation",
    "encoder",
    "pooling",
    "branches",
    "fusion",
    "head",
    "sources",
    "teacher_weights",
    "weights",
    "train",
    "augment",
    "precision",
    "compile",
    "test_modalities",
    "predicts",
    "tuning",
    "tuned_under",
    "libraries",
    "device",
    "threads",
    "processes",
}
"""Every condition that a run writes; one that somebody makes up would open a table of its own."""
_NAMED = {"kdbench", "torch"}
"""Libraries that every run uses."""
_SHOWN = 10


def _identity(entry: BoardEntry) -> Iterator[str]:
    result = entry.result
    true = id_of(entry.sha256)
    if true != result.id:
        yield f"{RESULT} was edited: its content has the id {true}, and it says {result.id}"
    wanted = place(result).parts
    if tuple(entry.folder.absolute().parts[-4:]) != wanted:
        yield f"it lies in the wrong folder, expected …/{'/'.join(wanted)}"
    for key in ("dataset", "protocol", "preset"):
        if result.conditions[key] != getattr(result, key):
            yield f"{key} is {getattr(result, key)!r}, and its conditions say {result.conditions[key]!r}"
    if result.conditions["part"] != "test":
        yield f"its conditions report the part {result.conditions['part']!r}, expected 'test'"
    if result.conditions["selection"] not in HONEST:
        yield f"its epochs were chosen by {result.conditions['selection']!r}, expected {' or '.join(HONEST)}"
    if made_up := sorted(set(result.conditions) - CONDITIONS):
        yield f"its conditions hold {', '.join(map(repr, made_up[:_SHOWN]))}, which no run writes"
    if result.preset not in PRESETS:
        yield f"its preset is {result.preset!r}, expected {', '.join(PRESETS)}"


def _files(entry: BoardEntry) -> Iterator[str]:
    listed = entry.result.files
    for name in (PREDICTIONS, RECIPE, ENVIRONMENT):
        if name not in listed:
            yield f"{RESULT} does not list {name}"
    for name, sha256 in listed.items():
        try:
            data = read_bytes(entry.folder, name)
            if hashlib.sha256(data).hexdigest() != sha256:
                yield f"{name} was edited: its hash is not the one in {RESULT}"
            if name == PICTURE:
                plain(data)
        except DataError as error:
            yield error.message
    stray = sorted({path.name for path in entry.folder.iterdir()} - {RESULT, VERIFICATION, *listed})
    # What a write that was killed left is removed by the next one.
    stray = [name for name in stray if not (name.startswith(f".{VERIFICATION}.") and name.endswith(".tmp"))]
    yield from (f"{name!r} is not a file of this submission" for name in stray[:_SHOWN])
    if len(stray) > _SHOWN:
        yield f"{len(stray) - _SHOWN} more files are not of this submission"


def _private(entry: BoardEntry) -> Iterator[str]:
    published = {
        # But for the curves, which hold numbers alone, and most of the file.
        RESULT: entry.result.model_dump(mode="json", exclude={"seeds": {"__all__": {"claims": {"curves"}}}}),
        RECIPE: [entry.recipe.model_dump(mode="json"), entry.recipe.tuning and entry.recipe.tuning.model_dump()],
        ENVIRONMENT: read_json(entry.folder, ENVIRONMENT),
    }
    for where in redaction.paths_in(published):
        yield f"it tells a path of a machine: {where}"


def _environment(entry: BoardEntry) -> Iterator[str]:
    if [environment.seed for environment in entry.environments] != [
        environment.seed for environment in entry.result.seeds
    ]:
        yield f"{ENVIRONMENT} has not one entry for each seed"
        return
    conditions = entry.result.conditions
    for environment in entry.environments:
        versions = conditions["libraries"]
        # An environment also names what the run did not use.
        if not set(versions) >= _NAMED or {name: environment.libraries.get(name) for name in versions} != versions:
            yield f"seed {environment.seed} ran with other libraries than its conditions say"
    kinds = {environment.seed: environment.device.partition(":")[0] for environment in entry.environments}
    yield from _one_value("on the device", kinds, conditions.get("device"))
    threads = {
        environment.seed: environment.threads for environment in entry.environments if kinds[environment.seed] == "cpu"
    }
    yield from _one_value("with the number of threads", threads, conditions.get("threads"))


def _one_value(what: str, by_seed: Mapping[int, Any], claimed: Any) -> Iterator[str]:
    """Seeds that ran otherwise than one another, or than the conditions say, come to other numbers."""
    # Without any seed, the claim stands for itself.
    first, *rest = by_seed.items() or [(0, claimed)]
    other = next((item for item in rest if item[1] != first[1]), None)
    if other is not None:
        yield f"seed {first[0]} ran {what} {first[1]} and seed {other[0]} {what} {other[1]}: their numbers do not mix"
    elif claimed is not None and str(first[1]) != str(claimed).partition(":")[0]:
        yield f"seed {first[0]} ran {what} {first[1]}, and its conditions say {claimed}"


def _recipe(entry: BoardEntry) -> Iterator[str]:
    result, recipe = entry.result, entry.recipe
    for key, written in (("method", recipe.name), ("summary", recipe.summary), ("source", recipe.source)):
        if written != getattr(result, key):
            yield f"{RECIPE} has the {key} {written!r}, and {RESULT} says {getattr(result, key)!r}"
    reported = recipe.reported
    wanted: Mapping[str, Any] = {
        "selection": recipe.selection.rule,
        "part": recipe.selection.part,
        "data": recipe.data.model_dump(mode="json"),
        **reported.architecture(),
        "train": reported.train.model_dump(mode="json"),
        "augment": reported.augment.model_dump(mode="json"),
        "precision": recipe.precision,
        "compile": recipe.compile,
        "tuning": recipe.tuning_budget,
        "track": None if recipe.track.is_whole else recipe.track.model_dump(mode="json"),
        "predicts": recipe.predicts,
    }
    for key, value in wanted.items():
        if not _agree(value, result.conditions.get(key), _searched(entry, key)):
            yield f"{RECIPE} and the conditions disagree on '{key}': {value}, {result.conditions.get(key)}"
    yield from _tuned(entry)


def _searched(entry: BoardEntry, key: str) -> set[str]:
    """Settings of a condition that a search chose, so that each method may have its own."""
    tuning, role = entry.recipe.tuning, "student" if entry.recipe.student else "teacher"
    prefix = f"{role}.{key}."
    return {name.removeprefix(prefix) for name in tuning.space if name.startswith(prefix)} if tuning else set()


def _tuned(entry: BoardEntry) -> Iterator[str]:
    """The settings that a search is said to have chosen are those of the recipe."""
    tuning = entry.recipe.tuning
    if tuning is None:
        return
    settings = entry.recipe.model_dump(mode="json")
    for path, value in tuning.best.items():
        current: Any = settings
        for name in path.split("."):
            current = current.get(name) if isinstance(current, Mapping) else None
        if path not in tuning.space:
            yield f"its search says that it chose {path!r}, which is not in what it searched"
        # A weight that was searched under a schedule is the one that it leads to.
        elif current != value and not (isinstance(current, Mapping) and current.get("to") == value):
            yield f"its search chose {path} = {value}, and {RECIPE} has {current}"


def check_card(entry: BoardEntry, card: Card, known: ExpectedTrials | None) -> Iterator[str]:
    """What the card knows of the conditions, whether it can name the trials or not, as problems.

    Args:
        entry: The submission.
        card: Its data set's.
        known: The test trials; None where the card cannot tell.
    """
    result, recipe = entry.result, entry.recipe
    conditions = result.conditions
    if known is not None and conditions.get("version") != card.version:
        yield f"its conditions say version {conditions.get('version')!r} of the data set, and the card {card.version!r}"
    if not re.fullmatch(r"[0-9a-f]{64}", str(conditions.get("fingerprint"))):
        yield f"its conditions give the data the fingerprint {conditions.get('fingerprint')!r}, which is not a sha256"
    if known is not None:
        right = known.split if conditions["selection"] == "last" else known.split_at_seed_0
        if right is not None and conditions.get("split") != right:
            claimed = conditions.get("split")
            yield f"its trials were split otherwise than the card says: {claimed!r}, expected {right!r}"
    if card.class_names != result.classes:
        yield f"its classes are not those of the card of '{result.dataset}'"
    sees_video, view = any(spec.shows(VIDEO) for spec in recipe.asked), result.conditions["view"]
    if any(spec.shows(SENSORS) for spec in recipe.asked) and rule_of(card, result.protocol).sensors_leak:
        yield f"under protocol '{result.protocol}' the sensors of the test part are recordings that train: they leak"
    if known is not None and sees_video and view not in card.views:
        yield f"it sees the view {view!r}, and the card knows {', '.join(card.views)}"
    shown = [name for name in recipe.shown(card.sensors) if name not in recipe.without]
    named = (f"{VIDEO}:{view}" if name == VIDEO else name for name in shown)
    seen = list(dict.fromkeys(named))
    if result.conditions["test_modalities"] != seen or (view is not None and not sees_video):
        yield f"its conditions say that it sees {result.conditions['test_modalities']}, and its recipe {seen}"


def _record(entry: BoardEntry) -> Iterator[str]:
    # A record that is wrong raises, which counts as a problem.
    verification(entry)
    yield from ()


def _agree(value: Any, condition: Any, searched: set[str]) -> bool:
    """Whether a condition is the recipe's value; a setting that was searched may say that each method chose its own."""
    if searched and isinstance(value, Mapping) and isinstance(condition, Mapping) and set(value) == set(condition):
        return all(condition[key] == value[key] or (key in searched and condition[key] == SEARCHED) for key in value)
    return bool(condition == value)


def _seeds(entry: BoardEntry) -> Iterator[str]:
    seeds = [trained.seed for trained in entry.result.seeds]
    needed = max(MIN_SEEDS, len(seeds))
    missing = [str(seed) for seed in range(needed) if seed not in seeds]
    if missing:
        yield f"seed {', '.join(missing)} is missing: every seed from 0 on is needed, at least {MIN_SEEDS}"
    elif seeds != list(range(needed)):
        yield f"its seeds are {seeds}, expected 0 to {needed - 1} in their order"


FILE_CHECKS = (
    _identity,
    _files,
    _private,
    _environment,
    _recipe,
    check_names,
    check_claims,
    check_track,
    _seeds,
    _record,
)
"""What can be checked without knowing the data set; each yields problems."""
