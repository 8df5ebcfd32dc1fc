"""Accuracy over the number of labelled trials per class: what a method is worth as labels become few."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.comparison.conditions import without
from kdbench.comparison.groups import LIBRARIES
from kdbench.comparison.table import GroupTable, Row
from kdbench.recipes.track import Track, track_of
from kdbench.runs.gain import is_alone

MOST_LINES = 8
"""Methods that a picture shows at most, beside the student alone and the controls."""


@dataclass(frozen=True)
class LabelCurveLine:
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

    def lines(self) -> tuple[list[LabelCurveLine], int]:
        """The rows over the tracks, and how many methods are not among them.

        A method needs two tracks to be a line; the student alone and the controls are there with one too.
        """
        points: dict[str, dict[int, Row]] = defaultdict(dict)
        alone: set[str] = set()
        for place, table in enumerate(self.tables):
            for row in table.ranked:
                points[row.label][place] = row
                if is_alone(table.group.recipes[row.method]):
                    alone.add(row.label)
        every = [
            LabelCurveLine(name, rows, any(row.control for row in rows.values()), name in alone)
            for name, rows in points.items()
        ]
        beside = [line for line in every if line.is_control or line.is_alone]
        methods = [line for line in every if line not in beside]
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
            # The first table of a track is the one with most runs.
            alike[key].setdefault(track, table)
    curves = []
    for by_track in alike.values():
        for teacher in ("all", "same"):
            few = [track for track in by_track if not track.is_whole and track.teacher_labels == teacher]
            whole = [track for track in by_track if track.is_whole]
            tracks = [*sorted(few, key=lambda track: int(track.labels)), *whole]
            if few and len(tracks) > 1:
                curves.append(LabelTracks(tuple(tracks), tuple(by_track[track] for track in tracks)))
    return curves
