"""Classes in matrices: confusion, what a method gains at each class, and how its confusion differs from another's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.plotting.methods import MOST_ROWS, note_hidden, shown_rows
from kdbench.plotting.style import INK, head, heatmap, new_figure, png_figure, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdbench.comparison.table import GroupTable

_NUMBERS_UP_TO = 40
_NARROWEST_SCALE = 5.0
"""Points at which a scale of differences ends at least, so that small ones look small."""


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
    count = len(classes)
    side, margin = max(3.0, 0.3 * count), 0.075 * max(map(len, classes))
    per_cent = np.vectorize(lambda share: f"{share:.0f}" if round(share) and count <= _NUMBERS_UP_TO else "")(
        100 * matrix
    )
    with png_figure(path, side + margin + 1.3, side + margin + 0.9, title=title) as figure:
        axes, bar = heatmap(figure, matrix, per_cent, classes, classes, colours="Blues", low=0, high=1)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
        bar.set_label("share of the true class")


def class_gain(table: GroupTable) -> Figure | None:
    """Recall of each class above the student alone's, a row per method, points."""
    rows = [row for row in shown_rows(table, MOST_ROWS) if row.gain]
    if not rows:
        return None
    names = {name: short(text, 26) for name, text in table.class_names.items() if name in table.recalls(rows[0])}
    matrix = np.array(
        [
            [100 * (own[name] - base[name]) for name in names]
            for own, base in ((table.recalls(row), table.recalls(table.row(row.gain.over))) for row in rows if row.gain)
        ]
    )
    bound = max(_NARROWEST_SCALE, float(np.abs(matrix).max()))
    figure = new_figure(max(3.6 + 0.36 * len(names), 7.5), 3.4 + 0.36 * len(rows))
    head(figure, f"Recall by class above {table.alone_words} · {table.title}", "points, mean over seeds, as measured")
    labels = [short(row.label) for row in rows]
    _, bar = heatmap(
        figure, matrix, _written(matrix), labels, list(names.values()), low=-bound, high=bound, aspect="auto"
    )
    bar.set_label(f"recall above {table.alone_words}, points")
    note_hidden(figure, table, MOST_ROWS)
    return figure


def confusion_difference(table: GroupTable) -> Figure | None:
    """Confusion matrix of the best method less that of the student alone, points of each true class.

    Its colours say which is better: on the diagonal more is, beside it less, since that is errors.
    """
    from matplotlib.patches import Rectangle

    row = next((row for row in table.ranked if row.gain and not row.control), None)
    if row is None or row.gain is None:
        return None
    difference = 100 * (table.confusion(row.method) - table.confusion(row.gain.over))
    bound = max(_NARROWEST_SCALE, float(np.abs(difference).max()))
    side = 0.3 * len(difference)
    figure = new_figure(max(7.5, side + 4.2), max(5.0, side + 3.4))
    head(
        figure,
        f"Confusion: {short(row.method)} minus {row.gain.over} · {table.title}",
        "points of the true class, mean over seeds, as measured. Framed: named right, more is better; others: errors, "
        "less is better",
    )
    # On the diagonal more is better, elsewhere less: turned round, blue means better everywhere.
    better = np.where(np.eye(len(difference), dtype=bool), difference, -difference)
    names = [short(text, 26) for text in table.class_names.values()]
    axes, bar = heatmap(figure, better, _written(difference), names, names, low=-bound, high=bound)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for place in range(len(difference)):
        axes.add_patch(Rectangle((place - 0.47, place - 0.47), 0.94, 0.94, fill=False, edgecolor=INK, linewidth=0.9))
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    bar.set_label(f"points; blue: {short(row.method)} is better, red: {short(row.gain.over)} is")
    return figure


def _written(points: np.ndarray, form: str = "+.0f") -> np.ndarray:
    """Numbers as text, without what rounds to nothing."""
    write = np.vectorize(lambda value: f"{value:{form}}".replace("-", "−") if round(value) else "", otypes=[object])
    return write(points)
