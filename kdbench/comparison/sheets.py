"""A comparison as plain sheets of text, which every output format lays out in its own way."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.comparison.blocks import Ranking
from kdbench.comparison.conditions import shown
from kdbench.comparison.controls import better
from kdbench.comparison.result import Comparison
from kdbench.comparison.table import GroupTable, Row
from kdbench.statistics import PairSummary
from kdbench.wording import counted, inflected

NONE = "–"
PAIRS_SHOWN = 66
"""Pairs that a sheet holds at most; data frames and CSV hold all."""
TITLES = {"accuracy": "Accuracy %", "macro_f1": "Macro F1 %", "weighted_f1": "Weighted F1 %"}


@dataclass(frozen=True)
class Sheet:
    """One table of text.

    Attributes:
        title: Its heading.
        caption: Whom and what it is about.
        headers: One a column; the first column names the row.
        rows: Cells.
        notes: Lines below it.
        words: Columns of words; the others are numbers, to be set flush right.
    """

    title: str
    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: frozenset[int] = frozenset({0})


def sheets(comparison: Comparison) -> list[Sheet]:
    """Every sheet: results, conditions, cost and pairs of each table, then mean ranks, then published numbers."""
    found: list[Sheet] = []
    for number, table in enumerate(comparison.tables, 1):
        found += [_results(comparison, table, number), _conditions(table), _cost(table)]
        if table.pairs:
            found.append(_pairs(table))
    found += [_ranks(ranking) for ranking in comparison.rankings]
    if comparison.references:
        found.append(_references(comparison))
    return found


def left_out(comparison: Comparison) -> list[str]:
    """One line for each folder that could not be read."""
    return [f"left out: {one.folder.name}: {one.why}" for one in comparison.left_out]


def about(table: GroupTable) -> str:
    """Whom a table's intervals and tests speak of, in words."""
    if table.comparison is None:
        return f"about {table.about}"
    return f"95 % intervals and tests are about {table.about}: {table.comparison.about}"


def label(row: Row) -> str:
    """A row's name, marked where it is a control, and where the test part chose what it reports."""
    return row.method + (" (control)" if row.control else "") + (" (oracle)" if row.oracle else "")


def percent(share: float | None) -> str:
    """A share in per cent, two decimals."""
    return NONE if share is None else f"{100 * share:.2f}"


def points(difference: float | None) -> str:
    """A difference in percentage points, with its sign."""
    return NONE if difference is None else f"{100 * difference:+.2f}"


