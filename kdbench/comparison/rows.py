"""Names of a table's rows: a run's own name or its method, and what sets recipes of one name apart."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from kdbench.comparison.conditions import NOT_RECORDED, Flat, is_below, shown
from kdbench.runs.overview import WORDS, differing, settings_text, shipped
from kdbench.runs.store import StoredRun

_MOST_SETTINGS = 3
"""Settings that a row's name holds at most."""


def row_names(part: Sequence[tuple[StoredRun, Flat]], across: Sequence[str]) -> dict[int, str]:
    """The row of each run, by the run's `id`.

    A row is of one recipe. Where recipes of one name differ, what differs stands in square brackets, except for the
    recipe that kdbench ships, or that differs from it only as all others do: it keeps the plain name, so that there
    are `sgm_ft` and `sgm_ft [st.weight=0.5]`. Conditions that a table goes across stand in round brackets:
    `sgm_ft (precision=bf16)`.

    Args:
        part: Runs of one table, with their conditions.
        across: Conditions that may differ within the table.
    """
    labels: dict[str, list[tuple[StoredRun, Flat]]] = defaultdict(list)
    for run, conditions in part:
        labels[run.label].append((run, conditions))
    names: dict[int, str] = {}
    for label, held in labels.items():
        variants = _by_recipe([run for run, _ in held])
        named = _named(label, [runs[0] for runs in variants])
        crossed = _crossed(held, across)
        for name, runs in zip(named, variants, strict=True):
            names |= {id(run): name + crossed[id(run)] for run in runs}
    return names


def _by_recipe(runs: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """Parts runs by their recipes."""
    first = runs[0].result["recipe"]
    if all(run.result["recipe"] == first for run in runs):
        return [list(runs)]
    found: dict[str, list[StoredRun]] = {}
    for run in runs:
        found.setdefault(_written(run), []).append(run)
    return list(found.values())


def _written(run: StoredRun) -> str:
    recipe = {key: value for key, value in run.result["recipe"].items() if key not in WORDS}
    return json.dumps([run.method, recipe], sort_keys=True)


def _named(label: str, variants: Sequence[StoredRun]) -> list[str]:
    """A name for each recipe of one label, no two alike."""
    if len(variants) == 1:
        return [label]
    base = shipped(variants[0].method, str(variants[0].result["preset"])) if variants[0].method == label else None
    unlike = [dict(differing(run.result["recipe"], base)) if base is not None else {} for run in variants]
    # What all have otherwise than the shipped one, such as fewer epochs, sets none of them apart.
    shared = {key: value for key, value in unlike[0].items() if all(each.get(key) == value for each in unlike[1:])}
    unlike = [{key: value for key, value in each.items() if key not in shared} for each in unlike]
    if base is None or all(unlike):
        unlike = [_from_others(run, variants) for run in variants]
    named = [f"{label} [{_words(settings)}]" if settings else label for settings in unlike]
    alike = {name for name in named if named.count(name) > 1}
    return [_marked(name, run) if name in alike else name for name, run in zip(named, variants, strict=True)]


def _from_others(run: StoredRun, variants: Iterable[StoredRun]) -> dict[str, Any]:
    """The settings in which a recipe differs from any other of its label."""
    others = [other for other in variants if other is not run]
    method = {"method": run.method} if any(other.method != run.method for other in others) else {}
    recipes = (other.result["recipe"] for other in others)
    return method | {key: value for other in recipes for key, value in differing(run.result["recipe"], other)}


def _words(settings: Mapping[str, Any]) -> str:
    text = settings_text(dict(islice(settings.items(), _MOST_SETTINGS)))
    return text + (f" and {len(settings) - _MOST_SETTINGS} more" if len(settings) > _MOST_SETTINGS else "")


def _marked(name: str, run: StoredRun) -> str:
    digest = hashlib.sha256(_written(run).encode()).hexdigest()[:6]
    return f"{name[:-1]}, {digest}]" if name.endswith("]") else f"{name} [{digest}]"


def _crossed(held: Sequence[tuple[StoredRun, Flat]], across: Sequence[str]) -> dict[int, str]:
    """The crossed conditions beside a name that was run under several."""
    keys = dict.fromkeys(key for _, conditions in held for key in conditions if is_below(key, across))
    varied = [key for key in keys if len({conditions.get(key, NOT_RECORDED) for _, conditions in held}) > 1]
    words = {
        id(run): ", ".join(f"{key}={shown(conditions.get(key, NOT_RECORDED))}" for key in varied)
        for run, conditions in held
    }
    return {of: f" ({text})" if text else "" for of, text in words.items()}
