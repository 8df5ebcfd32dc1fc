"""What may be ranked together: one table for each set of conditions, and its rows."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.comparison.controls import control_of
from kdbench.comparison.ranking import tuning_label
from kdbench.comparison.subjects import known_card
from kdbench.comparison.table import each_accuracy, metric_words, teachers_of
from kdbench.data.metric import metric_of
from kdbench.data.splits import rule_of
from kdbench.errors import DataError
from kdbench.leaderboard.check import Checked
from kdbench.leaderboard.entry import BoardEntry, place, slug
from kdbench.leaderboard.intervals import Intervals, intervals
from kdbench.leaderboard.tier import Tier, Verification, own_rerun, verification
from kdbench.leaderboard.trials import card_of
from kdbench.leaderboard.verify import differences
from kdbench.recipes.track import Track, track_of, words_of
from kdbench.runs.condensed import scores_of
from kdbench.runs.gain import BASELINES, alone_words, is_alone
from kdbench.types import SENSORS


def _of_all(values: Sequence[float | None], summary: Callable[[list[float]], Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(summary(known)) if len(known) == len(values) else None


@dataclass(frozen=True)
class BoardRow:
    """One submission in a table.

    Attributes:
        entry: The submission.
        tier: How it was verified.
        label: The method with its teacher, in one line; with the id where the table has it twice.
    """

    entry: BoardEntry
    tier: Tier
    label: str

    @property
    def method(self) -> str:
        """The label without the teacher, beside a column that holds it."""
        return self.label.replace(f" + {self.taught_by}", "", 1)

    @cached_property
    def taught_by(self) -> str | None:
        """Name of the teacher; None without one, and for one that a recipe of one's own describes."""
        return self.entry.runs[0].teacher if self.entry.written_recipe["teacher"] is not None else None

    @cached_property
    def is_taught(self) -> bool:
        """Whether it is a student with a teacher."""
        return bool(self.teachers)

    @cached_property
    def href(self) -> str:
        """Folder of its page below the site's root."""
        return place(self.entry.result).as_posix()

    @cached_property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.entry.result.accuracies))

    @cached_property
    def sd(self) -> float:
        """Sample standard deviation of the accuracy over the seeds (n − 1)."""
        return float(np.std(self.entry.result.accuracies, ddof=1))

    def metric(self, name: str) -> float:
        """Mean of a metric over the seeds."""
        return float(np.mean(self.by_seed(name)))

    def by_seed(self, name: str) -> list[float]:
        """A metric at each seed; the predictions give what a submission does not state."""
        stated = {trained.seed: getattr(trained.metrics, name) for trained in self.entry.result.seeds}
        return [
            float(scores_of([self.entry.scored(seed)], name).mean()) if value is None else value
            for seed, value in stated.items()
        ]

    def cost(self, name: str) -> float | None:
        """Median of a cost over the seeds; None where a run does not tell."""
        return _of_all([trained.claims.cost.get(name) for trained in self.entry.result.seeds], statistics.median)

    @cached_property
    def training_seconds(self) -> float | None:
        """Seconds of one seed's training, the teacher's included."""
        own, taught = self.cost("train_seconds"), any(teachers_of(run.result) for run in self.entry.runs)
        teacher = self.cost("teacher_seconds") if taught else 0.0
        # A network that is a teacher itself reports the same seconds under both keys.
        if own is None or self.is_teacher:
            return own
        return own + (teacher or 0.0)

    @property
    def is_teacher(self) -> bool:
        """Whether the reported network is the teacher itself."""
        return self.entry.written_recipe["student"] is None

    @cached_property
    def control(self) -> str | None:
        """Which control the recipe is; None for a method."""
        return control_of(self.entry.runs[0].result["recipe"])

    @cached_property
    def is_alone(self) -> bool:
        """Whether it is the student without a teacher, by plain cross-entropy or, in transfer alone, not trained."""
        return is_alone(self.entry.runs[0].result["recipe"])

    @property
    def tuning(self) -> str:
        """How the recipe's settings were found."""
        return tuning_label(self.entry.result.conditions.get("tuning"))

    @cached_property
    def teacher(self) -> float | None:
        """The only teacher's own accuracy, mean over the seeds; None where there is none, or there are several."""
        return next(iter(self.teachers.values())) if len(self.teachers) == 1 else None

    @cached_property
    def teachers(self) -> dict[str, float]:
        """Accuracy of each teacher by its name, mean over the seeds."""
        told = [teachers_of(run.result) for run in self.entry.runs]
        names = {} if self.is_teacher else dict.fromkeys(name for each in told for name in each)
        return {name: float(np.mean([each[name]["accuracy"] for each in told if name in each])) for name in names}

    @property
    def each_teacher(self) -> str:
        """What several teachers reach, in per cent; empty where there is at most one."""
        return each_accuracy(self.teachers) if len(self.teachers) > 1 else ""

    @cached_property
    def teacher_leaks(self) -> bool:
        """Whether a teacher's accuracy is one on recordings that it was trained on, by card and recipe."""
        result = self.entry.result
        rule = rule_of(card_of(result.dataset, self.entry.options), result.protocol)
        return rule.sensors_leak and any(one.shows(SENSORS) for one in self.entry.recipe.all_teachers.values())

    @cached_property
    def one_by_one(self) -> float | None:
        """Accuracy one trial at a time, mean over the seeds; None where batch mates do not change the predictions."""
        return _of_all([trained.claims.inductive for trained in self.entry.result.seeds], statistics.fmean)

    @cached_property
    def machines(self) -> list[str]:
        """What the seeds ran on."""
        return self.entry.machines

    @cached_property
    def verification(self) -> Verification | None:
        """What was found when it was trained again, whoever did it; None where nobody did."""
        return verification(self.entry)

    @property
    def own_rerun(self) -> bool:
        """Whether its submitter trained it again."""
        return self.verification is not None and own_rerun(self.entry, self.verification)

    def gain(self, alone: BoardRow | None, metric: str = "accuracy") -> float | None:
        """How far a metric lies above that of the student alone, at the seeds that both have."""
        if alone is None or alone is self:
            return None
        # Both begin with seed 0 and leave none out, so that the shorter list ends the pairs.
        pairs = zip(self.by_seed(metric), alone.by_seed(metric), strict=False)
        return float(np.mean([own - other for own, other in pairs]))