def p_text(p: float | None) -> str:
    """A p-value to two digits."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def needed_text(pair: PairSummary) -> str:
    """How many seeds or subjects would tell a pair apart."""
    return pair.needed.sentence if pair.needed else NONE


def _results(comparison: Comparison, table: GroupTable, number: int) -> Sheet:
    seeds = ", ".join(map(str, table.group.seeds))
    overs = {row.gain.over for row in table.rows if row.gain}
    over = next(iter(overs)) if len(overs) == 1 else "the student alone"
    headers = (
        "Method",
        TITLES["accuracy"],
        "SD",
        f"at seed {seeds}",
        TITLES["macro_f1"],
        TITLES["weighted_f1"],
        f"Gain over {over}",
        "Reading",
    )
    rows = tuple(
        (
            label(row),
            _measure(row, "accuracy"),
            percent(row.measures["accuracy"].sd) if row.measures else NONE,
            ", ".join(percent(row.seeds.get(seed, {}).get("accuracy")) for seed in table.group.seeds),
            _measure(row, "macro_f1"),
            _measure(row, "weighted_f1"),
            f"{points(row.gain.difference)} [{points(row.gain.low)}, {points(row.gain.high)}]" if row.gain else NONE,
            str(row.gain.reading) if row.gain else "a control" if row.control else NONE,
        )
        for row in table.rows
    )
    notes = [
        *_apart(comparison, table, number),
        *_across(table),
        *_missing(table),
        *_oracle(table),
        *_leaks(table),
        *_controls(table),
        *table.notes,
    ]
    if table.comparison:
        notes.append(
            "SD is the sample standard deviation over seeds (n − 1); a gain is at equal seeds and trials, in points of "
            f"{metric_name(table)}, its interval by {table.comparison.way}; a reading holds after Holm's correction"
        )
        if len(table.ranked) > 2 and len(table.group.seeds) > 1:
            notes.append(
                "how much seeds matter is learnt from all methods together: intervals of one far less stable than the "
                "others are too short"
            )
    return Sheet(f"Table {number}: {table.group.title}", about(table), headers, rows, tuple(notes), frozenset({0, 7}))


def _measure(row: Row, metric: str) -> str:
    found = row.measures.get(metric)
    return f"{percent(found.mean)} [{percent(found.low)}, {percent(found.high)}]" if found else NONE


def metric_name(table: GroupTable) -> str:
    """The metric that pairs are compared by, in words."""
    return TITLES[table.metric].removesuffix(" %").lower().replace("f1", "F1")


def _apart(comparison: Comparison, table: GroupTable, number: int) -> list[str]:
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


def _missing(table: GroupTable) -> list[str]:
    lines = []
    for row in table.rows:
        states = {**row.missing}
        if states:
            lines.append(f"{row.method}: " + "; ".join(f"seed {seed} {state}" for seed, state in states.items()))
    return lines


def _oracle(table: GroupTable) -> list[str]:
    if any(row.oracle for row in table.rows):
        return ["(oracle): the test part chose what is reported, which nobody can do in use"]
    return []


def _leaks(table: GroupTable) -> list[str]:
    named = ", ".join(row.method for row in table.rows if row.teacher_leaks)
    if not named:
        return []
    return [
        f"(leaks), {named}: the teacher was trained on the sensor recordings of the test trials, so its accuracy says "
        "nothing of unseen performances"
    ]


def _controls(table: GroupTable) -> list[str]:
    """What the controls are and mean; what to run where they, or the student alone, are not there."""
    rows = [row for row in table.ranked if row.teacher]
    if not rows:
        return []
    if not any(row.gain for row in rows):
        return ["there is no gain: the student alone was not run under these conditions at these seeds"]
    controls = [f"{row.method}: {row.control}" for row in rows if row.control]
    if not controls:
        return [
            "no control was run: hinton_random_teacher and hinton_wrong_trials would tell whether a gain is knowledge "
            "or regularisation"
        ]
    return [f"controls ({'; '.join(controls)}): a gain that they reach too is regularisation, not knowledge"]


def _conditions(table: GroupTable) -> Sheet:
    across = tuple(table.group.across)
    headers = ("Method", "Teacher", "Teacher accuracy %", "Input at test time", "Tuning", "Selection", *across)
    rows = tuple(
        (
            label(row),
            row.teacher or NONE,
            percent(row.teacher_accuracy) + (" (leaks)" if row.teacher_leaks else ""),
            row.test_modalities or NONE,
            row.tuning or NONE,
            row.selection or NONE,
            *(shown(table.group.across[key].get(row.method, NONE)) for key in across),
        )
        for row in table.rows
    )
    return Sheet("Teachers and conditions", "", headers, rows, words=frozenset(range(len(headers))) - {2})


def _cost(table: GroupTable) -> Sheet:
    headers = (
        "Method",
        "s an epoch",
        "Training, min",
        "Teacher, min",
        "Peak memory, GiB",
        "Parameters, M",
        "GFLOPs a trial",
        "Latency, ms",
    )
    columns: tuple[tuple[str, float, int], ...] = (
        ("seconds_per_epoch", 1, 2),
        ("train_seconds", 60, 1),
        ("teacher_seconds", 60, 1),
        ("peak_memory_bytes", 2**30, 2),
        ("parameters", 1e6, 2),
        ("flops", 1e9, 3),
        ("latency_ms", 1, 1),
    )
    rows = tuple(
        (label(row), *(_amount(row.cost.get(name), unit, digits) for name, unit, digits in columns))
        for row in table.rows
    )
    return Sheet("Cost of what is reported, mean over seeds (memory: the largest)", "", headers, rows)


def _amount(value: float | None, unit: float, digits: int) -> str:
    return NONE if value is None else f"{value / unit:.{digits}f}"


def _pairs(table: GroupTable) -> Sheet:
    headers = (
        "First",
        "Second",
        "Difference, points",
        "p",
        "p (Holm)",
        "Verdict",
        "To tell apart",
        "McNemar p (Holm), these trials only",
    )
    chosen = sorted(table.pairs, key=lambda pair: (pair.p_holm, pair.p))[:PAIRS_SHOWN]
    rows = tuple(
        (
            pair.first,
            pair.second,
            f"{points(pair.difference)} [{points(pair.interval.low)}, {points(pair.interval.high)}]",
            p_text(pair.p),
            p_text(pair.p_holm),
            f"{name} is better" if (name := better(pair)) else "cannot be told apart with this data",
            needed_text(pair),
            p_text(pair.mcnemar.p_holm) if pair.mcnemar else NONE,
        )
        for pair in chosen
    )
    every = f"all {counted(len(table.pairs), 'pair')}"
    notes = [
        f"Holm's correction is over {inflected(len(table.pairs), 'the one pair', every)}; intervals are not corrected"
    ]
    if len(table.pairs) > len(chosen):
        first = f"the {counted(len(chosen), 'pair')} of the smallest p {inflected(len(chosen), 'is')} shown"
        notes.append(f"{first}; CSV, JSON and the data frame hold all")
    return Sheet(
        f"Pairs, by {metric_name(table)}",
        about(table),
        headers,
        rows,
        tuple(notes),
        frozenset({0, 1, 5, 6}),
    )


def _ranks(ranking: Ranking) -> Sheet:
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
    return Sheet(
        f"Mean ranks over {counted(ranks.blocks, 'block')} that share no subject",
        f"Friedman's test: p {p_text(ranks.p)}; about {ranks.about}",
        ("Method", "Mean rank", "Not told apart (set)"),
        tuple((method, rank, sets or NONE) for method, rank, sets in rows),
        notes,
        frozenset({0, 2}),
    )


def _references(comparison: Comparison) -> Sheet:
    headers = ("Method", "Data set", "Protocol of its source", "Metric", "Value %", "Input at test time", "Source")
    rows = tuple(
        (one.method, one.dataset, one.protocol, one.metric, f"{one.value:.2f}", one.test_modalities, one.table)
        for one in comparison.references
    )
    notes = tuple(dict.fromkeys(f"{one.table}: {one.note} ({one.source})" for one in comparison.references))
    return Sheet(
        "Published numbers, beside and in no ranking",
        "Preset, seeds and selection are unknown; no interval or test includes them",
        headers,
        rows,
        notes,
        frozenset(range(len(headers))) - {4},
    )
