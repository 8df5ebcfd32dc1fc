"""Accuracy over the number of labelled trials per class: what a method is worth as labels become few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.plotting.style import COLOURS, accuracy_end, head, new_figure, short
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdbench.comparison.label_tracks import LabelTracks
    from kdbench.recipes.track import Track

_WIDTH, _HEIGHT = 7.0, 5.6
_METHODS = (*(COLOURS[place] for place in (0, 2, 3, 4, 5, 7)), "#222222", "#882255")
_ALONE, _CONTROL = COLOURS[6], COLOURS[1]
_MARKERS = "os^Dv<>P"
_SPREAD = 0.32
"""How far apart the marks of one number of labels lie, where the next number is 1 away."""


def label_curve(curve: LabelTracks) -> Figure:
    """Accuracy with its interval over the number of labels per class; the student alone and controls dashed.

    Lines join neighbouring tracks alone. Without labels another thing is measured, by a probe, so none leads there.

    Args:
        curve: The tables.
    """
    lines, hidden = curve.lines()
    figure = new_figure(_WIDTH, _HEIGHT)
    teacher = "the same labels" if curve.tracks[0].teacher_labels == "same" else "all labels"
    head(figure, f"Accuracy by labels per class · {curve.place}", f"mean over seeds; teacher uses {teacher}")
    axes = figure.subplots()
    offsets = np.linspace(-_SPREAD, _SPREAD, len(lines)) if len(lines) > 1 else np.zeros(1)
    methods = 0
    for number, (line, offset) in enumerate(zip(lines, offsets, strict=True)):
        colour = _CONTROL if line.is_control else _ALONE if line.is_alone else _METHODS[methods % len(_METHODS)]
        methods += not (line.is_control or line.is_alone)
        marker = _MARKERS[number % len(_MARKERS)]
        plain = line.is_control or line.is_alone
        for place, row in line.points.items():
            of = row.measures["accuracy"]
            axes.plot([place + offset] * 2, [100 * of.low, 100 * of.high], color=colour, lw=1.1, alpha=0.55)
        # Where a track in between has no result the line is broken, and without labels another thing is measured.
        means = np.full(len(curve.tracks), np.nan)
        for place, row in line.points.items():
            means[place] = 100 * row.measures["accuracy"].mean
        look: dict[str, Any] = {"marker": marker, "ms": 5, "mfc": "white" if plain else colour, "color": colour}
        probed = sum(track.is_transfer_alone for track in curve.tracks)
        places = np.arange(len(curve.tracks)) + offset
        name = short(line.name, 34)
        axes.plot(places[probed:], means[probed:], linestyle="--" if plain else "-", label=name, **look)
        axes.plot(places[:probed], means[:probed], linestyle="none", **look)
    axes.set_xticks(range(len(curve.tracks)), [_tick(track) for track in curve.tracks])
    axes.set_xlim(-0.5, len(curve.tracks) - 0.5)
    axes.grid(axis="x", visible=False)
    for edge in range(1, len(curve.tracks)):
        axes.axvline(edge - 0.5, color="#EEEEEE", lw=1)
    rows = [row for line in lines for row in line.points.values()]
    axes.set_ylim(0, accuracy_end(100 * row.measures["accuracy"].high for row in rows))
    axes.set_xlabel("labelled trials of each class that the student sees")
    axes.set_ylabel("accuracy, % (95 % intervals)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8.5)
    rest = f"; {counted(hidden, 'more method')}: in the tables" if hidden else ""
    axes.set_title(f"{curve.tables[-1].about}\nDashed: the student alone and controls{rest}", fontsize=7.5, loc="left")
    return figure


def _tick(track: Track) -> str:
    if track.is_transfer_alone:
        return "0\n(linear probe)"
    return str(track.labels)