@dataclass(frozen=True)
class BoardTable:
    """Submissions under one set of conditions, the best first by the metric that the data set's card names.

    Attributes:
        conditions: What they share.
        rows: The submissions.
        differs: How the conditions differ from those of the first table of its track.
        number: Which one it is of the tables that see the same, where there are several.
    """

    conditions: Mapping[str, Any]
    rows: Sequence[BoardRow]
    differs: Sequence[str] = field(default=())
    number: int | None = None

    @property
    def title(self) -> str:
        """Preset, what the networks see at test time and as what, and the track where it leaves something out."""
        parts = [self.conditions["preset"], sees(self.conditions), *filter(None, [words_of(self.conditions)])]
        return " · ".join(parts if self.number is None else [*parts, f"conditions {self.number}"])

    @cached_property
    def metric(self) -> str:
        """What it is ranked by."""
        return metric_of(known_card(str(self.conditions["dataset"])))

    @property
    def metric_name(self) -> str:
        """The same in words."""
        return metric_words(self.metric)

    @property
    def track(self) -> Track:
        """What the students were given of the training part."""
        return track_of(self.conditions)

    @property
    def alone_words(self) -> str:
        """What gains are over, in words."""
        return alone_words(self.conditions)

    @cached_property
    def machines(self) -> list[str]:
        """What the submissions were trained on."""
        return list(dict.fromkeys(machine for row in self.rows for machine in row.machines))

    @property
    def best(self) -> BoardRow | None:
        """The best method; None where there are controls alone, which are no methods."""
        return next((row for row in self.rows if not row.control), None)

    @property
    def has_control(self) -> bool:
        """Whether a control stands in it."""
        return any(row.control for row in self.rows)

    @cached_property
    def alone(self) -> BoardRow | None:
        """The student without a teacher, which gains are above."""
        rows = [row for row in self.rows if row.is_alone]
        return min(rows, key=lambda row: row.entry.result.method not in BASELINES, default=None)

    @cached_property
    def intervals(self) -> Intervals:
        """Intervals and paired differences."""
        return intervals({row.label: row.entry for row in self.rows})


