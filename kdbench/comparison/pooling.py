"""Folds of a data set in one table: the runs of one recipe and seed under several protocols, read as one run.

What is assumed. Each fold has its own test subjects and its own networks, trained on other subjects with other initial
weights: the score of a row at a seed is the mean over the trials of all folds. A seed of the pooled row is therefore a
tuple of independent trainings, one per fold, which have no more in common than the seed's number; such tuples are drawn
anew with each seed, so the spread of the pooled score over seeds is what other trainings would add to it, and nothing
about the statistics changes (`kdbench.statistics.spread`). Pairs stay paired: at a seed both methods of a pair see the
same order of the same trials in each fold.

The training parts are given. Of these subjects, the statement is about other trials of theirs and other seeds, with the
networks of their own fold. Of new subjects it is about people who are tested by the networks of either fold in equal
shares; subjects of one fold are tested by the same networks, and what these have in common is part of the spread over
subjects as well as of that over seeds, which makes intervals wider rather than narrower. That each fold's subjects
train the other fold's networks is not seen as chance. Coverage was measured for two folds of four subjects
(`benchmarks/interval_coverage.py`, "pooled folds").
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench.errors import DataError, UsageError, unknown
from kdbench.evaluation.metrics import over_shuffles
from kdbench.recipes.changes import merge, nested
from kdbench.recipes.schema import SEARCHED
from kdbench.runs.overview import WORDS
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun
from kdbench.text.wording import counted

if TYPE_CHECKING:
    import pandas as pd

JOIN = " + "
"""Between the names of the protocols that a table pools."""
_Place = tuple[str, str, int]
"""Data set, protocol and seed."""
_OF_A_FOLD = ("protocol", "split")
_SUMS = ("train_seconds", "teacher_seconds")
_LARGEST = ("peak_memory_bytes",)


@dataclass(frozen=True)
class PooledRun(StoredRun):
    """One recipe at one seed, under several protocols.

    Attributes:
        folds: A run for each protocol that has one, in the order of the protocols.
    """

    folds: tuple[StoredRun, ...] = ()

    @property
    def parts(self) -> tuple[StoredRun, ...]:
        """The trainings that it reports: one per fold."""
        return self.folds


def protocols_of(conditions: Mapping[str, Any]) -> list[str]:
    """The protocols that a table's conditions name: one, or those that are pooled."""
    return str(conditions["protocol"]).split(JOIN)


def pooled(runs: Iterable[StoredRun], protocols: Sequence[str]) -> list[StoredRun]:
    """The runs of several protocols as runs of one, which is called `A + B`.

    A run under one protocol meets those of the same recipe, seed and conditions under the others; a condition that
    depends on the fold is none. Where a fold is missing or not finished, what comes out is no finished run, and its
    status says which.

    Args:
        runs: Runs of any state.
        protocols: Two or more.

    Raises:
        UsageError: A protocol twice, alone or without a run; two whose test parts have trials in common.
    """
    runs = list(runs)
    _check_names(protocols, {str(run.result["protocol"]) for run in runs})
    cells: dict[str, dict[str, StoredRun]] = {}
    splits: dict[_Place, Any] = {}
    for run in runs:
        if run.result["protocol"] not in protocols:
            continue
        by_protocol, protocol = cells.setdefault(_cell(run), {}), str(run.result["protocol"])
        splits.setdefault((str(run.result["dataset"]), protocol, run.seed), run.conditions.get("split"))
        # Where one of two equal runs is finished, it stands for both.
        held = by_protocol.setdefault(protocol, run)
        _refuse_two_searches(held, run)
        if held.status != FINISHED:
            by_protocol[protocol] = run
    seen: dict[str, dict[str, set[str]]] = {}
    return [_joined(by_protocol, protocols, splits, seen) for by_protocol in cells.values()]


def _check_names(protocols: Sequence[str], known: set[str]) -> None:
    hint = "Name each fold once: --pool cross_subject --pool cross_subject_swapped"
    if len(protocols) < 2:
        raise UsageError(f"--pool {' '.join(protocols)}: one protocol is a table of its own", hint=hint)
    for name in protocols:
        if protocols.count(name) > 1:
            raise UsageError(f"--pool names the protocol '{name}' twice: its trials would count twice", hint=hint)
        if name not in known:
            raise unknown("protocol among these runs", name, known, hint="Run its methods first.")


def _cell(run: StoredRun) -> str:
    """What the runs of one recipe and seed have in common, whatever their fold.

    Where each fold has its own search, under one budget over one space, the folds have unlike settings.
    """
    recipe = _without_choices(run.result["recipe"])
    conditions = {key: value for key, value in run.conditions.items() if key not in _OF_A_FOLD}
    return json.dumps([run.title, run.seed, recipe, conditions], sort_keys=True, default=str)


