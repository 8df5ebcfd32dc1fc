"""Learning curves of several methods in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.comparison.drawing import MOST_MARKS, note_hidden, shown_rows
from kdbench.comparison.sheets import label
from kdbench.comparison.table import GroupTable
from kdbench.errors import DataError
from kdbench.plotting.style import COLOURS, accuracy_end, head, new_figure, nothing, short
from kdbench.util.records import read_jsonl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "accuracy": "Accuracy on the training part, %",
    "ce": "Cross-entropy on the training part, nats",
    "validation": "Accuracy on the validation part, %",
}
_LINES = ("-", "--")
_CONTROL = ":"
"""The line of a control."""


def curves(table: GroupTable) -> Figure | None:
    """Accuracy and cross-entropy of the student on the training part by epoch: mean over seeds, band from the lowest.

    The validation part's accuracy has a panel where one was cut. Losses other than the cross-entropy are no panel:
    every method has its own.
    """
    from matplotlib.ticker import MaxNLocator

    chosen = shown_rows(table, MOST_MARKS)
    held: dict[str, np.ndarray] = {}
    for row in chosen:
        parts = [part for run in table.group.runs[row.method].values() for part in run.parts]
        found = [log for part in parts if (log := _log(part.folder)) is not None]
        if len(found) == len(parts):
            shortest = min(map(len, found))
            held[row.method] = np.stack([log[:shortest] for log in found])
    if not held:
        return None
    validated = any(np.isfinite(logs[..., -1]).any() for logs in held.values())
    panels = list(PANELS)[: 3 if validated else 2]
    figure = new_figure(3.2 + 3.8 * len(panels), 4.4)
    without = len(chosen) - len(held)
    rest = f"; methods without curves: {without}" if without else ""
    head(figure, f"Learning curves · {table.group.title}", f"mean over seeds; band: lowest to highest seed{rest}")
    names = {row.method: short(label(row)) for row in table.ranked}
    controls = {row.method for row in table.ranked if row.control}
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, axes in enumerate(all_axes):
        for number, (method, logs) in enumerate(held.items()):
            values = logs[..., place]
            if not np.isfinite(values).any():
                continue
            style, colour = _LINES[number // len(COLOURS) % len(_LINES)], COLOURS[number % len(COLOURS)]
            style = _CONTROL if method in controls else style
            epochs = np.arange(1, values.shape[1] + 1)
            axes.plot(epochs, values.mean(axis=0), style, color=colour, label=names[method])
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, lw=0)
        axes.set_xlabel("epoch")
        if not axes.get_lines():
            nothing(axes, "not recorded")
    for axes, panel in zip(all_axes, panels, strict=True):
        axes.set_title(PANELS[panel], loc="left")
        if panel != "ce":
            column = list(PANELS).index(panel)
            end = accuracy_end(value for logs in held.values() for value in logs[..., column].ravel())
            # A line at 100 % would be cut in half.
            axes.set_ylim(0, 1.02 * end)
        elif axes.get_lines():
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note_hidden(figure, table, MOST_MARKS)
    return figure


def _log(folder: Path) -> np.ndarray | None:
    """The student's records of a run, `(epochs, panels)`, NaN where a value is missing; None where there are none."""
    try:
        records = [one for one in read_jsonl(folder / "metrics.jsonl") if one.get("phase") == "student"]
        rows = [_values(record) for record in sorted(records, key=lambda one: int(one["epoch"]))]
    except (DataError, AttributeError, KeyError, TypeError, ValueError):
        # A broken log costs its curve, not the comparison.
        return None
    return np.array(rows) if rows else None


def _values(record: dict[str, Any]) -> list[float]:
    validation, terms = record.get("validation") or {}, record.get("terms") or {}
    shares = (record.get("accuracy"), validation.get("accuracy"))
    accuracy, validated = (np.nan if share is None else 100 * float(share) for share in shares)
    return [accuracy, float(terms.get("ce", np.nan)), validated]
