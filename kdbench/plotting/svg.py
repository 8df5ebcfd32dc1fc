"""Pictures of the site as plain shapes, which the templates draw as SVG: no script, and no picture file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from kdbench.evaluation.metrics import confusion

if TYPE_CHECKING:
    from kdbench.leaderboard.curves import Curve
    from kdbench.leaderboard.entry import BoardEntry
    from kdbench.leaderboard.tables import BoardRow, BoardTable

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 520, 260, 62, 40, 12, 14
CELL, MATRIX_LEFT = 16, 290
_LABEL, _LETTER, _LINE = 28, 6.5, 13
"""A label's most letters, and the width of a letter and the height of a line in pixels."""
_PLACES = (
    *((anchor, dx, dy) for dy in (4, -7, 15, -18, 26) for anchor, dx in (("start", 8), ("end", -8))),
    *(("middle", 0, dy) for dy in (-22, 30)),
)
"""Where a label may stand beside its point, the best place first."""
_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 100, 200, 500, 1000)
_APART = 60
"""Pixels between two marks of the time axis, so that their names do not touch."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, with its place in pixels."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A row of a table in a chart; `label` is empty where it would cover another."""

    x: float
    y: float
    low: float
    high: float
    row: BoardRow
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: str = "start"


@dataclass(frozen=True)
class Scatter:
    """Accuracy against cost; `alone` is the height of the student alone, `without` counts rows of unknown cost."""

    points: Sequence[Point]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    alone: float | None
    without: int


@dataclass(frozen=True)
class Curves:
    """One quantity over the epochs of a phase, a line per seed."""

    title: str
    lines: Sequence[tuple[int, str]]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def scatter(table: BoardTable) -> Scatter | None:
    """Accuracy, with its interval, against the seconds of one seed's training, on a logarithmic scale.

    Returns:
        None where fewer than two rows tell their cost.
    """
    alone, ends = table.alone, table.intervals.of
    costs = [(row.training_seconds, row) for row in table.rows]
    known = [(cost, row, ends(row.label) or (row.accuracy, row.accuracy)) for cost, row in costs if cost]
    if len(known) < 2:
        return None
    marks = _round_durations([cost for cost, _, _ in known])
    x = _Axis([math.log10(cost) for cost in (*marks, *(cost for cost, _, _ in known))], LEFT, WIDTH - RIGHT)
    y = _Axis([end for _, _, interval in known for end in interval], HEIGHT - BOTTOM, TOP)
    bare = [Point(x(math.log10(cost)), y(row.accuracy), y(low), y(high), row) for cost, row, (low, high) in known]
    base = y(alone.accuracy) if any(row is alone for _, row, _ in known) and alone is not None else None
    return Scatter(
        _labelled(bare, base), _apart(x.at(marks, _duration)), y.ticks(_per_cent), base, len(costs) - len(known)
    )


