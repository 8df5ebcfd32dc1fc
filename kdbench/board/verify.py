"""Holds submissions to what they claim: scored again from their predictions, on the trials that the card names."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.board import private
from kdbench.board.entry import (
    ENVIRONMENT,
    PICTURES,
    PREDICTIONS,
    RECIPE,
    RESULT,
    VERIFICATION,
    Entry,
    Predictions,
    content_id,
    load,
    place,
)
from kdbench.board.schema import Metrics
from kdbench.board.tier import Tier, tier_of, verification
from kdbench.board.trials import Expected, expected
from kdbench.errors import KdbenchError
from kdbench.results.files import read_json
from kdbench.results.metrics import over_shuffles

TOLERANCE = 1e-6
"""The largest difference between a claimed metric and the one that the predictions give."""
MIN_SEEDS = 3
SEARCHED = "searched"
"""What conditions say in the place of a setting that a search chose."""
_LISTED = 3
_DIFFERENCES = 4
_SCORES = ("accuracy", "macro_f1", "weighted_f1", "ece")


@dataclass(frozen=True)
class Checked:
    """What is known of one submission.

    Attributes:
        folder: Where it lies.
        entry: What it holds; None where `result.json` cannot be read.
        problems: Everything that is wrong; empty where it stands.
        tier: How far it is proven.
    """

    folder: Path
    entry: Entry | None
    problems: tuple[str, ...]
    tier: Tier


def verify(folders: Iterable[Path]) -> list[Checked]:
    """Checks submissions, each for itself and all of them for claims of the same cell.

    Args:
        folders: The submissions' folders.
    """
    checked = [check(folder) for folder in folders]
    claimed: dict[str, list[Path]] = defaultdict(list)
    for each in checked:
        if each.entry is not None:
            claimed[_cell(each.entry)].append(each.folder)
    shared = {path: paths for paths in claimed.values() if len(paths) > 1 for path in paths}
    return [_also_claimed(each, shared[each.folder]) if each.folder in shared else each for each in checked]


def check(folder: Path) -> Checked:
    """Checks one submission."""
    try:
        entry = load(folder)
    except KdbenchError as error:
        return Checked(folder, None, (error.message,), Tier.REPORTED)
    problems: list[str] = []
    known: Expected | None = None
    for part in (_identity, _files, _private, _recipe, _seeds, _record):
        problems += _caught(part, entry)
    try:
        result = entry.result
        options = (result.conditions.get("data") or {}).get("options") or {}
        known = expected(result.dataset, result.protocol, options)
    except (KdbenchError, AttributeError) as error:
        problems.append(str(error))
    problems += _caught(lambda each: _scores(each, known), entry)
    return Checked(folder, entry, tuple(problems), tier_of(entry, known is not None and not problems))


def problems_of(folder: Path) -> tuple[str, ...]:
    """Everything that is wrong with one submission."""
    return check(folder).problems


def differences(one: Any, other: Any, key: str = "") -> list[str]:
    """Where two values of plain data differ, as `key: this, that`."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = list(dict.fromkeys([*one, *other]))
        found = [differences(one.get(k), other.get(k), f"{key}.{k}" if key else str(k)) for k in keys]
        return [line for lines in found for line in lines][:_DIFFERENCES]
    if one == other:
        return []
    shown = [text if len(text := json.dumps(value, default=str)) < 60 else f"{text[:57]}…" for value in (one, other)]
    return [f"{key}: {shown[0]}, {shown[1]}" if key else f"{shown[0]}, {shown[1]}"]


def _caught(part: Callable[[Entry], Iterable[str]], entry: Entry) -> list[str]:
    try:
        return list(part(entry))
    except KdbenchError as error:
        return [error.message]


def _cell(entry: Entry) -> str:
    result = entry.result
    recipe = result.files.get(RECIPE)
    return json.dumps([result.method, result.conditions, result.plugins, recipe], sort_keys=True)


def _also_claimed(checked: Checked, paths: list[Path]) -> Checked:
    others = ", ".join(path.name for path in paths if path != checked.folder)
    problem = f"another submission claims the same cell (method, recipe and conditions): {others}; keep one"
    return Checked(checked.folder, checked.entry, (*checked.problems, problem), Tier.REPORTED)


