"""Pictures of a run: its learning curves and its confusion matrix, as PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.plotting.style import COLOURS, STYLE, accuracy_end, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PHASES = ("teacher", "student")
_TOTAL = "#222222"
_NUMBERS_UP_TO = 40


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
    import matplotlib as mpl
    from matplotlib.figure import Figure

    phases = [phase for phase in PHASES if any(record["phase"] == phase for record in records)]
    if not phases:
        raise ValueError("there is no epoch to draw")
    names = list(dict.fromkeys(name for record in records for name in record["terms"]))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 0.6 + 2.9 * len(phases)), layout="constrained")
        figure.suptitle(title, fontsize=12, fontweight="bold")
        rows = figure.subplots(len(phases), 3, squeeze=False)
        for phase, (losses, gradients, accuracy) in zip(phases, rows, strict=True):
            own = sorted((r for r in records if r["phase"] == phase), key=lambda r: r["epoch"])
            epochs = [record["epoch"] for record in own]
            _curves(losses, epochs, own, "terms", colour, f"{phase.capitalize()}: loss terms")
            _line(losses, epochs, [record["loss"] for record in own], "total", _TOTAL, "--")
            _curves(gradients, epochs, own, "grad_norms", colour, f"{phase.capitalize()}: gradient norms")
            _accuracy(accuracy, epochs, own, f"{phase.capitalize()}: accuracy")
            for panel in (losses, gradients):
                _log_where_possible(panel)
            for panel in (losses, gradients, accuracy):
                _finish(panel, epochs)
        save_png(figure, path)


def confusion_matrix(matrix: np.ndarray, classes: Sequence[str], path: Path, *, title: str) -> None:
    """Draws a row-normalised confusion matrix with its shares in per cent.

    Args:
        matrix: `(K, K)`, rows are true classes and sum to one, or to zero where a class is absent.
        classes: The K names.
        path: The PNG, written atomically.
        title: Heading.

    Raises:
        RunFailed: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    count = len(classes)
    side = max(3.0, 0.3 * count)
    margin = 0.075 * max(len(name) for name in classes)
    width = side + margin + 1.3
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(width, side + margin + 0.9), layout="constrained")
        figure.suptitle(textwrap.fill(title, int(8 * width)), fontsize=12, fontweight="bold")
        axes = figure.subplots()
        image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(count), classes, rotation=90)
        axes.set_yticks(range(count), classes)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_xticks(np.arange(0.5, count - 1), minor=True)
        axes.set_yticks(np.arange(0.5, count - 1), minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        if count <= _NUMBERS_UP_TO:
            _write_shares(axes, matrix)
        bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=25, pad=0.02)
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        save_png(figure, path)


def _write_shares(axes: Axes, matrix: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(matrix):
        per_cent = round(100 * share)
        if per_cent:
            colour = "white" if share > 0.55 else _TOTAL
            weight = "bold" if row == column else "normal"
            axes.text(column, row, per_cent, ha="center", va="center", fontsize=7, color=colour, fontweight=weight)


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
    _line(axes, epochs, [held.get("accuracy") for held in validation], "validation", COLOURS[3])
    _line(axes, epochs, [held.get("macro_f1") for held in validation], "validation F1", COLOURS[3], ":")
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
