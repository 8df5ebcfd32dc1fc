"""The rows of one table: what each method reaches, what it gains, under which conditions, and what it costs."""

from __future__ import annotations

import hashlib
import json
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdbench.comparison.controls import Reading, control_of, lead, read_gain
from kdbench.comparison.groups import Group
from kdbench.comparison.scores import Tested, paired
from kdbench.results.gain import PLAIN, alone_for
from kdbench.results.store import StoredRun
from kdbench.statistics import METRICS, Comparison, PairSummary, Scope, Scores, compare_scores
from kdbench.statistics.intervals import infer_t
from kdbench.wording import counted

ABOUT = {"these-subjects": Scope.THESE_SUBJECTS, "new-subjects": Scope.NEW_SUBJECTS}
BOOTSTRAP_UP_TO = 66
"""Pairs (twelve methods) up to which the bootstrap is the default; its draws grow with their number."""
COSTS = ("seconds_per_epoch", "train_seconds", "teacher_seconds", "peak_memory_bytes", "parameters", "flops")
LATENCY = "latency_ms"
ORACLE = "(oracle)"


@dataclass(frozen=True)
class Measure:
    """One metric of one method, over its seeds.

    Attributes:
        mean: Over trials and seeds, a share.
        low: Lower end of the 95 % interval.
        high: Upper end.
        sd: Sample standard deviation over the seeds (n − 1); None with one seed.
    """

    mean: float
    low: float
    high: float
    sd: float | None


@dataclass(frozen=True)
class Gain:
    """What a method is above the student alone, at equal seeds.

    Attributes:
        over: The student alone.
        difference: As a share.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p_holm: Of no difference, corrected over all pairs of the table.
        reading: What it may be called.
    """

    over: str
    difference: float
    low: float
    high: float
    p_holm: float
    reading: Reading


@dataclass(frozen=True)
class Row:
    """One method of a table.

    Attributes:
        method: The recipe's name.
        seeds: Seed → metric → value, of the seeds that have a result.
        missing: Seed → why there is none.
        measures: Metric → its summary; empty where a seed is missing.
        gain: Over the student alone; None where that is not in the table, or is the row itself.
        control: Which control it is, if any.
        teacher: What taught it; None without a teacher.
        teacher_accuracy: The teacher's own, mean over the seeds; None where one is missing.
        teacher_leaks: Whether the teacher was trained on the sensor recordings of the test trials.
        test_modalities: What the reported network sees at test time.
        tuning: How its hyper-parameters were chosen.
        selection: Which epoch is reported; `(oracle)` where the test part chose it.
        cost: Means over the seeds, the largest for peak memory; None where a seed is missing.
    """

    method: str
    seeds: Mapping[int, Mapping[str, float]]
    missing: Mapping[int, str]
    measures: Mapping[str, Measure]
    gain: Gain | None
    control: str | None
    teacher: str | None
    teacher_accuracy: float | None
    teacher_leaks: bool
    test_modalities: str
    tuning: str
    selection: str
    cost: Mapping[str, float | None]

    @property
    def oracle(self) -> bool:
        """Whether the test part chose which epoch is reported."""
        return ORACLE in self.selection