def _identity(entry: Entry) -> Iterator[str]:
    result = entry.result
    true = content_id(read_json(entry.folder / RESULT))
    if true != result.id:
        yield f"{RESULT} was edited: its content has the id {true}, and it says {result.id}"
    wanted = place(result).parts
    if tuple(entry.folder.absolute().parts[-4:]) != wanted:
        yield f"it lies in the wrong folder, expected …/{'/'.join(wanted)}"
    for key in ("dataset", "protocol", "preset"):
        if result.conditions.get(key) != getattr(result, key):
            yield f"{key} is {getattr(result, key)!r}, and its conditions say {result.conditions.get(key)!r}"
    if result.conditions.get("part") != "test":
        yield f"its conditions report the part {result.conditions.get('part')!r}, expected 'test'"


def _files(entry: Entry) -> Iterator[str]:
    listed = entry.result.files
    for name in (PREDICTIONS, RECIPE, ENVIRONMENT):
        if name not in listed:
            yield f"{RESULT} does not list {name}"
    for name, sha256 in listed.items():
        path = entry.folder / name
        if name not in (PREDICTIONS, RECIPE, ENVIRONMENT, *PICTURES):
            yield f"{RESULT} lists {name!r}, which is no file of a submission"
        elif path.is_symlink() or not path.is_file():
            yield f"{name} is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{name} was edited: its hash is not the one in {RESULT}"
    present = {path.name for path in entry.folder.iterdir()}
    for name in sorted(present - {RESULT, VERIFICATION, *listed}):
        yield f"{name!r} is no file of this submission"


def _private(entry: Entry) -> Iterator[str]:
    environment = read_json(entry.folder / ENVIRONMENT)
    held = {
        RESULT: entry.result.model_dump(mode="json"),
        RECIPE: entry.recipe.model_dump(mode="json"),
        ENVIRONMENT: environment,
    }
    for found in private.paths_in(held):
        yield f"it tells a path of a machine: {found}"
    seeds = [each.get("seed") for each in environment] if isinstance(environment, list) else None
    if seeds != [each.seed for each in entry.result.seeds]:
        yield f"{ENVIRONMENT} has not one entry for each seed"
        return
    for each in environment:
        if each.get("libraries") != entry.result.conditions.get("libraries"):
            yield f"seed {each['seed']} ran with other libraries than its conditions say"


def _recipe(entry: Entry) -> Iterator[str]:
    result, recipe = entry.result, entry.recipe
    for key, said in (("method", recipe.name), ("summary", recipe.summary), ("source", recipe.source)):
        if said != getattr(result, key):
            yield f"{RECIPE} has the {key} {said!r}, and {RESULT} says {getattr(result, key)!r}"
    reported = recipe.student or recipe.teacher
    assert reported is not None
    wanted: Mapping[str, Any] = {
        "selection": recipe.selection.rule,
        "part": recipe.selection.part,
        "data": recipe.data.model_dump(mode="json"),
        "representation": reported.representation.model_dump(mode="json"),
        "encoder": reported.encoder.model_dump(mode="json"),
        "fusion": reported.fusion.model_dump(mode="json"),
        "train": reported.train.model_dump(mode="json"),
        "augment": reported.augment.model_dump(mode="json"),
        "precision": recipe.precision,
        "compile": recipe.compile,
    }
    for key, value in wanted.items():
        if not _agree(value, result.conditions.get(key), searched=isinstance(result.conditions.get("tuning"), Mapping)):
            yield f"{RECIPE} and the conditions disagree on '{key}': {value}, {result.conditions.get(key)}"


def _record(entry: Entry) -> Iterator[str]:
    verification(entry)
    yield from ()


def _agree(value: Any, condition: Any, *, searched: bool) -> bool:
    """Whether a condition is the recipe's value; under a search, a setting may say that each method chose its own."""
    if searched and isinstance(value, Mapping) and isinstance(condition, Mapping) and set(value) == set(condition):
        return all(condition[key] in (value[key], SEARCHED) for key in value)
    return condition == value


