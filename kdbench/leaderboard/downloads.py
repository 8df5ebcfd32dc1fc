"""A protocol's tables as CSV, JSON and LaTeX, and what is cited as BibTeX."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.comparison.formats import LATEX_NEEDS, latex_table, tex
from kdbench.comparison.text_table import TextTable
from kdbench.data.card import Card
from kdbench.leaderboard.entry import slug
from kdbench.leaderboard.tables import BoardProtocol, BoardRow, BoardTable
from kdbench.text.wording import NONE

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def records(protocol: BoardProtocol) -> list[dict[str, Any]]:
    """Every row of every table of a protocol, with its table's number and key conditions; shares in [0, 1]."""
    return [_record(number, table, row) for number, table in enumerate(protocol.tables, start=1) for row in table.rows]


def _record(number: int, table: BoardTable, row: BoardRow) -> dict[str, Any]:
    result = row.entry.result
    low, high = table.intervals.of(row.label) or (None, None)
    return {
        "table": number,
        "method": row.method,
        "teacher": row.taught_by,
        "id": result.id,
        "control": row.control,
        "tier": row.tier.value,
        "dataset": result.dataset,
        "protocol": result.protocol,
        "preset": result.preset,
        "track": table.track.words or None,
        "test_modalities": " ".join(table.conditions["test_modalities"]),
        "selection": table.conditions.get("selection"),
        "tuning": row.tuning,
        "seeds": len(result.seeds),
        "accuracy": row.accuracy,
        "accuracy_sd": row.sd,
        "accuracy_low": low,
        "accuracy_high": high,
        "metric": table.metric,
        "gain": row.gain(table.alone, table.metric),
        **{name: row.metric(name) for name in ("macro_f1", "weighted_f1", "map", "ece")},
        "accuracy_one_by_one": row.one_by_one,
        "teacher_accuracy": row.teacher,
        "teacher_accuracies": row.each_teacher or None,
        "teacher_leaks": row.teacher_leaks,
        "training_seconds": row.training_seconds,
        **{name: row.cost(name) for name in ("parameters", "flops", "latency_ms", "peak_memory_bytes")},
    }


def csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The tables as CSV; a name that a spreadsheet would take for a formula gets an apostrophe in front.

    Args:
        rows: As `records` gives them.
    """
    import pandas as pd

    table = pd.DataFrame(rows)
    for name in table.columns:
        table[name] = [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in table[name]]
    return table.to_csv(index=False, lineterminator="\n")


def as_json(protocol: BoardProtocol, rows: Sequence[Mapping[str, Any]]) -> str:
    """The tables as JSON.

    Args:
        protocol: The protocol.
        rows: Its rows, as `records` gives them.
    """
    tables = [{"number": n, "conditions": table.conditions} for n, table in enumerate(protocol.tables, start=1)]
    content = {"dataset": protocol.dataset, "protocol": protocol.name, "tables": tables, "rows": rows}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def latex(protocol: BoardProtocol) -> str:
    """The tables as LaTeX, for the packages that the first line names."""
    return "\n\n".join([LATEX_NEEDS, *(latex_table(_text_table(protocol, table)) for table in protocol.tables)]) + "\n"


def _text_table(protocol: BoardProtocol, table: BoardTable) -> TextTable:
    gain = "Gain" if table.metric == "accuracy" else f"Gain in {table.metric_name}"
    headers = ("Method", "Teacher", "Accuracy (%)", gain, "Macro F1 (%)", "ECE (%)", "Seeds", "Tier")
    rows = tuple(
        (
            row.method + (" (control)" if row.control else ""),
            row.taught_by or NONE,
            f"{100 * row.accuracy:.1f} ± {100 * row.sd:.1f}",
            NONE if (more := row.gain(table.alone, table.metric)) is None else f"{100 * more:+.1f}",
            f"{100 * row.metric('macro_f1'):.1f}",
            f"{100 * row.metric('ece'):.1f}",
            str(len(row.entry.result.seeds)),
            row.tier.value,
        )
        for row in table.rows
    )
    title = f"{protocol.dataset}, {protocol.name}, {table.title}"
    caption = "Mean and sample standard deviation over seeds"
    return TextTable("results", title, caption, headers, rows, words=frozenset({0, 1, 7}))


def bibtex(rows: Iterable[BoardRow], cards: Sequence[Card]) -> str:
    """What the site cites: the benchmark, its data sets, and the papers that the recipes name."""
    entries = ["@misc{kdbench,\n  title = {kdbench: cross-modal knowledge distillation under identical conditions},\n}"]
    entries += [_misc(f"data_{card.name}", card.title, card.citation) for card in cards]
    seen: set[str] = set()
    for row in rows:
        source = row.entry.result.source
        if source and source not in seen:
            seen.add(source)
            entries.append(_misc(f"method_{slug(row.entry.result.method)}", row.entry.result.summary, source))
    return "\n\n".join(entries) + "\n"


def _misc(key: str, title: str, note: str) -> str:
    lines = [f"  {name} = {{{tex(text)}}}," for name, text in (("title", title), ("note", note)) if text]
    return "\n".join([f"@misc{{{key},", *lines, "}"])