@dataclass(frozen=True)
class GroupTable:
    """One table: methods under equal conditions.

    Attributes:
        group: Its runs and conditions.
        rows: Complete methods, the best first, then those with a missing cell.
        comparison: All pairs of the complete methods, by the chosen metric; None where no method is complete.
        results: Row → seed → predictions.
        notes: What a reader has to know besides.
        about: Whom intervals and tests speak of: `these-subjects` or `new-subjects`.
        metric: What pairs were compared by.
    """

    group: Group
    rows: tuple[Row, ...]
    comparison: Comparison | None
    results: Mapping[str, Mapping[int, Tested]] = field(repr=False)
    notes: tuple[str, ...]
    about: str
    metric: str

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows with a result at every seed."""
        return tuple(row for row in self.rows if row.measures)

    @property
    def pairs(self) -> tuple[PairSummary, ...]:
        """All pairs of the ranked rows."""
        return self.comparison.pairs if self.comparison else ()


def build_table(
    group: Group,
    results: dict[str, dict[int, Tested]],
    subjects: np.ndarray,
    *,
    about: str,
    metric: str,
    way: str | None,
    trained: bool = False,
) -> GroupTable:
    """Compares the methods of a group.

    Args:
        group: The group, its unusable runs set aside.
        results: Row → seed → predictions.
        subjects: Who performed each trial.
        about: Whom the statement is about, a name of `ABOUT`.
        metric: What pairs are compared by.
        way: How intervals of differences are made; by default what suits the table.
        trained: Whether the subjects that test also train.

    Raises:
        UsageError: The scope or the way cannot be had with this data.
    """
    complete = list(group.complete)
    scope = ABOUT[about]
    compared: Comparison | None = None
    measures: dict[str, dict[str, Measure]] = {row: {} for row in complete}
    if complete:
        many = len(complete) * (len(complete) - 1) // 2 > BOOTSTRAP_UP_TO
        complete.sort(key=lambda row: -np.mean([one.scores[metric].mean() for one in results[row].values()]))
        scores = paired(results, complete, subjects, metric)
        # One method has no pairs, whatever way they would be compared in.
        wanted = way if len(complete) > 1 else None
        compared = compare_scores(scores, scope=scope, way=wanted or ("t" if many else None))
        for name in METRICS:
            of = scores if name == metric else paired(results, complete, subjects, name)
            for row, measure in zip(complete, _measures(of, scope), strict=True):
                measures[row][name] = measure
    alike = _alike(group, complete)
    rows = [_row(group, row, measures.get(row, {}), compared, alike.get(row, ())) for row in group.rows]
    rows.sort(key=lambda row: (not row.measures, -row.measures[metric].mean if row.measures else 0, row.method))
    notes = list(_notes(group, compared))
    if trained and scope is Scope.NEW_SUBJECTS:
        notes.insert(0, "the subjects that test also train here: new subjects are ones that would train as well")
    return GroupTable(group, tuple(rows), compared, results, tuple(notes), about, metric)


def _measures(scores: Scores, scope: Scope) -> list[Measure]:
    """Every method's mean with its interval, which is always by `t`, as `compare_scores` has it."""
    found = infer_t(scores, np.eye(len(scores.methods)), scope)
    return [
        Measure(
            float(by_seed.mean()),
            max(float(low), 0.0),
            min(float(high), 1.0),
            float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        )
        for by_seed, low, high in zip(scores.by_seed, found.low, found.high, strict=True)
    ]


def _alike(group: Group, complete: Sequence[str]) -> dict[str, list[str]]:
    """The complete rows of the very same conditions as each, which a table across conditions may mix."""
    keys = {
        row: tuple(json.dumps(run.conditions, sort_keys=True) for _, run in sorted(group.runs[row].items()))
        for row in complete
    }
    rows: dict[tuple[str, ...], list[str]] = {}
    for row, key in keys.items():
        rows.setdefault(key, []).append(row)
    return {row: rows[key] for row, key in keys.items()}