def _labelled(points: Sequence[Point], alone: float | None) -> list[Point]:
    """Gives each point its label where there is room: beside it, above or below, covering no mark and no label."""
    taken = [(p.x - 5, p.y - 5, p.x + 5, p.y + 5) for p in points]
    taken += [(p.x - 2, min(p.low, p.high), p.x + 2, max(p.low, p.high)) for p in points]
    taken += [] if alone is None else [(LEFT, alone - 1, WIDTH - RIGHT, alone + 1)]
    # As arrays, with room for all labels: a chart may hold thousands of points.
    boxes = np.full((len(taken) + len(points), 4), np.inf)
    count = len(taken)
    boxes[:count] = taken
    kept = []
    for point in points:
        text = point.row.label if len(point.row.label) <= _LABEL else f"{point.row.label[: _LABEL - 1]}…"
        width = _LETTER * len(text)
        lefts = [point.x + dx - {"start": 0.0, "end": width, "middle": width / 2}[anchor] for anchor, dx, _ in _PLACES]
        tops = [point.y + dy - _LINE + 4 for _, _, dy in _PLACES]
        wanted = np.array([(left, top, left + width, top + _LINE - 2) for left, top in zip(lefts, tops, strict=True)])
        inside = (wanted[:, 0] > LEFT) & (wanted[:, 2] < WIDTH) & (wanted[:, 1] > 0)
        inside &= wanted[:, 3] < HEIGHT - BOTTOM
        free = np.flatnonzero(inside)
        free = free[~_overlap(wanted[free, None], boxes[None, :count]).any(axis=1)]
        if len(free):
            boxes[count] = wanted[free[0]]
            count += 1
            anchor, dx, dy = _PLACES[free[0]]
            point = replace(point, label=text, label_x=point.x + dx, label_y=point.y + dy, anchor=anchor)
        kept.append(point)
    return kept


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether boxes `(…, 4)`, left, top, right and bottom, cover one another."""
    over: np.ndarray = (one[..., 0] < other[..., 2]) & (other[..., 0] < one[..., 2])
    return over & (one[..., 1] < other[..., 3]) & (other[..., 1] < one[..., 3])


def _round_durations(costs: Sequence[float]) -> list[float]:
    """Round numbers of seconds, minutes and hours from just below the cheapest row to just above the dearest."""
    low, high = min(costs), max(costs)
    known = [unit * n for unit, most in ((1, 60), (60, 60), (3600, 1e9)) for n in _STEPS if n < most]
    below = [seconds for seconds in known if seconds <= low][-1:] or [low]
    above = [seconds for seconds in known if seconds >= high][:1] or [high]
    return [*dict.fromkeys([*below, *(seconds for seconds in known if low < seconds < high), *above])]


def _apart(ticks: Sequence[Tick]) -> list[Tick]:
    """Both ends, and of the marks between them those that have room."""
    if len(ticks) < 3:
        return list(ticks)
    kept = [ticks[0]]
    for tick in ticks[1:-1]:
        if tick.at - kept[-1].at >= _APART and ticks[-1].at - tick.at >= _APART:
            kept.append(tick)
    return [*kept, ticks[-1]]


def curves(entry: BoardEntry) -> list[Curves]:
    """Loss and training accuracy of each phase."""
    parts: dict[tuple[str, str], list[Curve]] = {}
    for curve in entry.curves:
        parts.setdefault((curve.phase, curve.quantity), []).append(curve)
    return [
        _curves(f"{phase}: {quantity}", lines, _per_cent if quantity == "accuracy" else _short)
        for (phase, quantity), lines in parts.items()
    ]


def _curves(title: str, lines: Sequence[Curve], text: Callable[[float], str]) -> Curves:
    epochs, values = (np.concatenate(of) for of in ([c.epochs for c in lines], [c.values for c in lines]))
    x = _Axis((epochs.min(), epochs.max()), LEFT, WIDTH - RIGHT, pad=0)
    y = _Axis((values.min(), values.max()), HEIGHT - BOTTOM, TOP)
    drawn = [(curve.seed, _points(x.of(curve.epochs), y.of(curve.values))) for curve in lines]
    return Curves(title, drawn, x.ticks(lambda value: f"{value:.0f}"), y.ticks(text))


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join([f"{across:.1f},{down:.1f}" for across, down in zip(x.tolist(), y.tolist(), strict=True)])


def squares(entry: BoardEntry) -> Markup:
    """The cells of the confusion matrix that are not empty: the share of a true class (row) predicted as each class.

    Over all seeds. As SVG, since there are hundreds on each of thousands of pages: the names of classes are escaped
    here, and all else are numbers.
    """
    names = [escape(name) for name in entry.result.classes]
    seeds = [entry.scored(trained.seed) for trained in entry.result.seeds]
    labels = np.concatenate([np.tile(one.labels, len(one.predicted)) for one in seeds])
    predicted = np.concatenate([one.predicted.ravel() for one in seeds])
    matrix = confusion(labels, predicted, len(names))
    rows, columns = np.nonzero(matrix)
    cells = zip(rows.tolist(), columns.tolist(), matrix[rows, columns].tolist(), strict=True)
    return Markup("\n").join(
        Markup(
            f'<rect x="{MATRIX_LEFT + column * CELL}" y="{row * CELL}" width="{CELL}" height="{CELL}" '
            f'fill-opacity="{round(share, 3)}"><title>{names[row]} → {names[column]}: {100 * share:.1f} %</title>'
            "</rect>"
        )
        for row, column, share in cells
    )


class _Axis:
    """Maps values onto pixels, with a margin and round marks."""

    def __init__(self, values: Sequence[float], start: float, end: float, pad: float = 0.06) -> None:
        low, high = min(values), max(values)
        # A single value still needs a width to be divided by.
        margin = (high - low) * pad or (0.05 if high == low else 0.0)
        self.low, self.high, self.start, self.end = low - margin, high + margin, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def of(self, values: np.ndarray) -> np.ndarray:
        """Many values at once, by the same steps."""
        places: np.ndarray = self.start + (values - self.low) / (self.high - self.low) * (self.end - self.start)
        return places

    def ticks(self, text: Callable[[float], str], count: int = 5) -> list[Tick]:
        from matplotlib.ticker import MaxNLocator

        marks = MaxNLocator(count).tick_values(self.low, self.high)
        return [Tick(self(float(v)), text(float(v))) for v in marks if self.low <= v <= self.high]

    def at(self, values: Sequence[float], text: Callable[[float], str]) -> list[Tick]:
        """Marks at given values of a logarithmic axis."""
        return [Tick(self(math.log10(value)), text(value)) for value in values]


def _per_cent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
