"""Methods of a comparison beside one another: accuracy and gain, accuracy against cost, mean ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdbench.plotting.style import COLOURS, INK, accuracy_end, head, new_figure, short
from kdbench.text.wording import counted, p_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdbench.comparison.blocks import Ranking
    from kdbench.comparison.table import GroupTable, Row

_MARKERS = "os^Dv<>Pph*X"
MOST_ROWS = 30
"""Methods that a picture shows at most: the best ones, the student alone and the controls."""
MOST_MARKS = 16
"""The same where methods are told apart by their marks."""


def colour_of(row: Row) -> str:
    """Grey for the student alone, orange for a control, blue for a method."""
    if row.control:
        return COLOURS[1]
    return COLOURS[0] if row.gain else COLOURS[6]


def shown_rows(table: GroupTable, most: int) -> list[Row]:
    """The best methods, with the student alone and the controls wherever they rank; in the table's order."""
    ranked = table.ranked
    kept = {row.method for row in ranked if row.control or row.gain is None}
    others = [row.method for row in ranked if row.method not in kept]
    # One method at least, however many controls there are.
    kept.update(others[: max(most - len(kept), 1)])
    return [row for row in ranked if row.method in kept][: 2 * most]


def note_hidden(figure: Figure, table: GroupTable, most: int) -> None:
    """Says how many methods a picture leaves out."""
    hidden = len(table.ranked) - len(shown_rows(table, most))
    if hidden > 0:
        figure.supxlabel(f"the best methods; {hidden} more are in the table", fontsize=8, color="#777777")


def bars(table: GroupTable) -> Figure | None:
    """Accuracy with intervals and seeds on the left; on the right what each method gains over the student alone."""
    # The axis grows upwards, and the best is to stand on top.
    rows = shown_rows(table, MOST_ROWS)[::-1]
    if not rows:
        return None
    figure = new_figure(9.5 + 0.08 * max(len(short(row.label)) for row in rows), 2.0 + 0.34 * len(rows))
    head(figure, f"Accuracy and gain · {table.title}", table.about)
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
    left.set_yticks(places, [short(row.label) for row in rows])
    chance = 100 * table.chance
    drawn = [100 * share for row in rows for share in _values(row)]
    left.set_xlim(0, accuracy_end([chance, *drawn]))
    left.axvline(chance, color=INK, lw=0.9, ls=":", zorder=0)
    left.set_ylim(-0.7, len(rows) - 0.3)
    left.set_xlabel(
        f"accuracy, %\n(bar: mean; line: 95 % interval; dots: seeds; dotted: always one class, {chance:.0f} %)"
    )
    left.grid(axis="y", visible=False)
    if overs:
        right.grid(axis="y", visible=False)
        right.axvline(0, color=INK, lw=0.8)
        right.set_xlabel(f"gain over {short(table.over)},\npoints of {table.metric_name} (95 % interval)")
        right.tick_params(left=False)
    note_hidden(figure, table, MOST_ROWS)
    return figure


def _values(row: Row) -> list[float]:
    """All accuracies that a row's bar shows."""
    of = row.measures["accuracy"]
    return [of.mean, of.low, of.high, *(seed["accuracy"] for seed in row.seeds.values())]


def cost(table: GroupTable) -> Figure | None:
    """Accuracy against training time and against peak memory; a mark and a colour per method."""
    rows = [row for row in shown_rows(table, MOST_MARKS) if row.cost.get("train_seconds") is not None]
    if not rows:
        return None
    figure = new_figure(10.5, max(4.6, 1.6 + 0.22 * len(rows)))
    head(figure, f"Accuracy against cost · {table.title}", table.about)
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
                label=short(row.label),
            )
    start = max(0.0, time.get_ylim()[0])
    time.set_ylim(bottom=start)
    note = f"\nthe axis starts at {start:.0f} %; always one class: {100 * table.chance:.0f} %" if start else ""
    time.set_ylabel(f"accuracy, % (95 % interval){note}")
    time.set_xlabel("training of student and teacher,\nminutes, mean over seeds")
    memory.set_xlabel("peak memory, GiB,\nlargest of the seeds")
    for axes, most in zip((time, memory), largest, strict=True):
        axes.set_xlim(0, 1.08 * most or 1)
    figure.legend(*time.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note_hidden(figure, table, MOST_MARKS)
    return figure


def rank_diagram(ranking: Ranking) -> Figure:
    """Mean ranks on a line; bars join methods that cannot be told apart."""
    ranks = ranking.ranks
    count = len(ranks.methods)
    half = (count + 1) // 2
    bars = 0.28 * len(ranks.groups)
    figure = new_figure(10, 2.2 + 0.3 * half + 0.25 * bars)
    head(
        figure,
        f"Mean ranks over {counted(ranks.blocks, 'block')} that share no subject",
        f"Friedman p {p_text(ranks.p)}; critical difference {ranks.critical_difference:.2f} (Nemenyi, 5 %); "
        f"about {ranks.about}",
    )
    axes = figure.subplots()
    axes.axis("off")
    depth = 0.6 + bars
    # Names lie beside these limits: the layout then leaves them the room that they need.
    axes.set_xlim(1 - 0.12 * (count - 1), count + 0.12 * (count - 1))
    axes.set_ylim(-(depth + 0.5 * half), 1.5)
    axes.plot([1, count], [0, 0], color=INK, lw=1.2)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.12], color=INK, lw=1)
        axes.text(tick, 0.22, str(tick), ha="center", va="bottom", fontsize=8)
    for place, (method, rank) in enumerate(zip(ranks.methods, ranks.mean_ranks, strict=True)):
        left = place < half
        y = -(depth + 0.5 * (place if left else count - 1 - place))
        edge = 1 - 0.12 * (count - 1) if left else count + 0.12 * (count - 1)
        axes.plot([rank, rank, edge], [0, y, y], color="#888888", lw=0.9)
        text = f"{short(method)} ({rank:.2f})"
        axes.text(
            edge, y, f"{text} " if left else f" {text}", ha="right" if left else "left", va="center", fontsize=8.5
        )
    place_of = dict(zip(ranks.methods, ranks.mean_ranks, strict=True))
    for number, group in enumerate(ranks.groups):
        y = -0.28 - 0.28 * number
        axes.plot([place_of[group[0]] - 0.03, place_of[group[-1]] + 0.03], [y, y], color=COLOURS[0], lw=3.5)
    shown = min(ranks.critical_difference, count - 1.0)
    axes.plot([1, 1 + shown], [1.0, 1.0], color=COLOURS[3], lw=1.6, marker="|")
    axes.text(1, 1.12, "critical difference", ha="left", va="bottom", fontsize=8, color=COLOURS[3])
    return figure
