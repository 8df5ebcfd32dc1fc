"""Learning curves of several methods in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.comparison.pictures import MOST_MARKS, head, new_figure, note_hidden, nothing, short, shown_rows
from kdbench.comparison.sheets import label
from kdbench.comparison.table import GroupTable
from kdbench.errors import DataError
from kdbench.results.files import read_jsonl
from kdbench.results.plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = ("-", "--")


def curves(table: GroupTable) -> Figure | None:
    """Accuracy and cross-entropy of the student on the training part by epoch: mean over seeds, band from the lowest.

    The validation part's accuracy has a panel where one was cut. Losses other than the cross-entropy are no panel:
    every method has its own.
    """
    from matplotlib.ticker import MaxNLocator

    chosen = shown_rows(table, MOST_MARKS)
    held = {row.method: [_records(run.folder) for run in table.group.runs[row.method].values()] for row in chosen}
    held = {method: runs for method, runs in held.items() if runs and all(runs)}
    if not held:
        return None
    panels = ["accuracy", "ce"] + (["validation"] if any(_has(runs, "validation") for runs in held.values()) else [])
    figure = new_figure(3.2 + 3.8 * len(panels), 4.4)
    without = len(chosen) - len(held)
    rest = f"; {without} methods have no curves" if without else ""
    head(figure, f"Learning curves · {table.group.title}", f"mean over seeds; band: lowest to highest seed{rest}")
    names = {row.method: short(label(row)) for row in table.ranked}
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        for number, (method, runs) in enumerate(held.items()):
            style = _LINES[number // len(COLOURS) % len(_LINES)]
            values = _values(runs, panel)
            if not np.isfinite(values).any():
                continue
            epochs = np.arange(1, values.shape[1] + 1)
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(epochs, values.mean(axis=0), style, color=colour, label=names[method])
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, lw=0)
        axes.set_xlabel("epoch")
        if not axes.get_lines():
            nothing(axes, "not recorded")
    titles = {
        "accuracy": "Accuracy on the training part, %",
        "ce": "Cross-entropy on the training part, nats",
        "validation": "Accuracy on the validation part, %",
    }
    for axes, panel in zip(all_axes, panels, strict=True):
        axes.set_title(titles[panel], loc="left")
        if panel != "ce":
            axes.set_ylim(0, 102)
        elif axes.get_lines():
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note_hidden(figure, table, MOST_MARKS)
    return figure


def _records(folder: Path) -> list[dict[str, Any]]:
    try:
        records = read_jsonl(folder / "metrics.jsonl")
    except DataError:
        # A broken log costs its curve, not the comparison.
        return []
    return sorted((one for one in records if one.get("phase") == "student"), key=lambda one: one["epoch"])


def _value(record: dict[str, Any], panel: str) -> float | None:
    if panel == "accuracy":
        return _scaled(record.get("accuracy"))
    if panel == "validation":
        return _scaled((record.get("validation") or {}).get("accuracy"))
    return (record.get("terms") or {}).get("ce")


def _scaled(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _has(runs: list[list[dict[str, Any]]], panel: str) -> bool:
    return any(_value(record, panel) is not None for run in runs for record in run)


def _values(runs: list[list[dict[str, Any]]], panel: str) -> np.ndarray:
    length = min(len(run) for run in runs)
    rows = [[_value(record, panel) for record in run[:length]] for run in runs]
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
