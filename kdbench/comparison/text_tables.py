"""A comparison as plain tables of text, which every output format lays out in its own way."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.comparison.blocks import Ranking
from kdbench.comparison.company import company
from kdbench.comparison.conditions import shown
from kdbench.comparison.controls import better
from kdbench.comparison.pooling import protocols_of
from kdbench.comparison.table import TITLES, GroupTable, Row, each_accuracy
from kdbench.recipes.track import is_transfer_alone
from kdbench.statistics import PairSummary
from kdbench.statistics.scope import other_population
from kdbench.statistics.scores import UNTOLD
from kdbench.text.wording import NONE, counted, inflected, p_text, ranges

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


PAIRS_SHOWN = 66
"""Pairs that a sheet holds at most; data frames and CSV hold all."""


_PROBES = {"cosine_5nn": "Accuracy % by cosine 5-NN", "own_logits": "Accuracy % by own logits"}
"""What transfer alone is reported by, beside the linear probe."""
KINDS = ("results", "metrics", "tests", "conditions", "cost", "ranks", "reference")
"""The tables by name, in their order; `results` is the main one."""
CONTENTS = {
    "metrics": "accuracy by seed, macro and weighted F1, mAP",
    "tests": "pairwise tests, and what would tell a pair apart",
    "conditions": "teachers and conditions",
    "cost": "time, memory, size",
    "ranks": "mean ranks over tables",
    "reference": "published numbers",
}


@dataclass(frozen=True)
class TextTable:
    """One table of text.

    Attributes:
        kind: One of `KINDS`.
        title: Its heading.
        caption: Whom and what it is about.
        headers: One per column; the first column names the row.
        rows: Cells.
        notes: Lines below it.
        words: Columns of words; the others are numbers, to be set flush right.
        marks: Cells, by row and column, that hold a claim: better than the baseline, or than every other.
        spare: Columns that a narrow table can do without, the first to go first.
        whole: What the first column holds where the second is left out; empty where it is the same.
        hint: What to type for another population, after the caption, where a command can be typed.
    """

    kind: str
    title: str
    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: frozenset[int] = frozenset({0})
    marks: frozenset[tuple[int, int]] = frozenset()
    spare: tuple[int, ...] = ()
    whole: tuple[str, ...] = ()
    hint: str = ""


def text_tables(comparison: ComparedTables, kinds: Collection[str] = KINDS) -> list[TextTable]:
    """Sheets of each table, then mean ranks, then published numbers.

    Args:
        comparison: What was compared.
        kinds: Which tables; all by default.
    """
    made: dict[str, Callable[[GroupTable, int], TextTable | None]] = {
        "results": lambda table, number: _results(comparison, table, number),
        "metrics": _metrics,
        "tests": _tests,
        "conditions": _conditions,
        "cost": _cost,
    }
    tables = [
        text_table
        for number, table in enumerate(comparison.tables, 1)
        for kind, make in made.items()
        if kind in kinds and (text_table := make(table, number)) is not None
    ]
    if "ranks" in kinds:
        tables += [_ranks(ranking) for ranking in comparison.rankings]
    if comparison.references and "reference" in kinds:
        tables.append(_references(comparison))
    return tables


def left_out(comparison: ComparedTables) -> list[str]:
    """One line for each reason why runs stand in no table, with the runs."""
    runs: dict[str, list[str]] = {}
    for one in comparison.left_out:
        runs.setdefault(one.why, []).append(one.folder.name)
    return [f"left out: {', '.join(names)}: {why}" for why, names in runs.items()]


def percent(share: float | None) -> str:
    """A share in per cent, two decimals."""
    return NONE if share is None else f"{100 * share:.2f}"


def points(difference: float | None) -> str:
    """A difference in percentage points, with its sign."""
    return NONE if difference is None else f"{100 * difference:+.2f}"


def needed_text(pair: PairSummary) -> str:
    """How many seeds or subjects would tell a pair apart."""
    return pair.needed.sentence if pair.needed else NONE


def _results(comparison: ComparedTables, table: GroupTable, number: int) -> TextTable:
    headers: tuple[str, ...] = (
        "Method",
        f"{TITLES[table.metric]} [95 % CI]",
        "SD",
        "Gain, points [95 % CI]",
        "Verdict",
    )
    taught = any(row.taught_by for row in table.shown)
    if taught:
        headers = (headers[0], "Teacher", *headers[1:])
    rows = tuple(
        (
            *((_without_teacher(row), row.taught_by or NONE) if taught else (row.label,)),
            _measure(row, table.metric),
            percent(row.measures[table.metric].sd) if row.measures else NONE,
            f"{points(row.gain.difference)} [{points(row.gain.low)}, {points(row.gain.high)}]" if row.gain else NONE,
            row.gain.verdict if row.gain else verdict_without_gain(row, table),
        )
        for row in table.shown
    )
    notes = [
        *([f"Gain: over {table.over}."] if any(row.gain for row in table.rows) else []),
        *([table.family] if table.family else []),
        *_pooled(table),
        *_apart(comparison, table, number),
        *_across(table),
        *_missing(table),
        *_oracle(table),
        *_leaks(table),
        *company(table, comparison.tables),
        *table.notes,
    ]
    if table.comparison and len(table.group.seeds) > 1:
        way = f"; differences by {table.comparison.way}" if table.comparison.way != "t" else ""
        notes.append(f"SD: over {counted(len(table.group.seeds), 'seed')} (n − 1){way}.")
        notes.append(_variance(len(table.ranked)))
    title = f"Table {number}: {table.group.title}"
    first = len(headers) - 4
    gained = {(place, first + 2) for place, row in enumerate(table.shown) if row.gain and row.gain.shown}
    marks = frozenset({(place, first) for place in _best(table)} | gained)
    return TextTable(
        "results",
        title,
        table.about,
        headers,
        rows,
        tuple(notes),
        frozenset({*range(first), first + 3}),
        marks,
        # The deviation goes first; then the teacher, into the column of the method.
        (first + 1, *range(1, first)),
        tuple(row.label for row in table.shown) if taught else (),
        _hint(table),
    )


def _without_teacher(row: Row) -> str:
    """A row's label beside a column that holds its teacher."""
    return row.label.replace(f" + {row.taught_by}", "", 1)


