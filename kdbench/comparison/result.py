"""What `kdbench.compare` returns: tables, and the same as data frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kdbench.comparison.agreement import TableAgreement, agreements
from kdbench.comparison.blocks import Ranking, rankings
from kdbench.comparison.conditions import ConditionDifference
from kdbench.comparison.controls import better
from kdbench.comparison.groups import between
from kdbench.comparison.reference import Reference
from kdbench.comparison.table import GroupTable, Row, teachers_of
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import Unreadable
from kdbench.statistics import METRICS
from kdbench.text.wording import counted

if TYPE_CHECKING:
    import pandas as pd


_IN_REPR = 5
_OF_GAIN = {
    "gain_over": "over",
    "gain": "difference",
    "gain_low": "low",
    "gain_high": "high",
    "gain_p_holm": "p_holm",
    "verdict": "verdict",
}
"""Columns of the frame of methods, and what of a gain stands in them."""


@dataclass(frozen=True, repr=False)
class ComparedTables:
    """Methods compared, a table for each set of equal conditions.

    Attributes:
        population: Whom intervals and tests speak of: `these-subjects` or `new-subjects`.
        metric: What pairs were compared by; the metrics of all tables where they differ.
        tables: One a group, the largest first.
        left_out: Runs that were asked for and stand in no table, and why.
        references: Published numbers to stand beside, never in a ranking; empty unless asked for.
    """

    population: str
    metric: str
    tables: tuple[GroupTable, ...]
    left_out: tuple[Unreadable, ...]
    references: tuple[Reference, ...] = ()

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """Friedman's test and critical differences over tables that share no subject; empty below six of them."""
        return rankings(self.tables)

    @cached_property
    def agreements(self) -> tuple[TableAgreement, ...]:
        """Rank correlations of tables that differ in their track, their protocol or their tuning alone."""
        return agreements(self.tables)

    def apart(self, table: GroupTable) -> tuple[ConditionDifference, ...]:
        """What keeps a table apart from the first one."""
        return between(self.tables[0].group, table.group)

    def __repr__(self) -> str:
        """What it holds, in a line per table; the rows are in `methods`, `pairs`, `seeds` and `per_class`."""
        listed = [f"  {number}. {_headline(table)}" for number, table in enumerate(self.tables[:_IN_REPR], 1)]
        more = len(self.tables) - len(listed)
        listed += [f"  … and {counted(more, 'more table')}"] if more else []
        lines = [
            f"Comparison of {counted(len(self.tables), 'table')} about {self.population}, by {self.metric}:",
            *listed,
        ]
        return "\n".join(
            [*lines, "  .methods, .pairs, .seeds and .per_class are data frames; .save(FOLDER) writes all."]
        )

    @property
    def methods(self) -> pd.DataFrame:
        """One row per method and table: metrics with intervals, gain, teacher, conditions, cost; shares in [0, 1]."""
        return self._frame(_method_record(table, row) for table in self.tables for row in table.rows)

    @property
    def seeds(self) -> pd.DataFrame:
        """One row per cell, method × seed, with its state; a missing one has no metrics."""
        return self._frame(record for table in self.tables for row in table.rows for record in _cells(table, row))

    @property
    def pairs(self) -> pd.DataFrame:
        """One row per pair that is tested, then each method with each control: difference, interval, p, verdict."""
        return self._frame(record for table in self.tables for record in _pairs(table))

    @property
    def per_class(self) -> pd.DataFrame:
        """One row per method and class: recall, mean over the seeds, and its gain over the student alone."""
        return self._frame(record for table in self.tables for record in _recalls(table))

    def _frame(self, records: Any) -> pd.DataFrame:
        import pandas as pd

        place = {id(table): number for number, table in enumerate(self.tables, 1)}
        rows = [
            {"table": place[id(table)], **_head(table), **record, "population": self.population}
            for table, record in records
        ]
        return pd.DataFrame(rows)


