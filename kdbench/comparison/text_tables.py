"""A comparison as plain tables of text, which every output format lays out in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from kdbench.comparison.agreement import TableAgreement
from kdbench.comparison.blocks import Ranking
from kdbench.comparison.conditions import is_below, shown
from kdbench.comparison.result_tables import metrics, results
from kdbench.comparison.systems import OF_A_SYSTEM
from kdbench.comparison.table import GroupTable, each_accuracy
from kdbench.comparison.text_table import TextTable, needed_text, percent, points
from kdbench.statistics import Interval, PairSummary, Verdict
from kdbench.text.wording import NONE, counted, p_text

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


PAIRS_SHOWN = 66
"""Pairs that a sheet holds at most; data frames and CSV hold all."""


KINDS = ("results", "metrics", "tests", "conditions", "cost", "ranks", "agreement", "reference")
"""The tables by name, in their order; `results` is the main one."""
CONTENTS = {
    "metrics": "accuracy by seed, macro and weighted F1, mAP",
    "tests": "pairwise tests, and what would tell a pair apart",
    "conditions": "teachers and conditions",
    "cost": "time, memory, size",
    "ranks": "mean ranks over tables",
    "agreement": "rank correlations of tables",
    "reference": "published numbers",
}


def text_tables(comparison: ComparedTables, kinds: Collection[str] = KINDS) -> list[TextTable]:
    """Sheets of each table, then mean ranks, then published numbers.

    Args:
        comparison: What was compared.
        kinds: Which tables; all by default.
    """
    made: dict[str, Callable[[GroupTable, int], TextTable | None]] = {
        "results": lambda table, number: results(comparison, table, number),
        "metrics": metrics,
        "tests": _tests,
        "conditions": _conditions,
        "cost": _cost,
    }
    tables = [
        dataclasses.replace(text_table, number=number)
        for number, table in enumerate(comparison.tables, 1)
        for kind, make in made.items()
        if kind in kinds and (text_table := make(table, number)) is not None
    ]
    if "ranks" in kinds:
        tables += [_ranks(ranking) for ranking in comparison.rankings]
    if "agreement" in kinds and comparison.agreements:
        tables.append(_agreements(comparison.agreements))
    if comparison.references and "reference" in kinds:
        tables.append(_references(comparison))
    return tables


def left_out(comparison: ComparedTables) -> list[str]:
    """One line for each reason why runs stand in no table, with the runs."""
    runs: dict[str, list[str]] = {}
    for one in comparison.left_out:
        runs.setdefault(one.why, []).append(one.folder.name)
    return [f"left out: {', '.join(names)}: {why}" for why, names in runs.items()]


def _conditions(table: GroupTable, _number: int) -> TextTable:
    # Of whole systems it would be a hundred columns, which the frame of methods has.
    own = OF_A_SYSTEM if table.group.systems else ()
    across = tuple(key for key in table.group.across if not is_below(key, own))
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
    notes = ("Times and latency are by the clock: runs that shared a machine's cores took longer, and no run says so.",)
    return TextTable("cost", title, "", headers, rows, notes, spare=(6, 5, 7, 3))


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
    apart = sum(pair.verdict is not Verdict.NEITHER for pair in table.pairs)
    notes = [
        table.family,
        f"{apart} of {counted(len(table.pairs), 'pair')} are told apart.",
        "Intervals and p are not corrected; p (Holm) and the verdicts are.",
    ]
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


def _agreements(found: Sequence[TableAgreement]) -> TextTable:
    def within(value: float, interval: Interval) -> str:
        return f"{value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"

    rows = tuple(
        (
            f"{one.first} and {one.second}",
            one.differs,
            str(one.ranks.methods),
            within(one.ranks.spearman, one.ranks.spearman_interval),
            within(one.ranks.kendall, one.ranks.kendall_interval),
        )
        for one in found
    )
    titles = {number: title for one in found for number, title in zip((one.first, one.second), one.titles, strict=True)}
    notes = (
        *(f"table {number}: {title}" for number, title in sorted(titles.items())),
        "1 is the same order, 0 no common order, −1 the reverse; controls and students alone are left out. Intervals "
        "speak of further methods like these. Scores are means over few seeds, which pulls both numbers towards 0.",
    )
    return TextTable(
        "agreement",
        "Do two tables order the methods alike?",
        "Tables that differ in one thing, over the methods of both",
        ("Tables", "Differs", "Methods", "Spearman's ρ [95 % CI]", "Kendall's τ [95 % CI]"),
        rows,
        notes,
        frozenset({0, 1}),
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
