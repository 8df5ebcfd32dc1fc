"""Pictures of a comparison, as PNG and SVG; no display is needed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.comparison.drawing import MOST_MARKS, MOST_ROWS, colour_of, note_hidden, shown_rows
from kdbench.comparison.sheets import about, label, metric_name
from kdbench.comparison.subjects import known_card
from kdbench.comparison.table import GroupTable, Row, recalls
from kdbench.plotting.style import COLOURS, INK, STYLE, accuracy_end, finish_grid, head, new_figure, short
from kdbench.runs.gain import alone_words
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from kdbench.comparison.result import Comparison

_LONGEST_NAME = 120
_MARKERS = "os^Dv<>Pph*X"
_RC: dict[Any, Any] = STYLE | {"text.parse_math": False, "svg.fonttype": "path", "svg.hashsalt": "kdbench"}


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: Its file's name, without an ending.
        title: Its heading.
        figure: What matplotlib draws.
    """

    name: str
    title: str
    figure: Figure

    def png(self) -> bytes:
        """As PNG, 150 dots per inch."""
        return self._saved("png")

    def svg(self) -> bytes:
        """As SVG, without a date, so that the same numbers give the same file."""
        return self._saved("svg")

    def _saved(self, form: str) -> bytes:
        import matplotlib as mpl

        buffer = io.BytesIO()
        with mpl.rc_context(_RC):
            extra = {"metadata": {"Date": None}} if form == "svg" else {"dpi": 150}
            self.figure.savefig(buffer, format=form, **extra)
        return buffer.getvalue()


def pictures(comparison: Comparison) -> list[Picture]:
    """Every picture that the data allow, table by table."""
    import matplotlib as mpl

    from kdbench.comparison.curves import curves
    from kdbench.comparison.label_curve import label_curve, label_tracks
    from kdbench.comparison.ranks import rank_diagram

    drawn: tuple[tuple[str, Callable[[GroupTable], Figure | None]], ...] = (
        ("accuracy", bars),
        ("cost", cost),
        ("per_class_gain", class_gain),
        ("confusion_difference", confusion_difference),
        ("learning_curves", curves),
    )
    found = []
    with mpl.rc_context(_RC):
        for number, table in enumerate(comparison.tables, 1):
            for name, draw in drawn:
                figure = draw(table)
                if figure is not None:
                    place = _as_name(table.group.title)
                    heading = f"{name.replace('_', ' ').capitalize()}: {table.group.title}"
                    found.append(Picture(f"table{number}_{place}_{name}", heading, figure))
        for number, held in enumerate(label_tracks(comparison.tables), 1):
            heading = f"Accuracy by labels per class: {held.place}"
            found.append(Picture(f"label_curve{number}_{_as_name(held.place)}", heading, label_curve(held)))
        for number, ranking in enumerate(comparison.rankings, 1):
            heading = f"Mean ranks over {counted(ranking.ranks.blocks, 'block')} that share no subject"
            found.append(Picture(f"critical_difference{number}", heading, rank_diagram(ranking)))
    return found


def _as_name(title: str) -> str:
    """A title as a part of a file's name; cut, since a track's words are long."""
    return re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")[:_LONGEST_NAME]


