"""Accuracy under damage: a panel per corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.plotting.style import COLOURS, INK, PLAIN, RULE, accuracy_end, png_figure

MOST_IN_A_ROW = 4


def draw_robustness(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    units: Mapping[str, str],
    path: Path,
    *,
    clean: float,
    chance: float,
) -> None:
    """Draws accuracy over severity: the mean over the draws, and a band from the lowest to the highest.

    Args:
        curves: By corruption, `severity`, `mean` and `accuracies` of each point; shares.
        units: What a severity is, by corruption.
        path: The PNG.
        clean: The accuracy without damage.
        chance: The accuracy of always naming one class.
    """
    drawn = [chance, clean, *(value for points in curves.values() for point in points for value in point["accuracies"])]
    columns = min(len(curves), MOST_IN_A_ROW)
    rows = -(-len(curves) // columns)
    with png_figure(path, 3.1 * columns, 3.3 * rows, style=PLAIN) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        for number, (axes, (name, points)) in enumerate(zip(panels[: len(curves)], curves.items(), strict=True)):
            at, colour = range(len(points)), COLOURS[number % len(COLOURS)]
            axes.axhline(100 * clean, color=RULE, linewidth=1)
            axes.axhline(100 * chance, color=RULE, linewidth=1, linestyle=":")
            lows, highs = ([100 * pick(point["accuracies"]) for point in points] for pick in (min, max))
            axes.fill_between(at, lows, highs, color=colour, alpha=0.2, linewidth=0)
            axes.plot(at, [100 * point["mean"] for point in points], marker="o", markersize=4, color=colour)
            axes.set_xticks(at, [f"{point['severity']:g}" for point in points])
            axes.set_xlabel(units[name])
            axes.set_title(name, loc="left", color=INK)
            axes.set_ylim(0, 1.02 * accuracy_end(100 * value for value in drawn))
        for axes in panels[::columns]:
            axes.set_ylabel("accuracy %")
        beside = {"xytext": (0, 2), "textcoords": "offset points", "fontsize": 7, "color": "#8A8A8A"}
        panels[0].annotate("always one class", (0, 100 * chance), **beside)
