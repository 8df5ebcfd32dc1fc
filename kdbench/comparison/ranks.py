"""The critical-difference diagram (Demšar, JMLR 2006, fig. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.comparison.blocks import Ranking
from kdbench.comparison.sheets import p_text
from kdbench.plotting.style import COLOURS, INK, head, new_figure, short
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
