"""A protocol's tables as CSV, JSON and LaTeX, and what is cited as BibTeX."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kdbench.data.card import Card
from kdbench.leaderboard.entry import slug
from kdbench.leaderboard.tables import Protocol, Row, Table

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def records(protocol: Protocol) -> list[dict[str, Any]]:
    """Every row of every table of a protocol, with its table's number and key conditions; shares in [0, 1]."""
    return [
        _record(number, table, row, interval)
        for number, table in enumerate(protocol.tables, start=1)
        for row, interval in zip(table.rows, table.statements.intervals, strict=True)
    ]


def _record(number: int, table: Table, row: Row, interval: tuple[float, float] | None) -> dict[str, Any]:
    result = row.entry.result
    low, high = interval or (None, None)
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
        "gain": row.gain(table.alone),
        **{name: row.metric(name) for name in ("macro_f1", "weighted_f1", "ece")},
        "accuracy_one_by_one": row.one_by_one,
        "teacher_accuracy": row.teacher,
        "teacher_leaks": row.teacher_leaks,
        "training_seconds": row.training_seconds,
        **{name: row.cost(name) for name in ("parameters", "flops", "latency_ms", "peak_memory_bytes")},
    }


def csv(protocol: Protocol) -> str:
    """The tables as CSV; a name that a spreadsheet would take for a formula gets an apostrophe in front."""
    table = _frame(records(protocol))
    for name in table.columns:
        table[name] = [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in table[name]]
    return table.to_csv(index=False, lineterminator="\n")


def as_json(protocol: Protocol) -> str:
    """The tables as JSON."""
    tables = [{"number": n, "conditions": table.conditions} for n, table in enumerate(protocol.tables, start=1)]
    content = {"dataset": protocol.dataset, "protocol": protocol.name, "tables": tables, "rows": records(protocol)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def latex(protocol: Protocol) -> str:
    """The tables as LaTeX, for `booktabs`."""
    parts = []
    for table in protocol.tables:
        shown = _frame(
            {
                "Method": tex(row.label) + (" (control)" if row.control else ""),
                "Accuracy (\\%)": f"${100 * row.accuracy:.1f} \\pm {100 * row.sd:.1f}$",
                "Gain": "--" if (gain := row.gain(table.alone)) is None else f"${100 * gain:+.1f}$",
                "Macro F1 (\\%)": f"{100 * row.metric('macro_f1'):.1f}",
                "ECE (\\%)": f"{100 * row.metric('ece'):.1f}",
                "Seeds": len(row.entry.result.seeds),
                "Tier": row.tier.value,
            }
            for row in table.rows
        )
        caption = tex(
            f"{protocol.dataset}, {protocol.name}, {table.title}. Mean and sample standard deviation over seeds."
        )
        parts.append(
            shown.style.hide(axis="index").to_latex(
                hrules=True, caption=caption, column_format="lrrrrrl", position_float="centering"
            )
        )
    return "% needs \\usepackage{booktabs}\n" + "\n".join(parts)


def bibtex(rows: Iterable[Row], cards: Sequence[Card]) -> str:
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


def tex(text: str) -> str:
    """A text as LaTeX prints it: every character that means something to it is escaped, in one line."""
    return "".join(_TEX.get(character, character) for character in re.sub(r"\s+", " ", text))


def _frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows))