def _variance(methods: int) -> str:
    """Whose seeds the intervals are made of."""
    if methods > 2:
        return (
            f"Seed variance is pooled over the {methods} methods; the CI of an unusually unstable method is too narrow."
        )
    return "With fewer than 3 methods, the seed variance is not pooled: intervals change where more are compared."


def _hint(table: GroupTable) -> str:
    names = table.comparison.subjects if table.comparison else ()
    return other_population(table.population, subjects=0 if names == (UNTOLD,) else len(names))


def verdict_without_gain(row: Row, table: GroupTable) -> str:
    """What stands in the place of a verdict: a baseline and a control are called what they are."""
    if row.method in {other.gain.over for other in table.rows if other.gain}:
        return "the baseline"
    if not row.measures:
        return "not ranked"
    return "a control" if row.control else NONE


def _best(table: GroupTable) -> list[int]:
    """Rows that are told apart from every other that is tested against them: only of these the table claims it."""
    if len(table.ranked) < 2 or len(table.pairs) < len(table.ranked) - 1:
        return []
    first = table.ranked[0].method
    against = [pair for pair in table.pairs if first in (pair.first, pair.second)]
    claimed = len(against) == len(table.ranked) - 1 and all(better(pair) == first for pair in against)
    return [0] if claimed else []


def _metrics(table: GroupTable, _number: int) -> TextTable:
    seeds, probes = table.group.seeds, _PROBES if is_transfer_alone(table.group.conditions) else {}
    headers = (
        "Method",
        *(f"{TITLES[name]} [95 % CI]" for name in TITLES),
        *probes.values(),
        "SD of accuracy",
        *(f"Seed {seed}" for seed in seeds),
    )
    rows = tuple(
        (
            row.label,
            *(_measure(row, name) for name in TITLES),
            *(percent(_probed(table, row, name)) for name in probes),
            percent(row.measures["accuracy"].sd) if row.measures else NONE,
            *(percent(row.seeds.get(seed, {}).get("accuracy")) for seed in seeds),
        )
        for row in table.shown
    )
    return TextTable("metrics", "Metrics, and the accuracy of each seed", "", headers, rows, spare=(3, 2))


def _probed(table: GroupTable, row: Row, name: str) -> float | None:
    """The accuracy by another probe, mean over the seeds; None where a run has none."""
    runs = table.group.runs.get(row.method, {}).values() if row.measures else ()
    accuracies = [((run.metrics.get("probes") or {}).get(name) or {}).get("accuracy") for run in runs]
    known = [float(value) for value in accuracies if value is not None]
    return sum(known) / len(known) if known and len(known) == len(accuracies) else None