@dataclass(frozen=True)
class TrackTab:
    """The tables of one track, which are never ranked with those of another.

    Attributes:
        track: What the students were given.
        tables: Its tables, each with its number on the page.
    """

    track: Track
    tables: Sequence[tuple[int, BoardTable]]

    @property
    def slug(self) -> str:
        """The track for an address."""
        return slug(self.track.slug or "all")


@dataclass(frozen=True)
class BoardProtocol:
    """All tables of one protocol of a data set."""

    dataset: str
    name: str
    tables: Sequence[BoardTable]

    @property
    def folder(self) -> Path:
        """Its folder below the site's root."""
        return place(self.tables[0].rows[0].entry.result).parent.parent

    @property
    def tabs(self) -> list[TrackTab]:
        """The tables by track, in their order."""
        by_track: dict[Track, list[tuple[int, BoardTable]]] = defaultdict(list)
        for number, table in enumerate(self.tables, start=1):
            by_track[table.track].append((number, table))
        return [TrackTab(track, tables) for track, tables in by_track.items()]

    @property
    def rows(self) -> list[BoardRow]:
        """Every submission."""
        return [row for table in self.tables for row in table.rows]


def protocols(checked: Sequence[Checked]) -> list[BoardProtocol]:
    """Groups verified submissions by data set and protocol, then by everything that must be equal in one ranking.

    Raises:
        DataError: A submission does not verify.
    """
    by_protocol: dict[tuple[str, str], dict[str, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for submission in checked:
        if submission.entry is None or submission.problems:
            raise DataError(
                f"{submission.folder} does not verify: {'; '.join(submission.problems)}",
                hint=f"See it: kdbench leaderboard verify {submission.folder}",
            )
        result = submission.entry.result
        conditions = json.dumps([result.conditions, result.classes], sort_keys=True)
        by_protocol[result.dataset, result.protocol][conditions].append(submission)
    by_name = []
    for (dataset, name), groups in sorted(by_protocol.items()):
        # Sorting keeps the order of equals: within a track, tables of many submissions stay first.
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        made = sorted((table(group) for _, group in ordered), key=lambda table: _order(table.track))
        by_name.append(BoardProtocol(dataset, name, [_placed(table, made) for table in made]))
    return by_name


def sees(conditions: Mapping[str, Any]) -> str:
    """What a network is shown at test time, and as what."""
    name = conditions.get("representation", {}).get("name")
    shown = ", ".join(conditions["test_modalities"])
    return f"{shown} as {name}" if name else shown


def _order(track: Track) -> tuple[float, ...]:
    """All labels first, then fewer and fewer, then fewer and fewer pairs."""
    labels = math.inf if track.labels == "all" else track.labels
    return (track.pairs < 1, -labels, -track.pairs, track.teacher_labels == "same", track.quota)


def _placed(table: BoardTable, tables: Sequence[BoardTable]) -> BoardTable:
    """A table that says how it differs from the first one of its track, under a title of its own."""
    alike = [other for other in tables if other.title == table.title]
    own = 1 + alike.index(table) if len(alike) > 1 else None
    first = next(other for other in tables if other.track == table.track)
    differs = differences(first.conditions, table.conditions, most=None) if table is not first else []
    return BoardTable(table.conditions, table.rows, differs, own)


def table(group: Sequence[Checked]) -> BoardTable:
    """Ranks submissions.

    Raises:
        DataError: Their conditions are unlike; the difference is named.
    """
    entries = [(submission.entry, submission.tier) for submission in group if submission.entry is not None]
    first = entries[0][0].result
    for entry, _ in entries[1:]:
        if entry.result.conditions != first.conditions:
            unlike = "; ".join(differences(first.conditions, entry.result.conditions))
            raise DataError(
                f"{entries[0][0].folder} and {entry.folder} cannot stand in one table: {unlike}",
                hint="Make a table of each: only equal conditions can be ranked.",
            )
    names = [entry.runs[0].title for entry, _ in entries]
    count = Counter(names)
    rows = [
        BoardRow(entry, tier, name if count[name] == 1 else f"{name} ({entry.result.id})")
        for name, (entry, tier) in zip(names, entries, strict=True)
    ]
    metric = metric_of(known_card(first.dataset))
    return BoardTable(first.conditions, sorted(rows, key=lambda row: (-row.metric(metric), row.label)))
