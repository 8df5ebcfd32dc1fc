"""Names of a table's rows: a run's own name or its method, and what sets recipes of one name apart."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from kdbench.comparison.conditions import NOT_RECORDED, Flat, is_below, shown
from kdbench.recipes.changes import PHASES
from kdbench.runs.overview import TRACK, WORDS, base_of, differing, settings_text
from kdbench.runs.store import StoredRun

_MOST_SETTINGS = 3
"""Settings that a row's name holds at most."""


def row_names(part: Sequence[tuple[StoredRun, Flat]], across: Sequence[str]) -> tuple[dict[int, str], dict[str, Any]]:
    """The row of each run, by the run's `id`, and what no row needs to say, since all recipes of the table have it.

    A row is of one recipe. It is called by the name that all its runs were given, else by its method, with what it has
    otherwise than the recipe that kdbench ships in square brackets: `sgm_ft` and `sgm_ft [st.weight=0.5]`; without what
    several recipes of the table have otherwise, and none that uses it does not, such as fewer epochs. A teacher that is
    not the method's own stands behind it: `sgm_ft + raw_ft`. Conditions that a table goes across stand in round
    brackets: `sgm_ft (precision=bf16)`.

    Args:
        part: Runs of one table, with their conditions.
        across: Conditions that may differ within the table.

    Returns:
        The rows; and the shared settings by dotted key, of a single recipe those of the data alone.
    """
    variants = _by_recipe([run for run, _ in part])
    shared = _shared(variants)
    conditions = {id(run): recipes for run, recipes in part}
    labels: dict[str, list[list[StoredRun]]] = defaultdict(list)
    for runs in variants:
        labels[_label(runs)].append(runs)
    rows: list[tuple[str, list[StoredRun], dict[int, str]]] = []
    for label, recipes in labels.items():
        named = _named(label, [runs[0] for runs in recipes], shared)
        crossed = _crossed([(run, conditions[id(run)]) for runs in recipes for run in runs], across)
        rows += [(name, runs, crossed) for name, runs in zip(named, recipes, strict=True)]
    # A name that a user gave may be what another recipe is called by its settings.
    count = Counter(name for name, _, _ in rows)
    names = {
        id(run): (name if count[name] == 1 else _marked(name, runs[0])) + crossed[id(run)]
        for name, runs, crossed in rows
        for run in runs
    }
    return names, shared


def name_notes(rows: Mapping[str, Mapping[int, StoredRun]]) -> list[str]:
    """What a table says of names that the user gave: what named rows are, and which seeds alone have a name.

    Args:
        rows: Row → seed → run.
    """
    behind, partly = [], []
    for row, runs in sorted(rows.items()):
        first = next(iter(runs.values()))
        if first.name and row.startswith(first.name):
            settings = _unlike_shipped(first)
            behind.append(f"{row} is {first.method_label}" + (f" [{short_text(settings)}]" if settings else ""))
        if len({run.name for run in runs.values()}) > 1:
            named = ", ".join(f"seed {seed} is named '{run.name}'" for seed, run in sorted(runs.items()) if run.name)
            partly.append(f"{row}: {named}; a row is called by a name that all its seeds have")
    return ["; ".join(behind)] * bool(behind) + partly


def _shared(variants: Sequence[Sequence[StoredRun]]) -> dict[str, Any]:
    firsts = [runs[0] for runs in variants]
    # What a search chose is no part of a name.
    unlike = [(run, _unlike_shipped(run)) for run in firsts if not run.result.get("tuning")]
    settings = {key: value for _, own in unlike for key, value in own.items()}
    users = {key: [own for run, own in unlike if _uses(run.result["recipe"], key)] for key in settings}
    return {
        key: value
        for key, value in settings.items()
        # The data are a condition, which every table has one of.
        if (len(users[key]) > 1 or key.startswith("data.")) and all((key, value) in own.items() for own in users[key])
    }


def _uses(recipe: Mapping[str, Any], key: str) -> bool:
    """Whether a setting is about something that a recipe has: its teacher or its student, and their training."""
    phase, _, rest = key.partition(".")
    if phase not in PHASES:
        return True
    spec = recipe.get(phase)
    return spec is not None and not (spec.get("weights") and rest.split(".")[0] in ("train", "augment"))


def _unlike_shipped(run: StoredRun) -> dict[str, Any]:
    base = None if run.result.get("tuning") else base_of(run.result)
    return {} if base is None else dict(differing(run.result["recipe"], base))


def _label(runs: Sequence[StoredRun]) -> str:
    """The name that all runs of a recipe were given, else their method's with its teacher's."""
    return runs[0].label if len({run.label for run in runs}) == 1 else runs[0].method_label


def _by_recipe(runs: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """Parts runs by their recipes."""
    by_recipe: dict[str, list[StoredRun]] = {}
    for run in runs:
        by_recipe.setdefault(_written(run), []).append(run)
    return list(by_recipe.values())


def _written(run: StoredRun) -> str:
    # The track is a condition of the whole table.
    recipe = {key: value for key, value in run.result["recipe"].items() if key not in (*WORDS, TRACK)}
    return json.dumps([run.title, recipe], sort_keys=True)


def _named(label: str, variants: Sequence[StoredRun], shared: Mapping[str, Any]) -> list[str]:
    """A name for each recipe of one label, no two alike."""
    if not any(run.name == label or run.result.get("tuning") for run in variants):
        unlike = [_unlike_shipped(run) for run in variants]
        unlike = [{key: value for key, value in own.items() if (key, value) not in shared.items()} for own in unlike]
    else:
        unlike = [{} for _ in variants]
    if len(variants) > 1 and unlike.count({}) > 1:
        unlike = [_from_others(run, variants) for run in variants]
    named = [f"{label} [{short_text(settings)}]" if settings else label for settings in unlike]
    alike = {name for name in named if named.count(name) > 1}
    return [_marked(name, run) if name in alike else name for name, run in zip(named, variants, strict=True)]


def _from_others(run: StoredRun, variants: Iterable[StoredRun]) -> dict[str, Any]:
    """Its method where others have another, and the settings in which it differs from those of its own."""
    others = [other for other in variants if other is not run]
    if all(other.title != run.title for other in others):
        return {"method": run.title}
    method = {"method": run.title} if any(other.title != run.title for other in others) else {}
    recipes = (other.result["recipe"] for other in others if other.title == run.title)
    return method | {key: value for other in recipes for key, value in differing(run.result["recipe"], other)}


def short_text(settings: Mapping[str, Any]) -> str:
    """The first few settings, and how many more there are."""
    text = settings_text(dict(islice(settings.items(), _MOST_SETTINGS)))
    return text + (f" and {len(settings) - _MOST_SETTINGS} more" if len(settings) > _MOST_SETTINGS else "")


def _marked(name: str, run: StoredRun) -> str:
    digest = hashlib.sha256(_written(run).encode()).hexdigest()[:6]
    return f"{name[:-1]}, {digest}]" if name.endswith("]") else f"{name} [{digest}]"


def _crossed(part: Sequence[tuple[StoredRun, Flat]], across: Sequence[str]) -> dict[int, str]:
    """The crossed conditions beside a name that was run under several."""
    keys = [key for key in dict.fromkeys(key for _, conditions in part for key in conditions) if is_below(key, across)]
    varied = [key for key in keys if len({conditions.get(key, NOT_RECORDED) for _, conditions in part}) > 1]
    words = {
        id(run): ", ".join(f"{key}={shown(conditions.get(key, NOT_RECORDED))}" for key in varied)
        for run, conditions in part
    }
    return {of: f" ({text})" if text else "" for of, text in words.items()}