def _measure(row: Row, metric: str) -> str:
    if measure := row.measures.get(metric):
        return f"{percent(measure.mean)} [{percent(measure.low)}, {percent(measure.high)}]"
    mean = statistics.fmean(values[metric] for values in row.seeds.values())
    return f"{percent(mean)} ({counted(len(row.seeds), 'seed')})"


def _apart(comparison: ComparedTables, table: GroupTable, number: int) -> list[str]:
    if number == 1:
        return []
    unlike = comparison.apart(table)
    rest = f" and {len(unlike) - 8} more" if len(unlike) > 8 else ""
    return [f"not ranked with table 1: {', '.join(map(str, unlike[:8]))}{rest}"]


def _across(table: GroupTable) -> list[str]:
    if not table.group.across:
        return []
    named = ", ".join(table.group.across)
    return [f"ranked across unlike conditions, as asked for: {named} (beside each row)"]


def _pooled(table: GroupTable) -> list[str]:
    folds = protocols_of(table.group.conditions)
    if len(folds) < 2 or table.comparison is None:
        return []
    subjects = counted(len(table.comparison.subjects), "subject")
    return [
        f"pooled: {counted(table.comparison.trials, 'trial')} of {subjects}; each of the "
        f"{counted(len(folds), 'fold')} is tested by networks of its own, and a seed is one training in each"
    ]


def _missing(table: GroupTable) -> list[str]:
    lacking = {row.method: table.group.lacking(row.method) for row in table.rows}
    return [f"{row}: {_states(states)}" for row, states in lacking.items() if states]


def _states(states: Mapping[int, str]) -> str:
    """Why seeds are lacking, as `seeds 1, 2 not run; seed 9 interrupted`."""
    seeds: dict[str, list[int]] = {}
    for seed, state in states.items():
        seeds.setdefault(state, []).append(seed)
    return "; ".join(f"{inflected(len(those), 'seed')} {ranges(those)} {state}" for state, those in seeds.items())


def _oracle(table: GroupTable) -> list[str]:
    if any(row.oracle for row in table.rows):
        return ["(oracle): the epoch was chosen by its accuracy on the test part, which nobody can know in use"]
    return []


def _leaks(table: GroupTable) -> list[str]:
    named = ", ".join(row.method for row in table.rows if row.teacher_leaks)
    if not named:
        return []
    return [
        f"(leaks), {named}: the teacher was trained on the sensor recordings of the test trials, so its accuracy says "
        "nothing of unseen performances"
    ]


def _conditions(table: GroupTable, _number: int) -> TextTable:
    across = tuple(table.group.across)
    headers = ("Method", "Teacher", "Teacher accuracy %", "Input at test time", "Tuning", "Selection", *across)
    rows = tuple(
        (
            row.label,
            row.teacher or NONE,
            (each_accuracy(row.teacher_accuracies) or percent(row.teacher_accuracy))
            + (" (leaks)" if row.teacher_leaks else ""),
            row.test_modalities or NONE,
            row.tuning or NONE,
            row.selection or NONE,
            *(shown(table.group.across[key].get(row.method, NONE)) for key in across),
        )
        for row in table.shown
    )
    words = frozenset(range(len(headers))) - {2}
    return TextTable("conditions", "Teachers and conditions", "", headers, rows, words=words, spare=(3, 4, 5))


_COSTS: tuple[tuple[str, str, float, int], ...] = (
    ("s per epoch", "seconds_per_epoch", 1, 2),
    ("Training, min", "train_seconds", 60, 1),
    ("Teacher, min", "teacher_seconds", 60, 1),
    ("Peak memory, GiB", "peak_memory_bytes", 2**30, 2),
    ("Parameters, M", "parameters", 1e6, 2),
    ("GFLOPs per trial", "flops", 1e9, 3),
    ("Latency, ms", "latency_ms", 1, 1),
)
"""Heading, cost, unit and digits of each column."""


def _cost(table: GroupTable, _number: int) -> TextTable:
    def amount(value: float | None, unit: float, digits: int) -> str:
        return NONE if value is None else f"{value / unit:.{digits}f}"

    title = "Cost of what is reported, mean over seeds (memory: the largest)"
    headers = ("Method", *(heading for heading, *_ in _COSTS))
    rows = tuple(
        (row.label, *(amount(row.cost.get(name), unit, digits) for _, name, unit, digits in _COSTS))
        for row in table.shown
    )
    return TextTable("cost", title, "", headers, rows, spare=(6, 5, 7, 3))


