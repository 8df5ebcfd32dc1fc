"""Curves over epochs: the losses, gradients and accuracy of a run, and the accuracy of several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.errors import DataError
from kdbench.plotting.methods import MOST_MARKS, note_hidden, shown_rows
from kdbench.plotting.style import COLOURS, accuracy_end, head, new_figure, nothing, png_figure, short
from kdbench.util.records import read_jsonl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kdbench.comparison.table import GroupTable

PHASES = ("teacher", "student")
_TOTAL = "#222222"
PANELS = {
    "accuracy": "Accuracy on the training part, %",
    "ce": "Cross-entropy on the training part, nats",
    "validation": "Accuracy on the validation part, %",
}
_LINES = ("-", "--")
_CONTROL = ":"
"""The line of a control."""


def learning_curves(records: Sequence[Mapping[str, Any]], path: Path, *, title: str) -> None:
    """Draws loss terms, the norms of their gradients and accuracy over epochs, one row of panels a phase.

    Args:
        records: Lines of `metrics.jsonl`: `phase`, `epoch`, `loss`, `terms`, `grad_norms`, `accuracy` and `validation`.
        path: The PNG, written atomically.
        title: Heading.

    Raises:
        ValueError: There is no record.
        RunFailed: The file cannot be written.
    """
    phases = [phase for phase in PHASES if any(record["phase"] == phase for record in records)]
    if not phases:
        raise ValueError("there is no epoch to draw")
    names = list(dict.fromkeys(name for record in records for name in record["terms"]))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    with png_figure(path, 10.5, 0.6 + 2.9 * len(phases), title=title) as figure:
        rows = figure.subplots(len(phases), 3, squeeze=False)
        for phase, (losses, gradients, accuracy) in zip(phases, rows, strict=True):
            own = sorted((r for r in records if r["phase"] == phase), key=lambda r: r["epoch"])
            epochs = [record["epoch"] for record in own]
            _curves(losses, epochs, own, "terms", colour, f"{phase.capitalize()}: loss terms")
            _line(losses, epochs, [record["loss"] for record in own], "total", _TOTAL, "--")
            # They are measured in some epochs only, between which a line leads.
            measured = [record for record in own if record["grad_norms"]]
            at = [record["epoch"] for record in measured]
            _curves(gradients, at, measured, "grad_norms", colour, f"{phase.capitalize()}: gradient norms")
            _accuracy(accuracy, epochs, own, f"{phase.capitalize()}: accuracy")
            for panel in (losses, gradients):
                _log_where_possible(panel)
            for panel in (losses, gradients, accuracy):
                _finish(panel, epochs)


def _curves(
    axes: Axes,
    epochs: list[int],
    records: Sequence[Mapping[str, Any]],
    key: str,
    colour: Mapping[str, str],
    title: str,
) -> None:
    names = dict.fromkeys(name for record in records for name in record.get(key) or {})
    for name in names:
        values = [(record.get(key) or {}).get(name) for record in records]
        _line(axes, epochs, values, name, colour.get(name, _TOTAL))
    axes.set_title(title, loc="left")


def _accuracy(axes: Axes, epochs: list[int], records: Sequence[Mapping[str, Any]], title: str) -> None:
    validation = [record.get("validation") or {} for record in records]
    _line(axes, epochs, [record.get("accuracy") for record in records], "training", COLOURS[0])
    _line(axes, epochs, [scores.get("accuracy") for scores in validation], "validation", COLOURS[3])
    _line(axes, epochs, [scores.get("macro_f1") for scores in validation], "validation F1", COLOURS[3], ":")
    oracle = [(record.get("test") or {}).get("accuracy") for record in records]
    _line(axes, epochs, oracle, "test (oracle)", COLOURS[3])
    drawn = [float(y) for line in axes.get_lines() for y in np.asarray(line.get_ydata(), dtype=float)]
    axes.set_ylim(0, 1.02 * accuracy_end(100 * value for value in drawn) / 100)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.set_title(title, loc="left")


def _line(
    axes: Axes, epochs: list[int], values: Sequence[float | None], label: str, colour: str, style: str = "-"
) -> None:
    """Draws one curve; epochs without a value are gaps, and a curve without any is left out."""
    points = np.array([np.nan if value is None else value for value in values], dtype=float)
    if np.isfinite(points).any():
        marker = "o" if len(epochs) <= 12 else ""
        axes.plot(epochs, points, style, marker=marker, markersize=3, color=colour, label=label)


def _log_where_possible(axes: Axes) -> None:
    """Takes a logarithmic scale, with gaps where a value is zero or below; a panel without positive values stays."""
    from matplotlib.ticker import LogLocator, NullFormatter

    positive = [y for line in axes.get_lines() for y in np.asarray(line.get_ydata(), dtype=float) if y > 0]
    if positive:
        axes.set_yscale("log", nonpositive="mask")
        axes.margins(y=0.08)
        wide = max(positive) > 100 * min(positive)
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes, epochs: list[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if axes.get_lines():
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=5, handlelength=1.4, columnspacing=1.2, fontsize=8
        )
    else:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="#999999")


def method_curves(table: GroupTable) -> Figure | None:
    """Accuracy and cross-entropy of the student on the training part by epoch: mean over seeds, band from the lowest.

    The validation part's accuracy has a panel where one was cut. Losses other than the cross-entropy are no panel:
    every method has its own.
    """
    from matplotlib.ticker import MaxNLocator

    chosen = shown_rows(table, MOST_MARKS)
    by_method: dict[str, np.ndarray] = {}
    for row in chosen:
        parts = [part for run in table.group.runs[row.method].values() for part in run.parts]
        read = [log for part in parts if (log := _log(part.folder)) is not None]
        if len(read) == len(parts):
            # Seeds may have unlike numbers of epochs; a mean takes those that all have.
            shortest = min(map(len, read))
            by_method[row.method] = np.stack([log[:shortest] for log in read])
    if not by_method:
        return None
    validated = any(np.isfinite(logs[..., -1]).any() for logs in by_method.values())
    panels = list(PANELS)[: 3 if validated else 2]
    figure = new_figure(3.2 + 3.8 * len(panels), 4.4)
    without = len(chosen) - len(by_method)
    rest = f"; methods without curves: {without}" if without else ""
    head(figure, f"Learning curves · {table.title}", f"mean over seeds; band: lowest to highest seed{rest}")
    names = {row.method: short(row.label) for row in table.ranked}
    controls = {row.method for row in table.ranked if row.control}
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, axes in enumerate(all_axes):
        for number, (method, logs) in enumerate(by_method.items()):
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
            end = accuracy_end(value for logs in by_method.values() for value in logs[..., column].ravel())
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