def bars(table: GroupTable) -> Figure | None:
    """Accuracy with intervals and seeds on the left; on the right what each method gains over the student alone."""
    rows = shown_rows(table, MOST_ROWS)[::-1]
    if not rows:
        return None
    figure = new_figure(9.5 + 0.08 * max(len(short(label(row))) for row in rows), 2.0 + 0.34 * len(rows))
    head(figure, f"Accuracy and gain · {table.group.title}", about(table))
    overs = {row.gain.over for row in rows if row.gain}
    panels = figure.subplots(
        1, 2 if overs else 1, sharey=True, squeeze=False, width_ratios=(1.25, 1) if overs else None
    )
    left, right = panels[0][0], panels[0][-1]
    places = np.arange(len(rows))
    for place, row in zip(places, rows, strict=True):
        of, colour = row.measures["accuracy"], colour_of(row)
        left.barh(place, 100 * of.mean, height=0.62, color=colour, alpha=0.35, hatch="//" if row.control else None)
        left.plot([100 * of.low, 100 * of.high], [place, place], color=INK, lw=1.4, solid_capstyle="butt")
        values = [100 * value["accuracy"] for value in row.seeds.values()]
        left.plot(values, [place] * len(values), "o", ms=3.2, color=colour, mec="white", mew=0.4, zorder=3)
        if row.gain:
            gain = row.gain
            right.plot([100 * gain.low, 100 * gain.high], [place, place], color=colour, lw=1.8)
            right.plot(100 * gain.difference, place, "o", ms=5, color=colour)
    left.set_yticks(places, [short(label(row)) for row in rows])
    chance = 100 * _chance(table)
    drawn = [100 * each for row in rows for each in _values(row)]
    left.set_xlim(0, accuracy_end([chance, *drawn]))
    left.axvline(chance, color=INK, lw=0.9, ls=":", zorder=0)
    left.set_ylim(-0.7, len(rows) - 0.3)
    left.set_xlabel(
        f"accuracy, %\n(bar: mean; line: 95 % interval; dots: seeds; dotted: always one class, {chance:.0f} %)"
    )
    left.grid(axis="y", visible=False)
    if overs:
        name = next(iter(overs)) if len(overs) == 1 else alone_words(table.group.conditions)
        right.grid(axis="y", visible=False)
        right.axvline(0, color=INK, lw=0.8)
        right.set_xlabel(f"gain over {short(name)},\npoints of {metric_name(table)} (95 % interval)")
        right.tick_params(left=False)
    note_hidden(figure, table, MOST_ROWS)
    return figure


def _values(row: Row) -> list[float]:
    """All accuracies that a row's bar shows."""
    of = row.measures["accuracy"]
    return [of.mean, of.low, of.high, *(seed["accuracy"] for seed in row.seeds.values())]


def _chance(table: GroupTable) -> float:
    """The accuracy of always naming the most frequent class of the trials."""
    from kdbench.evaluation.metrics import majority_share

    return majority_share(next(iter(table.results[table.ranked[0].method].values())).labels)


def cost(table: GroupTable) -> Figure | None:
    """Accuracy against training time and against peak memory; a mark and a colour per method."""
    rows = [row for row in shown_rows(table, MOST_MARKS) if row.cost.get("train_seconds") is not None]
    if not rows:
        return None
    figure = new_figure(10.5, max(4.6, 1.6 + 0.22 * len(rows)))
    head(figure, f"Accuracy against cost · {table.group.title}", about(table))
    time, memory = figure.subplots(1, 2, sharey=True)
    largest = np.zeros(2)
    for number, row in enumerate(rows):
        of = row.measures["accuracy"]
        taught = (row.cost["teacher_seconds"] or 0) if row.teacher else 0
        minutes = ((row.cost["train_seconds"] or 0) + taught) / 60
        gib = (row.cost["peak_memory_bytes"] or 0) / 2**30
        largest = np.maximum(largest, (minutes, gib))
        for axes, x in ((time, minutes), (memory, gib)):
            axes.errorbar(
                x,
                100 * of.mean,
                yerr=[[100 * (of.mean - of.low)], [100 * (of.high - of.mean)]],
                fmt=_MARKERS[number % len(_MARKERS)],
                ms=7,
                color=COLOURS[number % len(COLOURS)],
                ecolor="#BBBBBB",
                elinewidth=1,
                mfc="none" if row.control else None,
                label=short(label(row)),
            )
    start = max(0.0, time.get_ylim()[0])
    time.set_ylim(bottom=start)
    note = f"\nthe axis starts at {start:.0f} %; always one class: {100 * _chance(table):.0f} %" if start else ""
    time.set_ylabel(f"accuracy, % (95 % interval){note}")
    time.set_xlabel("training of student and teacher,\nminutes, mean over seeds")
    memory.set_xlabel("peak memory, GiB,\nlargest of the seeds")
    for axes, most in zip((time, memory), largest, strict=True):
        axes.set_xlim(0, 1.08 * most or 1)
    figure.legend(*time.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note_hidden(figure, table, MOST_MARKS)
    return figure


def class_gain(table: GroupTable) -> Figure | None:
    """Recall of each class above the student alone's, a row per method, points."""
    rows = [row for row in shown_rows(table, MOST_ROWS) if row.gain]
    if not rows:
        return None
    held = {row.method: recalls(row, table) for row in table.ranked}
    classes, over = list(held[rows[0].method]), alone_words(table.group.conditions)
    names = _class_names(table, rows[0])
    matrix = np.array(
        [[100 * (held[row.method][name] - held[row.gain.over][name]) for name in classes] for row in rows if row.gain]
    )
    bound = max(5.0, float(np.abs(matrix).max()))
    width = 3.6 + 0.36 * len(classes)
    figure = new_figure(max(width, 7.5), 3.4 + 0.36 * len(rows))
    head(figure, f"Recall by class above {over} · {table.group.title}", "points, mean over seeds, as measured")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto")
    axes.set_xticks(range(len(classes)), [names[name] for name in classes], rotation=90)
    axes.set_yticks(range(len(rows)), [short(label(row)) for row in rows])
    for (row_at, column), value in np.ndenumerate(matrix):
        if round(value):
            colour = "white" if abs(value) > 0.6 * bound else INK
            axes.text(column, row_at, _signed(value), ha="center", va="center", fontsize=6.5, color=colour)
    finish_grid(axes, matrix.shape)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=18, pad=0.02)
    bar.set_label(f"recall above {over}, points")
    bar.outline.set_visible(False)
    note_hidden(figure, table, MOST_ROWS)
    return figure