def _tests(table: GroupTable, _number: int) -> TextTable | None:
    beside = table.against.pairs if table.against else ()
    if not table.pairs:
        return None
    headers = (
        "Pair",
        "Difference, points [95 % CI]",
        "p",
        "p (Holm)",
        "Verdict",
        "To tell apart",
        "McNemar p (Holm), these trials only",
    )
    chosen = sorted(table.pairs, key=lambda pair: (pair.p_holm, pair.p))[:PAIRS_SHOWN]
    rows = tuple(_test(pair) for pair in (*chosen, *beside[:PAIRS_SHOWN]))
    notes = [table.family, "Intervals and p are not corrected; p (Holm) and the verdicts are."]
    if beside:
        notes.append(
            f"Methods against controls are a family of their own, of {counted(len(beside), 'pair')}, corrected by Holm."
        )
    hidden = len(table.pairs) - len(chosen) + max(len(beside) - PAIRS_SHOWN, 0)
    if hidden:
        notes.append(f"{counted(hidden, 'more pair')}: --format csv, json, or --save FOLDER.")
    if len(table.group.seeds) > 1 and any(pair.needed for pair in table.pairs):
        notes.append(_of_what("To tell apart", table))
    title = f"Pairwise tests of {table.metric_name}"
    return TextTable("tests", title, table.about, headers, rows, tuple(notes), frozenset({0, 4, 5}), spare=(6, 5))


def _of_what(heading: str, table: GroupTable) -> str:
    """What the number of seeds or subjects that a pair needs follows from, besides the pair."""
    methods = len(table.comparison.methods) if table.comparison else len(table.ranked)
    if methods < 3:
        return f"{heading}: a plan from this pair's own spread."
    return (
        f"{heading}: a plan corrected for {counted(len(table.pairs), 'pair')}, with the seed variance of all "
        f"{counted(methods, 'method')} of this table, since a pair's own seeds say little about it. A table with other "
        "methods gives another plan."
    )


def _test(pair: PairSummary) -> tuple[str, ...]:
    return (
        f"{pair.first} − {pair.second}",
        f"{points(pair.difference)} [{points(pair.interval.low)}, {points(pair.interval.high)}]",
        p_text(pair.p),
        p_text(pair.p_holm),
        pair.verdict.value,
        needed_text(pair),
        p_text(pair.mcnemar.p_holm) if pair.mcnemar else NONE,
    )


def _ranks(ranking: Ranking) -> TextTable:
    ranks = ranking.ranks
    rows = tuple(
        (method, f"{rank:.2f}", ", ".join(f"{place}" for place, group in enumerate(ranks.groups, 1) if method in group))
        for method, rank in zip(ranks.methods, ranks.mean_ranks, strict=True)
    )
    notes = (
        f"blocks: {'; '.join(f'table {number}, {title}' for number, title in ranking.blocks)}",
        f"mean ranks further apart than {ranks.critical_difference:.2f} differ (Nemenyi, 5 % over all pairs); methods "
        "of a common set cannot be told apart",
        "folds of one data set train on common subjects, which the test does not allow for",
    )
    return TextTable(
        "ranks",
        f"Mean ranks over {counted(ranks.blocks, 'block')} that share no subject",
        f"Friedman's test: p {p_text(ranks.p)}; about {ranks.about}",
        ("Method", "Mean rank", "Not told apart (set)"),
        tuple((method, rank, sets or NONE) for method, rank, sets in rows),
        notes,
        frozenset({0, 2}),
    )


def _references(comparison: ComparedTables) -> TextTable:
    headers = ("Method", "Data set", "Protocol of its source", "Metric", "Value %", "Input at test time", "Source")
    rows = tuple(
        (one.method, one.dataset, one.protocol, one.metric, f"{one.value:.2f}", one.test_modalities, one.table)
        for one in comparison.references
    )
    notes = tuple(dict.fromkeys(f"{one.table}: {one.note} ({one.source})" for one in comparison.references))
    return TextTable(
        "reference",
        "Published numbers, beside and in no ranking",
        "Preset, seeds and selection are unknown; no interval or test includes them",
        headers,
        rows,
        notes,
        frozenset(range(len(headers))) - {4},
    )