def _row(
    group: Group,
    row: str,
    measures: Mapping[str, Measure],
    compared: Comparison | None,
    alike: Sequence[str],
) -> Row:
    runs = group.runs.get(row, {})
    first = next(iter(runs.values()), None)
    seeds = {seed: {name: float(runs[seed].metrics[name]) for name in METRICS} for seed in sorted(runs)}
    missing = {seed: group.state(row, seed) for seed in group.seeds if seed not in runs}
    taught = [run.result["teacher"] for run in runs.values() if run.result.get("teacher")]
    student = first is not None and first.result["recipe"].get("student") is not None
    return Row(
        method=row,
        seeds=seeds,
        missing=missing,
        measures=measures,
        gain=_gain(group, row, compared, alike) if measures else None,
        control=control_of(first.result["recipe"]) if first else None,
        teacher=_teacher(first.result["recipe"]) if first and student else None,
        teacher_accuracy=plain.fmean(one["accuracy"] for one in taught) if taught and student and measures else None,
        teacher_leaks=student and any(one.get("leaks") for one in taught),
        test_modalities=", ".join(first.conditions["test_modalities"]) if first else "",
        tuning=tuning_label(first.conditions.get("tuning")) if first else "",
        selection=selection_label(first.conditions) if first else "",
        cost=_cost(list(runs.values()) if measures else []),
    )


def _gain(group: Group, row: str, compared: Comparison | None, alike: Sequence[str]) -> Gain | None:
    """The gain over the student alone of the very same conditions, also where a table goes across others."""
    first = {other: next(iter(group.runs[other].values())) for other in alike}
    if compared is None or first[row].result["recipe"].get("student") is None:
        return None
    name = alone_for(first[row].result)
    alone = next((other for other in alike if first[other].method == name and _plain(first[other])), None)
    if alone is None or alone == row:
        return None
    controls = [other for other in alike if control_of(first[other].result["recipe"])]
    pair = compared.pair(row, alone)
    sign = 1 if pair.first == row else -1
    low, high = sorted((sign * pair.interval.low, sign * pair.interval.high))
    return Gain(alone, lead(pair, row), low, high, pair.p_holm, read_gain(compared, row, alone, controls))


def _plain(run: StoredRun) -> bool:
    """Whether a student alone learns by plain cross-entropy; one whose losses were changed does not stand for it."""
    return bool(run.result["recipe"]["student"]["losses"] == PLAIN)


def _teacher(recipe: Mapping[str, Any]) -> str | None:
    teacher = recipe.get("teacher")
    if teacher is None:
        return None
    sensors = teacher.get("sensors")
    parts = [teacher["representation"]["name"], teacher["encoder"]["name"], teacher["fusion"]["name"]]
    seen = f" ({', '.join(sensors)})" if sensors else ""
    seen += ", random weights" if teacher.get("weights") == "random" else ""
    digest = hashlib.sha256(json.dumps(teacher, sort_keys=True).encode()).hexdigest()[:6]
    return f"{' · '.join(part for part in parts if part != 'none')}{seen} [{digest}]"


def tuning_label(tuning: Any) -> str:
    """How hyper-parameters were chosen: `defaults`, or `searched, n trials`."""
    if isinstance(tuning, Mapping) and "trials" in tuning:
        return f"searched, {counted(tuning['trials'], 'trial')}"
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


def _notes(group: Group, compared: Comparison | None) -> tuple[str, ...]:
    notes = list(compared.notes) if compared else ["no method has a result at every seed, so nothing is ranked"]
    unlike = _machines(group)
    if len(unlike) > 1:
        notes.append(f"costs were measured on unlike machines: {'; '.join(unlike)}")
    common: set[int] = set(group.seeds).intersection(*(set(cells) for cells in group.runs.values()))
    if len(group.complete) < len(group.rows):
        which = ", ".join(row for row in group.rows if row not in group.complete)
        fewer = 0 < len(common) < len(group.seeds)
        choose = " ".join(f"--seed {seed}" for seed in sorted(common))
        notes.append(
            f"not ranked, as seeds are missing: {which}"
            + (f"; {choose} compares the seeds that all methods with a result have" if fewer else "")
        )
    return tuple(notes)


def _machines(group: Group) -> list[str]:
    found = set()
    for run in (run for cells in group.runs.values() for run in cells.values()):
        env = run.result.get("environment") or {}
        where = env.get("gpu") or env.get("device") or "unknown"
        found.add(f"{where}, {env.get('threads', '?')} threads")
    return sorted(found)
