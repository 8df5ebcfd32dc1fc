"""The tables of a comparison that hold its results, as text, with the notes below them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdbench.comparison.company import company
from kdbench.comparison.conditions import is_below
from kdbench.comparison.controls import better
from kdbench.comparison.pooling import protocols_of
from kdbench.comparison.systems import OF_A_SYSTEM
from kdbench.comparison.table import TITLES, GroupTable, Row
from kdbench.comparison.text_table import TextTable, percent, points
from kdbench.comparison.unlike import told
from kdbench.recipes.track import is_transfer_alone
from kdbench.statistics.scope import other_population
from kdbench.statistics.scores import UNTOLD
from kdbench.text.wording import NONE, counted, inflected, ranges, some

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


_PROBES = {"cosine_5nn": "Accuracy % by cosine 5-NN", "own_logits": "Accuracy % by own logits"}
"""What transfer alone is reported by, beside the linear probe."""


SYSTEMS = (
    "whole systems: rows are unlike in their networks, training and sources at test, so that no difference between two "
    "is due to distillation alone; a gain is over the student alone of the very same conditions"
)
"""What a table of whole systems says of its rows."""


def results(comparison: ComparedTables, table: GroupTable, number: int) -> TextTable:
    """The main table: each method's metric, its gain and the verdict."""
    headers: tuple[str, ...] = (
        "Method",
        f"{TITLES[table.metric]} [95 % CI]",
        "SD",
        "Gain, points [95 % CI]",
        "Verdict",
    )
    taught = any(row.taught_by for row in table.shown)
    own = ((("Teacher",) if taught else ()), (("Sees at test", "Network") if table.group.systems else ()))
    headers = (headers[0], *own[0], *own[1], *headers[1:])
    rows = tuple(
        (
            *((_without_teacher(row), row.taught_by or NONE) if taught else (row.label,)),
            *((row.test_modalities or NONE, row.network) if table.group.systems else ()),
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
    # Counted from the end, since columns of teachers and of systems may stand before.
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
        # The deviation goes first, then the network; then the teacher, into the column of the method.
        (first + 1, *((first - 1,) if table.group.systems else ()), *((1,) if taught else ())),
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


def metrics(table: GroupTable, _number: int) -> TextTable:
    """Every metric, and the accuracy of each seed."""
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
    unlike = told(comparison.tables[0].group, table.group)
    return [f"not ranked with table 1: {some(unlike, 8)}"]


def _across(table: GroupTable) -> list[str]:
    asked = [key for key in table.group.across if not (table.group.systems and is_below(key, OF_A_SYSTEM))]
    whole = [SYSTEMS] if table.group.systems else []
    if not asked:
        return whole
    named = ", ".join(asked)
    return [*whole, f"ranked across unlike conditions, as asked for: {named} (beside each row)"]


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