def _headline(table: GroupTable) -> str:
    seeds = counted(len(table.group.seeds), "seed")
    best = table.ranked[0] if table.ranked else None
    shown = f"; highest {table.metric}: {best.method}, {100 * best.measures[table.metric].mean:.2f} %" if best else ""
    return f"{table.group.title}: {counted(len(table.rows), 'method')}, {seeds}{shown}"


def _head(table: GroupTable) -> dict[str, Any]:
    return {key: table.group.conditions.get(key) for key in ("dataset", "protocol", "preset")}


def _method_record(table: GroupTable, row: Row) -> tuple[GroupTable, dict[str, Any]]:
    record: dict[str, Any] = {
        "method": row.method,
        "rank": table.rows.index(row) + 1 if row.measures else None,
        "seeds": len(row.seeds),
        "missing_seeds": len(row.missing),
    }
    for name in METRICS:
        measure = row.measures.get(name)
        columns = {name: "mean", f"{name}_low": "low", f"{name}_high": "high", f"{name}_sd": "sd"}
        record |= {column: getattr(measure, key, None) for column, key in columns.items()}
    record |= {column: getattr(row.gain, key, None) for column, key in _OF_GAIN.items()}
    record |= {
        "control": row.control,
        "teacher": row.taught_by,
        "teacher_parts": row.teacher,
        "teacher_accuracy": row.teacher_accuracy,
        "teacher_accuracies": "; ".join(f"{name}={one:.6f}" for name, one in row.teacher_accuracies.items()) or None,
        "teacher_leaks": row.teacher_leaks,
        "test_modalities": row.test_modalities,
        "network": row.network,
        "tuning": row.tuning,
        "selection": row.selection,
        **row.cost,
    }
    unlike = {key: values.get(row.method) for key, values in table.group.across.items()}
    return table, record | {f"condition:{key}": str(value) for key, value in unlike.items()}


def _cells(table: GroupTable, row: Row) -> list[tuple[GroupTable, dict[str, Any]]]:
    records = []
    for seed in sorted({*table.group.seeds, *table.group.lacking(row.method)}):
        state = table.group.state(row.method, seed)
        run = table.group.runs.get(row.method, {}).get(seed)
        taught = list(teachers_of(run.result).values()) if run else []
        metrics = row.seeds.get(seed, {})
        record = {
            "method": row.method,
            "seed": seed,
            "state": state,
            **{name: metrics.get(name) for name in METRICS},
            "teacher_accuracy": taught[0]["accuracy"] if len(taught) == 1 else None,
            "teacher_leaks": any(one.get("leaks") for one in taught),
            "folder": run.folder.name if run and state == FINISHED else None,
        }
        records.append((table, record))
    return records


def _pairs(table: GroupTable) -> list[tuple[GroupTable, dict[str, Any]]]:
    records = []
    beside = table.against.pairs if table.against else ()
    for place, pair in enumerate((*table.pairs, *beside)):
        plan = pair.needed
        record = {
            "family": "controls" if place >= len(table.pairs) else "tested",
            "first": pair.first,
            "second": pair.second,
            "difference": pair.difference,
            "low": pair.interval.low,
            "high": pair.interval.high,
            "interval": pair.interval.way,
            "sd": pair.sd,
            "p": pair.p,
            "p_holm": pair.p_holm,
            "better": better(pair),
            "verdict": str(pair.verdict),
            "needed": plan.number if plan else None,
            "needed_of": plan.of if plan else None,
            "detectable": plan.detectable if plan else None,
            "mcnemar_p_these_trials_only": pair.mcnemar.p if pair.mcnemar else None,
            "mcnemar_p_holm_these_trials_only": pair.mcnemar.p_holm if pair.mcnemar else None,
        }
        records.append((table, record))
    return records


def _recalls(table: GroupTable) -> list[tuple[GroupTable, dict[str, Any]]]:
    by_row = {row.method: table.recalls(row) for row in table.ranked}
    records = []
    for row in table.ranked:
        base = by_row[row.gain.over] if row.gain else {}
        for name, value in by_row[row.method].items():
            gain = value - base[name] if name in base else None
            records.append((table, {"method": row.method, "class": name, "recall": value, "gain": gain}))
    return records
