"""Embeddings in two dimensions, a panel per network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdbench.plotting.style import FAINT, PLAIN, png_figure


def draw_embeddings(
    points: Mapping[str, np.ndarray],
    labels: np.ndarray,
    names: Sequence[str],
    path: Path,
    method: str,
    ringed: Mapping[str, np.ndarray],
) -> None:
    """Draws each trial as a point in the colour of its class; each class's number stands at its middle.

    Args:
        points: Places `(N, 2)` by the network's role.
        labels: Classes `(N,)`.
        names: The K class names.
        path: The PNG.
        method: What laid the points out.
        ringed: Role → which trials it predicts wrongly, `(N,)`.
    """
    import matplotlib as mpl

    colours = mpl.colormaps["turbo"](np.linspace(0.03, 0.97, len(names)))
    with png_figure(path, 6 * len(points) + 0.2, 6.1 + 0.2 * -(-len(names) // 6), style=PLAIN) as figure:
        panels = figure.subplots(1, len(points), squeeze=False)[0]
        for axes, (role, places) in zip(panels, points.items(), strict=True):
            for k in np.unique(labels):
                own = places[labels == k]
                axes.scatter(*own.T, s=14, color=colours[k], alpha=0.8, linewidth=0, label=f"{k + 1} {names[k]}")
                # The trial nearest to the median: the middle of two clusters would lie in neither.
                middle = own[np.argmin(((own - np.median(own, 0)) ** 2).sum(1))]
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}
                centred = {"ha": "center", "va": "center"}
                axes.annotate(str(k + 1), middle, fontsize=8, fontweight="bold", bbox=box, **centred)
            if role in ringed:
                axes.scatter(*places[ringed[role]].T, s=42, facecolor="none", edgecolor="black", linewidth=0.8)
            axes.set_title(f"{role}: {method}" + (" (rings: wrong predictions)" if role in ringed else ""), loc="left")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(FAINT)
        handles, texts = panels[-1].get_legend_handles_labels()
        columns = 3 * len(points)
        figure.legend(handles, texts, loc="outside lower center", ncols=columns, fontsize=7, handletextpad=0.1)