def _seeds(entry: Entry) -> Iterator[str]:
    seeds = [each.seed for each in entry.result.seeds]
    needed = range(max(MIN_SEEDS, max(seeds) + 1))
    missing = [str(seed) for seed in needed if seed not in seeds]
    if missing:
        yield f"seed {', '.join(missing)} is missing: every seed from 0 on is needed, at least {MIN_SEEDS}"
    if len(set(seeds)) < len(seeds):
        yield "a seed is there twice"


def _scores(entry: Entry, known: Expected | None) -> Iterator[str]:
    result, predictions = entry.result, entry.predictions
    if known is not None and known.classes != result.classes:
        yield f"its classes are not those of the card of '{result.dataset}'"
    said, whole = result.conditions.get("split"), result.conditions.get("selection") == "last"
    if known is not None and whole and said != known.split:
        yield f"its trials were split otherwise than the card says: {said!r}, expected {known.split!r}"
    if predictions.logits.shape[1] != len(result.classes):
        yield f"{predictions.logits.shape[1]} logits a trial, expected one for each of {len(result.classes)} classes"
        return
    stray = sorted({int(seed) for seed in np.unique(predictions.seed)} - {each.seed for each in result.seeds})
    if stray:
        yield f"{PREDICTIONS} has predictions of seed {', '.join(map(str, stray))}, which has no result"
    reference: dict[str, int] | None = dict(known.test) if known is not None else None
    for each in result.seeds:
        own = predictions.at(predictions.seed == each.seed)
        if not len(own.seed):
            yield f"seed {each.seed}: {PREDICTIONS} has no prediction of it"
            continue
        # Where the card cannot tell, all seeds have to agree on trials and labels.
        reference = reference or dict(zip(own.trial.tolist(), own.label.tolist(), strict=True))
        faults = list(_trials(own, reference, known)) or list(_metrics(own, each.metrics, result.classes))
        yield from (f"seed {each.seed}: {fault}" for fault in faults)


def _trials(own: Predictions, test: Mapping[str, int], known: Expected | None) -> Iterator[str]:
    bad = ~np.isfinite(own.logits).all(axis=1)
    if bad.any():
        yield f"a logit is not finite: {_some(own.trial[bad])}"
    for shuffle in np.unique(own.shuffle):
        rows = own.shuffle == shuffle
        trials, count = np.unique(own.trial[rows], return_counts=True)
        if (count > 1).any():
            yield f"trials are there twice: {_some(trials[count > 1])}"
        if missing := set(test) - set(trials.tolist()):
            yield f"test trials are missing: {_some(missing)}"
        extra = set(trials.tolist()) - set(test)
        leaked = extra & known.train if known is not None else set()
        if leaked:
            yield f"training trials leaked into the test part: {_some(leaked)}"
        if extra - leaked:
            yield f"trials that are no test trials: {_some(extra - leaked)}"
    pairs = zip(own.trial.tolist(), own.label.tolist(), strict=True)
    wrong = {trial for trial, label in pairs if trial in test and test[trial] != label}
    if wrong:
        yield f"labels differ from the card's: {_some(wrong)}"


def _some(trials: Iterable[str]) -> str:
    names = sorted(set(map(str, trials)))
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _metrics(own: Predictions, claimed: Metrics, classes: tuple[str, ...]) -> Iterator[str]:
    order = np.lexsort((own.trial, own.shuffle))
    shuffles = len(np.unique(own.shuffle))
    logits = own.logits[order].reshape(shuffles, -1, own.logits.shape[1])
    labels = own.label[order][: logits.shape[1]]
    true = {"shuffles": 1, **over_shuffles(logits, labels, classes)}
    for key in ("n", "shuffles"):
        if getattr(claimed, key) != true[key]:
            yield f"{key} is {getattr(claimed, key)}, and the predictions give {true[key]}"
    for key in _SCORES:
        if abs(getattr(claimed, key) - true[key]) > TOLERANCE:
            yield f"{key} is {getattr(claimed, key):.8f}, and the predictions give {true[key]:.8f}"
    recalls = true["per_class_recall"]
    if set(recalls) != set(claimed.per_class_recall):
        yield "per_class_recall has other classes"
        return
    for name, said in claimed.per_class_recall.items():
        if (said is None) != (recalls[name] is None) or abs((said or 0) - (recalls[name] or 0)) > TOLERANCE:
            yield f"the recall of '{name}' is {said}, and the predictions give {recalls[name]}"