def _without_choices(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without its words, and without what a search chose for one protocol."""
    kept = {key: value for key, value in recipe.items() if key not in WORDS}
    if not kept.get("tuning"):
        return kept
    tuning = kept["tuning"]
    under = {key: value for key, value in (tuning.get("under") or {}).items() if key != "protocol"}
    kept["tuning"] = {key: tuning.get(key) for key in ("budget", "space")} | {"under": under}
    return merge(kept, nested(dict.fromkeys(tuning["space"], SEARCHED)))


def _refuse_two_searches(one: StoredRun, other: StoredRun) -> None:
    """Two searches for one fold: which of them belongs to the other fold's, nobody can know.

    Raises:
        UsageError: They are.
    """
    mine, theirs = (run.result["recipe"].get("tuning") or {} for run in (one, other))
    if mine != theirs:
        raise UsageError(
            f"two searches tuned '{one.title}' under '{one.result['protocol']}': '{mine['study']}' and "
            f"'{theirs['study']}'; nothing says which of them is pooled",
            hint=f"Compare folders that hold one of them, or leave one out, such as {other.folder.name}",
        )


def _joined(
    by_protocol: Mapping[str, StoredRun],
    protocols: Sequence[str],
    splits: Mapping[_Place, Any],
    seen: dict[str, dict[str, set[str]]],
) -> PooledRun:
    name = JOIN.join(protocols)
    folds = tuple(by_protocol[fold_name] for fold_name in protocols if fold_name in by_protocol)
    first = folds[0]
    # A fold that is missing is cut as other rows' is, so that the cell stays in their table.
    dataset, seed = str(first.result["dataset"]), first.seed
    known = {fold_name: splits.get((dataset, fold_name, seed)) for fold_name in protocols}
    cut = known | {fold_name: run.conditions.get("split") for fold_name, run in by_protocol.items()}
    result = dict(first.result) | {
        "protocol": name,
        "name": first.name if len({fold.name for fold in folds}) == 1 else None,
        "conditions": dict(first.conditions)
        | {"protocol": name, "split": JOIN.join(str(cut[fold_name]) for fold_name in protocols)},
        "status": FINISHED,
        "teacher": _teacher([fold.result.get("teacher") for fold in folds]),
        "teachers": _teachers([fold.result.get("teachers") or {} for fold in folds]),
        "cost": _cost([fold.result.get("cost") for fold in folds]),
    }
    lacking = [
        f"{by_protocol[fold_name].status if fold_name in by_protocol else 'not run'} under {fold_name}"
        for fold_name in protocols
        if fold_name not in by_protocol or by_protocol[fold_name].status != FINISHED
    ]
    joined = PooledRun(first.folder, result, folds=folds)
    if not lacking:
        try:
            tables = [_checked(fold) for fold in folds]
            result["metrics"] = _metrics(tables, first.metrics)
        except DataError as error:
            lacking = [error.message]
        else:
            _check_apart(dataset, dict(zip(protocols, tables, strict=True)), seen)
    if lacking:
        result |= {"status": "; ".join(lacking), "metrics": None}
    return joined


def _checked(fold: StoredRun) -> pd.DataFrame:
    """The predictions of a fold, which are the file that its run wrote."""
    fold.file("predictions.parquet")
    return fold.predictions()


def _check_apart(dataset: str, parts: Mapping[str, pd.DataFrame], seen: dict[str, dict[str, set[str]]]) -> None:
    """Folds have no test trial in common, or it would count twice.

    Raises:
        UsageError: They have.
    """
    known = seen.setdefault(dataset, {})
    for protocol, table in parts.items():
        trials = set(table["trial"].astype(str))
        for other, theirs in known.items():
            if other != protocol and (common := trials & theirs):
                raise UsageError(
                    f"the protocols '{other}' and '{protocol}' of '{dataset}' test {counted(len(common), 'trial')} in "
                    f"common, such as {min(common)}: they are no folds of one test",
                    hint="Pool protocols whose test parts share nothing.",
                )
        known.setdefault(protocol, trials)


def _metrics(tables: Sequence[pd.DataFrame], like: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics over the trials of all folds; a shuffle of the whole is a shuffle of each.

    Raises:
        DataError: The folds have unlike numbers of shuffles.
    """
    if len({table["shuffle"].nunique() for table in tables}) > 1:
        raise DataError("its folds were evaluated in unlike numbers of shuffles", hint="Train one of them again.")
    import pandas as pd

    table = pd.concat(tables, ignore_index=True).sort_values(["shuffle", "trial"])
    shuffles, classes = table["shuffle"].nunique(), list(like["per_class_recall"])
    logits = table[[f"logit_{k}" for k in range(len(classes))]].to_numpy()
    labels = table["label"].to_numpy()[: len(table) // shuffles]
    return over_shuffles(logits.reshape(shuffles, -1, len(classes)), labels, classes)


def _teacher(teachers: Sequence[Any]) -> dict[str, Any] | None:
    """The mean of the folds' teachers; None where one has none."""
    if not all(isinstance(one, Mapping) for one in teachers):
        return None
    mean = {"accuracy": statistics.fmean(float(one["accuracy"]) for one in teachers)}
    return mean | ({"leaks": True} if any(one.get("leaks") for one in teachers) else {})


def _teachers(by_fold: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The mean of each of several teachers, of those that every fold has."""
    means = {name: _teacher([teachers.get(name) for teachers in by_fold]) for name in by_fold[0]}
    return {name: mean for name, mean in means.items() if mean is not None}


def _cost(costs: Sequence[Any]) -> dict[str, float | None]:
    """Both trainings together where seconds are added up, the largest memory, and the mean of all else."""
    if not all(isinstance(one, Mapping) for one in costs):
        return {}
    joined: dict[str, float | None] = {}
    for key in costs[0]:
        values = [one.get(key) for one in costs]
        known = [float(value) for value in values if value is not None]
        if len(known) < len(values):
            joined[key] = None
        else:
            joined[key] = sum(known) if key in _SUMS else max(known) if key in _LARGEST else statistics.fmean(known)
    return joined
