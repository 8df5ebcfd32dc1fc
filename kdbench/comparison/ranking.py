"""Makes the table of a group: ranks its methods, tests its pairs, and says what each gain may be called."""

from __future__ import annotations

import hashlib
import json
import statistics as plain
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kdbench.comparison.conditions import is_below
from kdbench.comparison.controls import NOT_TOLD_APART, GainVerdict, better, control_of, lead, verdict_on
from kdbench.comparison.families import Family
from kdbench.comparison.groups import LIBRARIES, Group
from kdbench.comparison.rows import name_notes, short_text
from kdbench.comparison.scores import paired
from kdbench.comparison.systems import network_words
from kdbench.comparison.table import ORACLE, Gain, GroupTable, Measure, Row, teachers_of
from kdbench.evaluation.metrics import untested
from kdbench.recipes.track import is_transfer_alone
from kdbench.runs.condensed import Condensed, scores_of
from kdbench.runs.gain import BASELINES, alone_words, is_alone
from kdbench.runs.overview import TRACK
from kdbench.runs.store import StoredRun
from kdbench.statistics import METRICS, PairSummary, Scope, ScoreComparison, Scores, compare_scores
from kdbench.statistics.intervals import each, infer_t
from kdbench.text.wording import counted

COSTS = ("seconds_per_epoch", "train_seconds", "teacher_seconds", "peak_memory_bytes", "parameters", "flops")
LATENCY = "latency_ms"


def build_table(
    group: Group,
    results: dict[str, dict[int, Condensed]],
    subjects: np.ndarray,
    *,
    population: str,
    metric: str,
    way: str | None,
    family: Family,
    trained: bool = False,
) -> GroupTable:
    """Compares the methods of a group.

    Args:
        group: The group, its unusable runs set aside.
        results: Row → seed → predictions.
        subjects: Who performed each trial.
        population: Whom the statement is about, a value of `Scope`.
        metric: What pairs are compared by.
        way: How intervals of differences are made; by default `t`.
        family: Which pairs are tested.
        trained: Whether the subjects that test also train.

    Raises:
        UsageError: The scope or the way cannot be had with this data.
    """
    complete = list(group.complete)
    scope = Scope(population)
    compared: ScoreComparison | None = None
    against: ScoreComparison | None = None
    measures: dict[str, dict[str, Measure]] = {row: {} for row in complete}
    alike = _alike(group, complete)
    alone, controls = _alone(group, alike), _controls(group, alike)
    over: dict[str, str] = {}
    if complete:
        unsorted = paired(results, complete, subjects, metric)
        order = np.argsort(-unsorted.by_seed.mean(axis=1), kind="stable")
        complete = [complete[place] for place in order]
        over = family.over(group, complete, alone)
        scores = replace(unsorted, methods=tuple(complete), values=unsorted.values[order])
        pairs = family.pairs(complete, over)
        # One method has no pairs, whatever way they would be compared in.
        compared = compare_scores(scores, scope=scope, way=way if pairs else None, pairs=pairs)
        beside = _against_controls(group, controls, over, alone) if family.kind == "baseline" else []
        against = compare_scores(scores, scope=scope, way=way, pairs=beside) if beside else None
        for name in METRICS:
            of = scores if name == metric else paired(results, complete, subjects, name)
            for row, measure in zip(complete, _measures(of, scope), strict=True):
                measures[row][name] = measure
    company = _Company(group, compared, against, over, alone, controls)
    seeds = group.seeds
    rows = [_row(group, row, measures.get(row, {}), company, results.get(row, {}), seeds) for row in group.rows]
    # What is ranked comes first, then what has a result at some seed, each by its mean.
    rows.sort(key=lambda row: (not row.measures, not row.seeds, -_mean(row, metric), row.method))
    notes = list(_notes(group, compared))
    if trained and scope is Scope.NEW_SUBJECTS:
        notes.insert(0, "the subjects that test also train here: new subjects are ones that would train as well")
    sentence = family.sentence(complete, over, alone_words(group.conditions))
    return GroupTable(group, tuple(rows), compared, against, results, tuple(notes), sentence, population, metric)


def _mean(row: Row, metric: str) -> float:
    return plain.fmean(one[metric] for one in row.seeds.values()) if row.seeds else 0.0


@dataclass(frozen=True)
class _Company:
    """What a row is seen beside: the pairs, and who is whose baseline, student alone and control."""

    group: Group
    compared: ScoreComparison | None
    against: ScoreComparison | None
    over: Mapping[str, str]
    alone: Mapping[str, str]
    controls: Mapping[str, Sequence[str]]

    def gain(self, row: str) -> Gain | None:
        """A row's gain over its baseline, called what it may be called."""
        over = self.over.get(row)
        if over is None or self.compared is None:
            return None
        pair = self.compared.pair(row, over)
        sign = 1 if pair.first == row else -1
        low, high = sorted((sign * pair.interval.low, sign * pair.interval.high))
        return Gain(over, lead(pair, row), low, high, pair.p_holm, self._verdict(pair, row, over))

    def _verdict(self, pair: PairSummary, row: str, over: str) -> str:
        if self.compared is None or self.alone.get(row) != over:
            return {row: "better", over: "worse", None: NOT_TOLD_APART}[better(pair)]
        verdict = verdict_on(self.compared, row, over, self.controls[row], self.against)
        untrained = verdict is GainVerdict.LOSS and is_transfer_alone(self.group.conditions)
        return "worse than untrained" if untrained else str(verdict)


