"""Holds submissions to what they claim: scored again from their predictions, on the trials that the card names."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.board import private
from kdbench.board.entry import VERIFICATION, Entry, Predictions, content_id, load, place, read_bytes, read_json
from kdbench.board.picture import check_picture
from kdbench.board.schema import ENVIRONMENT, PICTURE, PREDICTIONS, RECIPE, RESULT, Metrics, Submission
from kdbench.board.tier import Tier, tier_of, verification
from kdbench.board.trials import Expected, card_of, expected
from kdbench.data.card import Card
from kdbench.data.protocol import rule_of
from kdbench.errors import DataError, KdbenchError
from kdbench.recipe import SEARCHED
from kdbench.results.metrics import over_shuffles
from kdbench.types import SENSORS
from kdbench.wording import counted

TOLERANCE = 1e-6
"""The largest difference between a claimed metric and the one that the predictions give."""
MIN_SEEDS = 3
HONEST = ("last", "best-val")
"""The rules that choose an epoch without a look at the test part."""
_MOST_SHUFFLES = 100
_LONGEST = 400
_HASH = re.compile(r"[0-9a-f]{40,}")
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
    from sklearn import config_context

    # What sklearn would check again at every seed of every submission is checked already.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        checked = [check(folder) for folder in folders]
    claimed: dict[str, list[Path]] = defaultdict(list)
    for each in checked:
        if each.entry is not None:
            claimed[cell_of(each.entry.result)].append(each.folder)
    shared = {path: paths for paths in claimed.values() if len(paths) > 1 for path in paths}
    return [_also_claimed(each, shared[each.folder]) if each.folder in shared else each for each in checked]


def check(folder: Path) -> Checked:
    """Checks one submission."""
    try:
        entry = load(folder)
    except KdbenchError as error:
        return Checked(folder, None, (_printable(error.message),), Tier.REPORTED)
    problems = [line for part in _OF_THE_FILES for line in _caught(part, entry)]
    known: Expected | None = None
    try:
        result = entry.result
        card = card_of(result.dataset, entry.options)
        known = expected(result.dataset, result.protocol, entry.options)
        problems += _caught(lambda each: _card(each, card), entry)
        problems += _caught(lambda each: _scores(each, known), entry)
    except KdbenchError as error:
        problems.append(error.message)
    scored = known is not None and not problems
    # Several parts read the same file, and say the same of one that is missing.
    return Checked(folder, entry, tuple(map(_printable, dict.fromkeys(problems))), tier_of(entry, scored))


def cell_of(result: Submission) -> str:
    """What no two submissions may both claim: method, recipe and conditions, as comparable text."""
    recipe = result.files.get(RECIPE)
    plugins = [plugin.model_dump() for plugin in result.plugins]
    return json.dumps([result.method, result.conditions, plugins, recipe], sort_keys=True)


def problems_of(folder: Path) -> tuple[str, ...]:
    """Everything that is wrong with one submission."""
    return check(folder).problems


def differences(one: Any, other: Any, key: str = "", *, most: int | None = _DIFFERENCES) -> list[str]:
    """Where two values of plain data differ, as `key: this, that`, or with `most` the first few of them."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = list(dict.fromkeys([*one, *other]))
        found = [differences(one.get(k), other.get(k), f"{key}.{k}" if key else str(k), most=most) for k in keys]
        return [line for lines in found for line in lines][:most]
    if one == other:
        return []
    return [f"{key}: {_short(one)}, {_short(other)}" if key else f"{_short(one)}, {_short(other)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str) and _HASH.fullmatch(value):
        return f"{value[:8]}…"
    return text if len(text) < 60 else f"{text[:57]}…"


def _caught(part: Callable[[Entry], Iterable[str]], entry: Entry) -> list[str]:
    try:
        return list(part(entry))
    except KdbenchError as error:
        return [error.message]


def _also_claimed(checked: Checked, paths: list[Path]) -> Checked:
    others = ", ".join(path.name for path in paths if path != checked.folder)
    problem = f"another submission claims the same cell (method, recipe and conditions): {others}; keep one"
    return Checked(checked.folder, checked.entry, (*checked.problems, problem), Tier.REPORTED)


def _printable(problem: str) -> str:
    """A problem as a terminal may show it, whatever names of the submission it repeats."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in problem)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def _identity(entry: Entry) -> Iterator[str]:
    result = entry.result
    true = content_id(read_json(entry.folder, RESULT))
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


def _files(entry: Entry) -> Iterator[str]:
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
                check_picture(data)
        except DataError as error:
            yield error.message
    present = {path.name for path in entry.folder.iterdir()}
    for name in sorted(present - {RESULT, VERIFICATION, *listed}):
        yield f"{name!r} is no file of this submission"


def _private(entry: Entry) -> Iterator[str]:
    held = {
        # But for the curves, which hold numbers alone, and most of the file.
        RESULT: entry.result.model_dump(mode="json", exclude={"seeds": {"__all__": {"claims": {"curves"}}}}),
        RECIPE: [entry.recipe.model_dump(mode="json"), entry.recipe.tuning and entry.recipe.tuning.model_dump()],
        ENVIRONMENT: read_json(entry.folder, ENVIRONMENT),
    }
    for found in private.paths_in(held):
        yield f"it tells a path of a machine: {found}"


def _environment(entry: Entry) -> Iterator[str]:
    if [each.seed for each in entry.environments] != [each.seed for each in entry.result.seeds]:
        yield f"{ENVIRONMENT} has not one entry for each seed"
        return
    for each in entry.environments:
        said = entry.result.conditions["libraries"]
        # An environment also names what the run did not use.
        if {name: each.libraries.get(name) for name in said} != said:
            yield f"seed {each.seed} ran with other libraries than its conditions say"


def _recipe(entry: Entry) -> Iterator[str]:
    result, recipe = entry.result, entry.recipe
    for key, said in (("method", recipe.name), ("summary", recipe.summary), ("source", recipe.source)):
        if said != getattr(result, key):
            yield f"{RECIPE} has the {key} {said!r}, and {RESULT} says {getattr(result, key)!r}"
    reported = recipe.reported
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
        "tuning": recipe.tuning_budget,
    }
    for key, value in wanted.items():
        if not _agree(value, result.conditions.get(key), searched=isinstance(result.conditions.get("tuning"), Mapping)):
            yield f"{RECIPE} and the conditions disagree on '{key}': {value}, {result.conditions.get(key)}"


def _card(entry: Entry, card: Card) -> Iterator[str]:
    """What the card knows of the conditions, whether it can name the trials or not."""
    result, reported = entry.result, entry.recipe.reported
    if card.class_names != result.classes:
        yield f"its classes are not those of the card of '{result.dataset}'"
    sensors, view = reported.modality == SENSORS, result.conditions["view"]
    if sensors and rule_of(card, result.protocol).sensors_leak:
        yield f"under protocol '{result.protocol}' the sensors of the test part are recordings that train: they leak"
    seen = list(reported.sensors or card.sensors) if sensors else [f"video:{view}"]
    if result.conditions["test_modalities"] != seen or (sensors and view is not None):
        yield f"its conditions say that it sees {result.conditions['test_modalities']}, and its recipe {seen}"


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
    needed = max(MIN_SEEDS, len(seeds))
    missing = [str(seed) for seed in range(needed) if seed not in seeds]
    if missing:
        yield f"seed {', '.join(missing)} is missing: every seed from 0 on is needed, at least {MIN_SEEDS}"
    elif seeds != list(range(needed)):
        yield f"its seeds are {seeds}, expected 0 to {needed - 1} in their order"


_OF_THE_FILES = (_identity, _files, _private, _environment, _recipe, _seeds, _record)


def _scores(entry: Entry, known: Expected | None) -> Iterator[str]:
    result, predictions = entry.result, entry.predictions
    said, whole = result.conditions.get("split"), result.conditions["selection"] == "last"
    if known is not None and whole and said != known.split:
        yield f"its trials were split otherwise than the card says: {said!r}, expected {known.split!r}"
    if predictions.logits.shape[1] != len(result.classes):
        classes = counted(len(result.classes), "class")
        yield f"{counted(predictions.logits.shape[1], 'logit')} a trial, expected one for each of {classes}"
        return
    stray = set(np.unique(predictions.seed).tolist()) - {each.seed for each in result.seeds}
    if stray:
        yield f"{PREDICTIONS} has predictions of seed {_some(stray)}, which has no result"
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
    if ((own.label < 0) | (own.label >= own.logits.shape[1])).any():
        yield "a label is of no class"
    shuffles = np.unique(own.shuffle)
    if len(shuffles) > _MOST_SHUFFLES:
        yield f"the test part was seen in {counted(len(shuffles), 'order')}, expected at most {_MOST_SHUFFLES}"
        return
    for shuffle in shuffles:
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


def _some(found: Iterable[Any]) -> str:
    names = sorted(set(map(str, found)))
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
