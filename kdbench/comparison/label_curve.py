"""Accuracy over the number of labelled trials per class: what a method is worth as labels become few, in a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.comparison.conditions import without
from kdbench.comparison.groups import LIBRARIES
from kdbench.comparison.sheets import about, label
from kdbench.comparison.table import GroupTable, Row
from kdbench.plotting.style import COLOURS, accuracy_end, head, new_figure, short
from kdbench.recipes.track import Track, track_of
from kdbench.runs.gain import is_alone
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 8
"""Methods that a picture shows at most, beside the student alone and the controls."""
_WIDTH, _HEIGHT = 7.0, 5.6
_METHODS = (*(COLOURS[place] for place in (0, 2, 3, 4, 5, 7)), "#222222", "#882255")
_ALONE, _CONTROL = COLOURS[6], COLOURS[1]
_MARKERS = "os^Dv<>P"
_SPREAD = 0.32
"""How far apart the marks of one number of labels lie, where the next number is 1 away."""


@dataclass(frozen=True)
class Line:
    """One row over the tracks.

    Attributes:
        name: What the legend calls it.
        points: Row of each track that has a result, by the track's place on the axis.
        is_control: Whether its teacher knows nothing.
        is_alone: Whether it is what gains are over.
    """

    name: str
    points: Mapping[int, Row]
    is_control: bool
    is_alone: bool

    @property
    def mean(self) -> float:
        """Its mean accuracy over its tracks."""
        return float(np.mean([row.measures["accuracy"].mean for row in self.points.values()]))


@dataclass(frozen=True)
class LabelTracks:
    """Tables that differ in the number of labels alone, the fewest first.

    Attributes:
        tracks: Their tracks.
        tables: The tables.
    """

    tracks: tuple[Track, ...]
    tables: tuple[GroupTable, ...]

    @property
    def place(self) -> str:
        """Data set, protocol and preset."""
        group = self.tables[0].group
        return " · ".join(str(group.conditions[key]) for key in ("dataset", "protocol", "preset"))

    def lines(self) -> tuple[list[Line], int]:
        """The rows over the tracks, and how many methods are not among them.

        A method needs two tracks to be a line; the student alone and the controls are there with one too.
        """
        points: dict[str, dict[int, Row]] = defaultdict(dict)
        alone: set[str] = set()
        for place, table in enumerate(self.tables):
            for row in table.ranked:
                points[label(row)][place] = row
                if is_alone(table.group.recipes[row.method]):
                    alone.add(label(row))
        found = [
            Line(name, held, any(row.control for row in held.values()), name in alone) for name, held in points.items()
        ]
        beside = [line for line in found if line.is_control or line.is_alone]
        methods = [line for line in found if line not in beside]
        shown = sorted((line for line in methods if len(line.points) > 1), key=lambda line: -line.mean)[:MOST_LINES]
        return [*shown, *sorted(beside, key=lambda line: -line.mean)], len(methods) - len(shown)


def label_tracks(tables: Sequence[GroupTable]) -> list[LabelTracks]:
    """Sets of tables of one data set, protocol and preset under two label tracks or more.

    Args:
        tables: Tables of a comparison, the largest first; of two with equal labels the first is taken.
    """
    alike: dict[Hashable, dict[Track, GroupTable]] = defaultdict(dict)
    for table in tables:
        conditions, track = table.group.conditions, track_of(table.group.conditions)
        if track.pairs == 1 and table.ranked and not table.group.across:
            key = frozenset(without(conditions, ("track", "split", LIBRARIES)).items())
            alike[key].setdefault(track, table)
    found = []
    for held in alike.values():
        for teacher in ("all", "same"):
            few = [track for track in held if not track.is_whole and track.teacher_labels == teacher]
            whole = [track for track in held if track.is_whole]
            tracks = [*sorted(few, key=lambda track: int(track.labels)), *whole]
            if few and len(tracks) > 1:
                found.append(LabelTracks(tuple(tracks), tuple(held[track] for track in tracks)))
    return found


def label_curve(held: LabelTracks) -> Figure:
    """Accuracy with its interval over the number of labels per class; the student alone and controls dashed.

    Lines join neighbouring tracks alone. Without labels another thing is measured, by a probe, so none leads there.

    Args:
        held: The tables.
    """
    lines, hidden = held.lines()
    figure = new_figure(_WIDTH, _HEIGHT)
    teacher = "the same labels" if held.tracks[0].teacher_labels == "same" else "all labels"
    head(figure, f"Accuracy by labels per class · {held.place}", f"mean over seeds; teacher uses {teacher}")
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
        means = np.full(len(held.tracks), np.nan)
        for place, row in line.points.items():
            means[place] = 100 * row.measures["accuracy"].mean
        look: dict[str, Any] = {"marker": marker, "ms": 5, "mfc": "white" if plain else colour, "color": colour}
        probed = sum(track.is_transfer_alone for track in held.tracks)
        places = np.arange(len(held.tracks)) + offset
        name = short(line.name, 34)
        axes.plot(places[probed:], means[probed:], linestyle="--" if plain else "-", label=name, **look)
        axes.plot(places[:probed], means[:probed], linestyle="none", **look)
    axes.set_xticks(range(len(held.tracks)), [_tick(track) for track in held.tracks])
    axes.set_xlim(-0.5, len(held.tracks) - 0.5)
    axes.grid(axis="x", visible=False)
    for edge in range(1, len(held.tracks)):
        axes.axvline(edge - 0.5, color="#EEEEEE", lw=1)
    rows = [row for line in lines for row in line.points.values()]
    axes.set_ylim(0, accuracy_end(100 * row.measures["accuracy"].high for row in rows))
    axes.set_xlabel("labelled trials of each class that the student sees")
    axes.set_ylabel("accuracy, % (95 % intervals)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8.5)
    rest = f"; {counted(hidden, 'more method')}: in the tables" if hidden else ""
    axes.set_title(f"{about(held.tables[-1])}\nDashed: the student alone and controls{rest}", fontsize=7.5, loc="left")
    return figure


def _tick(track: Track) -> str:
    if track.is_transfer_alone:
        return "0\n(linear probe)"
    return str(track.labels)