def _alone(group: Group, alike: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Row → the student alone of the very same conditions, also where a table goes across others; itself as well."""
    untaught = _of_these(alike, {row for row in alike if is_alone(group.recipes[row])})
    baselines = {}
    for row, students in untaught.items():
        if students and _first(group, row).result["recipe"].get("student") is not None:
            baselines[row] = min(students, key=lambda other: _first(group, other).method not in BASELINES)
    return baselines


def _controls(group: Group, alike: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Row → the controls of the very same conditions."""
    return _of_these(alike, {row for row in alike if control_of(group.recipes[row])})


def _of_these(alike: Mapping[str, Sequence[str]], these: Set[str]) -> dict[str, list[str]]:
    """Row → those of the rows alike that are wanted; found once for all rows alike, of which there may be thousands."""
    found: dict[str, list[str]] = {}
    for row, others in alike.items():
        if row not in found:
            wanted = [other for other in others if other in these]
            found |= dict.fromkeys(others, wanted)
    return found


def _against_controls(
    group: Group, controls: Mapping[str, Sequence[str]], over: Mapping[str, str], alone: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Every method whose baseline is its student alone, with every control of its conditions."""
    methods = [row for row in over if over[row] == alone.get(row) and not control_of(group.recipes[row])]
    return [(row, control) for row in methods for control in controls[row]]


def _first(group: Group, row: str) -> StoredRun:
    return next(iter(group.runs[row].values()))


def _measures(scores: Scores, scope: Scope) -> list[Measure]:
    """Every method's mean with its interval, which is always by `t`, as `compare_scores` has it."""
    inference = infer_t(scores, each(len(scores.methods)), scope)
    return [
        Measure(
            float(by_seed.mean()),
            max(float(low), 0.0),
            min(float(high), 1.0),
            float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        )
        for by_seed, low, high in zip(scores.by_seed, inference.low, inference.high, strict=True)
    ]


def _alike(group: Group, complete: Sequence[str]) -> dict[str, list[str]]:
    """The complete rows of the very same conditions as each, which a table across conditions may mix."""
    crossed = {key: values for key, values in group.across.items() if is_below(key, (LIBRARIES,))}
    rows: dict[str, list[str]] = {}
    keys = {}
    for row in complete:
        # What is no difference between libraries within a table is none here; and a table is of one track.
        settings = [
            {key: value for key, value in run.conditions.items() if key not in (LIBRARIES, TRACK)}
            for _, run in sorted(group.runs[row].items())
        ]
        keys[row] = json.dumps([settings, {key: values.get(row) for key, values in crossed.items()}], sort_keys=True)
        rows.setdefault(keys[row], []).append(row)
    return {row: rows[key] for row, key in keys.items()}


def _stated(value: Any, tested: Condensed, metric: str) -> float:
    return float(scores_of([tested], metric).mean() if value is None else value)


def _row(
    group: Group,
    row: str,
    measures: Mapping[str, Measure],
    company: _Company,
    results: Mapping[int, Condensed],
    table_seeds: Sequence[int],
) -> Row:
    runs = group.runs.get(row, {})
    first = next(iter(runs.values()), None)
    # The predictions give what a run from before it was measured does not state.
    seeds = {
        seed: {name: _stated(runs[seed].metrics.get(name), results[seed], name) for name in METRICS}
        for seed in sorted(runs)
    }
    missing = {seed: why for seed, why in group.lacking(row, table_seeds).items() if seed in table_seeds}
    taught = [teachers_of(run.result) for run in runs.values()]
    student = first is not None and first.result["recipe"].get("student") is not None
    accuracies = _accuracies(taught) if student and measures else {}
    return Row(
        method=row,
        seeds=seeds,
        missing=missing,
        measures=measures,
        gain=company.gain(row) if measures else None,
        control=control_of(group.recipes[row]),
        taught_by=first.teacher if first and student else None,
        teacher=_teacher(first.result["recipe"]) if first and student else None,
        teacher_accuracy=next(iter(accuracies.values())) if len(accuracies) == 1 else None,
        teacher_accuracies=accuracies if len(accuracies) > 1 else {},
        teacher_leaks=student and any(one.get("leaks") for each in taught for one in each.values()),
        test_modalities=", ".join(first.conditions["test_modalities"]) if first else "",
        network=network_words(group.recipes[row]),
        tuning=tuning_label(first.conditions.get("tuning")) if first else "",
        selection=selection_label(first.conditions) if first else "",
        cost=_cost(list(runs.values()) if measures else []),
    )


def _accuracies(taught: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, float]:
    """The accuracy of each teacher, mean over the seeds, of those that every seed that has teachers tells of."""
    told = [each for each in taught if each]
    names = [name for name in (told[0] if told else ()) if all(name in each for each in told)]
    return {name: plain.fmean(float(each[name]["accuracy"]) for each in told) for name in names}


def _teacher(recipe: Mapping[str, Any]) -> str | None:
    teacher, others = recipe.get("teacher"), recipe.get("teachers") or {}
    if others:
        named = [*(["teacher"] if teacher else []), *others]
        digest = hashlib.sha256(json.dumps([teacher, others], sort_keys=True).encode()).hexdigest()[:6]
        joint = any(one and one.get("joint") for one in (teacher, *others.values()))
        return f"{', '.join(named)}{', trained with the student' if joint else ''} [{digest}]"
    if teacher is None:
        return None
    sensors, branches = teacher.get("sensors"), teacher.get("branches")
    parts = [teacher["fusion"]["name"]]
    parts = [*_parts_of(branches or {"": teacher}), *parts]
    if branches:
        sensors = list(dict.fromkeys(branch["sees"] for branch in branches.values()))
    seen = f" ({', '.join(sensors)})" if sensors else ""
    seen += ", random weights" if teacher.get("weights") == "random" else ""
    seen += f", {counted(teacher['seeds'], 'network')}" if teacher.get("seeds") else ""
    seen += f", {counted(teacher['folds'], 'fold')}" if teacher.get("folds") else ""
    seen += ", trained with the student" if teacher.get("joint") else ""
    # Teachers that read alike may differ in a setting; the hash tells them apart.
    digest = hashlib.sha256(json.dumps(teacher, sort_keys=True).encode()).hexdigest()[:6]
    return f"{' · '.join(part for part in parts if part != 'none')}{seen} [{digest}]"


def _parts_of(branches: Mapping[str, Any]) -> list[str]:
    """Names of the representations and encoders of branches, each pair once."""
    pairs = [f"{branch['representation']['name']} · {branch['encoder']['name']}" for branch in branches.values()]
    return [" + ".join(dict.fromkeys(pairs))]


def tuning_label(tuning: Any) -> str:
    """How hyper-parameters were chosen: `defaults`, or `tuned: n trials`."""
    if isinstance(tuning, Mapping) and "trials" in tuning:
        return f"tuned: {counted(tuning['trials'], 'trial')}"
    return str(tuning)


def selection_label(conditions: Mapping[str, Any]) -> str:
    """Which epoch is reported, marked where the test part chose it, or where another part is reported."""
    rule = str(conditions.get("selection"))
    label = f"{rule} {ORACLE}" if rule.endswith("test") else rule
    part = conditions.get("part")
    return label if part == "test" else f"{label}, on the {part} part"


def _cost(runs: list[StoredRun]) -> dict[str, float | None]:
    known = [run.result["cost"] for run in runs if run.result.get("cost")]
    cost: dict[str, float | None] = {}
    for name in (*COSTS, LATENCY):
        values = [one[name] for one in known if one.get(name) is not None]
        if not values:
            cost[name] = None
        else:
            cost[name] = max(values) if name == "peak_memory_bytes" else plain.fmean(values)
    return cost


def _notes(group: Group, compared: ScoreComparison | None) -> tuple[str, ...]:
    notes = list(compared.notes) if compared else ["no method has a result at every seed, so nothing is ranked"]
    notes += name_notes(group.runs)
    partial = [untested(run.metrics) for runs in group.runs.values() for run in runs.values()]
    notes += dict.fromkeys(filter(None, partial))
    if group.shared:
        notes.append(f"unlike the shipped recipes, those of this table have {short_text(group.shared)}")
    unlike = _machines(group)
    if len(unlike) > 1:
        notes.append(f"costs were measured on unlike machines: {'; '.join(unlike)}")
    common: set[int] = set(group.seeds).intersection(*(set(cells) for cells in group.runs.values() if cells))
    if len(group.complete) < len(group.runs):
        fewer = 0 < len(common) < len(group.seeds)
        choose = " ".join(f"--seed {seed}" for seed in sorted(common))
        notes.append(
            "rows with a missing seed are not ranked"
            + (f"; to rank all rows at the seeds that they have in common: {choose}" if fewer else "")
        )
    return tuple(notes)


def _machines(group: Group) -> list[str]:
    machines = set()
    for run in (run for cells in group.runs.values() for run in cells.values()):
        env = run.result.get("environment") or {}
        where = env.get("gpu") or env.get("device") or "unknown"
        machines.add(f"{where}, {env.get('threads', '?')} threads")
    return sorted(machines)