def confusion_difference(table: GroupTable) -> Figure | None:
    """Confusion matrix of the best method less that of the student alone, points of each true class.

    Its colours say which is better: on the diagonal more is, beside it less, since that is errors.
    """
    row = next((row for row in table.ranked if row.gain and not row.control), None)
    if row is None or row.gain is None:
        return None
    classes = list(next(iter(table.group.runs[row.method].values())).metrics["per_class_recall"])
    difference = 100 * (_confusion(table, row.method, len(classes)) - _confusion(table, row.gain.over, len(classes)))
    bound = max(5.0, float(np.abs(difference).max()))
    side = 0.3 * len(classes)
    figure = new_figure(max(7.5, side + 4.2), max(5.0, side + 3.4))
    head(
        figure,
        f"Confusion: {short(row.method)} minus {row.gain.over} · {table.group.title}",
        "points of the true class, mean over seeds, as measured. Framed: named right, more is better; others: errors, "
        "less is better",
    )
    axes = figure.subplots()
    better = np.where(np.eye(len(classes), dtype=bool), difference, -difference)
    image = axes.imshow(better, cmap="RdBu", vmin=-bound, vmax=bound)
    shown = _class_names(table, row)
    names = [shown[name] for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=90)
    axes.set_yticks(range(len(classes)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for (true, predicted), value in np.ndenumerate(difference):
        if round(value):
            colour = "white" if abs(value) > 0.6 * bound else INK
            axes.text(predicted, true, _signed(value), ha="center", va="center", fontsize=6, color=colour)
    finish_grid(axes, difference.shape)
    for place in range(len(classes)):
        axes.add_patch(_frame(place))
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=24, pad=0.02)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    bar.set_label(f"points; blue: {short(row.method)} is better, red: {short(row.gain.over)} is")
    bar.outline.set_visible(False)
    return figure


def _frame(place: int) -> Rectangle:
    """The border of a cell of the diagonal."""
    from matplotlib.patches import Rectangle

    return Rectangle((place - 0.47, place - 0.47), 0.94, 0.94, fill=False, edgecolor=INK, linewidth=0.9)


def _signed(points: float) -> str:
    return f"{points:+.0f}".replace("-", "−")


def _class_names(table: GroupTable, row: Row) -> dict[str, str]:
    """A short name for each class: the card's where it is known, else the beginning of the name."""
    full = list(next(iter(table.group.runs[row.method].values())).metrics["per_class_recall"])
    card = known_card(str(table.group.conditions["dataset"]))
    known = dict(zip(card.class_names, card.short_names, strict=True)) if card else {}
    return {name: short(known.get(name, name), 26) for name in full}


def _confusion(table: GroupTable, method: str, classes: int) -> np.ndarray:
    from kdbench.evaluation.metrics import confusion

    runs = table.results[method].values()
    each = [confusion(np.tile(one.labels, len(one.predicted)), one.predicted.ravel(), classes) for one in runs]
    return np.mean(each, axis=0)
