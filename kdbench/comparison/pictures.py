"""Pictures of a comparison, as PNG and SVG; no display is needed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kdbench.comparison.label_tracks import label_tracks
from kdbench.comparison.table import GroupTable
from kdbench.plotting import class_matrices, curves, methods
from kdbench.plotting.label_curve import label_curve
from kdbench.plotting.style import STYLE
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdbench.comparison.result import ComparedTables

_LONGEST_NAME = 120
# Names may hold a dollar sign; outlines need no font; a fixed salt gives elements the same ids each time.
_RC: dict[Any, Any] = STYLE | {"text.parse_math": False, "svg.fonttype": "path", "svg.hashsalt": "kdbench"}


@dataclass(frozen=True)
class ComparisonPicture:
    """One picture.

    Attributes:
        name: Its file's name, without an ending.
        title: Its heading.
        figure: What matplotlib draws.
        number: Number of the comparison's table that it is about, from 1; 0 where it is about several.
    """

    name: str
    title: str
    figure: Figure
    number: int = 0

    def png(self) -> bytes:
        """As PNG, 150 dots per inch."""
        return self._saved("png")

    def svg(self) -> bytes:
        """As SVG, without a date, so that the same numbers give the same file."""
        return self._svg

    @cached_property
    def _svg(self) -> bytes:
        # A page holds it and a file of its own does, and laying it out takes seconds.
        return self._saved("svg")

    def _saved(self, form: str) -> bytes:
        import matplotlib as mpl

        buffer = io.BytesIO()
        with mpl.rc_context(_RC):
            extra = {"metadata": {"Date": None}} if form == "svg" else {"dpi": 150}
            self.figure.savefig(buffer, format=form, **extra)
        return buffer.getvalue()


def pictures(comparison: ComparedTables) -> list[ComparisonPicture]:
    """Every picture that the data allow, table by table."""
    import matplotlib as mpl

    drawn: tuple[tuple[str, Callable[[GroupTable], Figure | None]], ...] = (
        ("accuracy", methods.bars),
        ("cost", methods.cost),
        ("per_class_gain", class_matrices.class_gain),
        ("confusion_difference", class_matrices.confusion_difference),
        ("learning_curves", curves.method_curves),
    )
    figures = []
    with mpl.rc_context(_RC):
        for number, table in enumerate(comparison.tables, 1):
            for name, draw in drawn:
                figure = draw(table)
                if figure is not None:
                    place = _as_name(table.group.short_title)
                    heading = f"{name.replace('_', ' ').capitalize()}: {table.group.title}"
                    figures.append(ComparisonPicture(f"table{number}_{place}_{name}", heading, figure, number))
        for number, tracks in enumerate(label_tracks(comparison.tables), 1):
            heading = f"Accuracy by labels per class: {tracks.place}"
            figures.append(
                ComparisonPicture(f"label_curve{number}_{_as_name(tracks.place)}", heading, label_curve(tracks))
            )
        for number, ranking in enumerate(comparison.rankings, 1):
            heading = f"Mean ranks over {counted(ranking.ranks.blocks, 'block')} that share no subject"
            figures.append(ComparisonPicture(f"critical_difference{number}", heading, methods.rank_diagram(ranking)))
    return figures


def accuracies(comparison: ComparedTables, most: int) -> list[ComparisonPicture]:
    """The picture of accuracies and gains of the first tables, where there is one.

    Args:
        comparison: What was compared.
        most: Tables, at most.
    """
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        drawn = [(table, methods.bars(table)) for table in comparison.tables[:most]]
    return [
        ComparisonPicture(_as_name(table.group.short_title), f"Accuracy: {table.group.title}", figure)
        for table, figure in drawn
        if figure is not None
    ]


def _as_name(title: str) -> str:
    """A title as a part of a file's name; cut, since it may say what sets it apart."""
    return re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")[:_LONGEST_NAME]
