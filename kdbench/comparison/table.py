"""One table of a comparison: its rows, what each method reaches and gains, and what pictures and texts ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kdbench.comparison.groups import Group
from kdbench.comparison.subjects import known_card
from kdbench.runs.condensed import Condensed
from kdbench.runs.gain import alone_words
from kdbench.statistics import PairSummary, ScoreComparison
from kdbench.statistics.margins import LEVEL

TITLES = {"accuracy": "Accuracy %", "macro_f1": "Macro F1 %", "weighted_f1": "Weighted F1 %", "map": "mAP %"}
ORACLE = "(oracle)"
_EACH = 3
"""Teachers whose accuracies are shown one by one."""


def metric_words(metric: str) -> str:
    """A metric in words: `accuracy`, `macro F1`, `mAP`."""
    name = TITLES[metric].removesuffix(" %")
    return name if name == "mAP" else name.lower().replace("f1", "F1")


def teachers_of(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a result says of each of its teachers, by name; the one of `teacher` is called so."""
    own = result.get("teacher")
    return ({"teacher": own} if own else {}) | dict(result.get("teachers") or {})


def each_accuracy(accuracies: Mapping[str, float]) -> str:
    """What several teachers reach, in per cent: each by its name, or of many the mean and the range.

    Args:
        accuracies: Name → accuracy, a share.
    """
    shares = {name: f"{100 * value:.2f}" for name, value in accuracies.items()}
    if len(shares) <= _EACH:
        return ", ".join(f"{name} {share}" for name, share in shares.items())
    values = accuracies.values()
    low, high = (f"{100 * value:.2f}" for value in (min(values), max(values)))
    return f"mean {100 * sum(values) / len(values):.2f} of {len(values)} ({low} to {high})"


@dataclass(frozen=True)
class Measure:
    """One metric of one method, over its seeds.

    Attributes:
        mean: Over trials and seeds, a share.
        low: Lower end of the 95 % interval.
        high: Upper end.
        sd: Sample standard deviation over the seeds (n − 1); None with one seed.
    """

    mean: float
    low: float
    high: float
    sd: float | None


@dataclass(frozen=True)
class Gain:
    """What a method is above the baseline, at equal seeds.

    Attributes:
        over: The baseline: the student alone, or the row that was asked for.
        difference: As a share.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p_holm: Of no difference, corrected over the pairs of the table's family.
        verdict: What it may be called.
    """

    over: str
    difference: float
    low: float
    high: float
    p_holm: float
    verdict: str

    @property
    def shown(self) -> bool:
        """Whether the method is shown to be above the baseline."""
        return self.difference > 0 and self.p_holm <= 1 - LEVEL


@dataclass(frozen=True)
class Row:
    """One method of a table.

    Attributes:
        method: What the table calls it.
        seeds: Seed → metric → value, of the seeds that have a result.
        missing: Seed → why there is none.
        measures: Metric → its summary; empty where a seed is missing.
        gain: Over the baseline; None where that is not in the table, or is the row itself.
        control: Which control it is, if any.
        taught_by: Name of its teacher; None without one, and for one that a recipe of one's own describes.
        teacher: What its teacher is made of; None without a teacher.
        teacher_accuracy: The teacher's own, mean over the seeds; None without one, and with several.
        teacher_accuracies: The same of each of several teachers, by name; empty with a single one.
        teacher_leaks: Whether a teacher was trained on the sensor recordings of the test trials.
        test_modalities: What the reported network sees at test time.
        network: What it is built of, in short.
        tuning: How its hyper-parameters were chosen.
        selection: Which epoch is reported; `(oracle)` where the test part chose it.
        cost: Means over the seeds, the largest for peak memory; None where a seed is missing.
    """

    method: str
    seeds: Mapping[int, Mapping[str, float]]
    missing: Mapping[int, str]
    measures: Mapping[str, Measure]
    gain: Gain | None
    control: str | None
    taught_by: str | None
    teacher: str | None
    teacher_accuracy: float | None
    teacher_accuracies: Mapping[str, float]
    teacher_leaks: bool
    test_modalities: str
    network: str
    tuning: str
    selection: str
    cost: Mapping[str, float | None]

    @property
    def label(self) -> str:
        """Its name, marked where it is a control, and where the test part chose what it reports."""
        return self.method + (" (control)" if self.control else "") + (" (oracle)" if self.oracle else "")

    @property
    def oracle(self) -> bool:
        """Whether the test part chose which epoch is reported."""
        return ORACLE in self.selection


@dataclass(frozen=True)
class GroupTable:
    """One table: methods under equal conditions.

    Attributes:
        group: Its runs and conditions.
        rows: Complete methods, the best first, then those with a missing cell.
        comparison: The family of pairs that is tested, by the chosen metric; None where no method is complete.
        against: The pairs of methods with controls, a family of their own, by which a gain may be called more than
            theirs; None where all pairs are tested, or there is no such pair.
        results: Row → seed → predictions.
        notes: What a reader has to know besides.
        family: Which pairs are tested, in a sentence.
        population: Whom intervals and tests speak of: `these-subjects` or `new-subjects`.
        metric: What pairs were compared by.
    """

    group: Group
    rows: tuple[Row, ...]
    comparison: ScoreComparison | None
    against: ScoreComparison | None
    results: Mapping[str, Mapping[int, Condensed]] = field(repr=False)
    notes: tuple[str, ...]
    family: str
    population: str
    metric: str

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows with a result at every seed."""
        return tuple(row for row in self.rows if row.measures)

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows with a result at any seed."""
        return tuple(row for row in self.rows if row.seeds)

    @property
    def about(self) -> str:
        """Whom intervals and tests speak of, in words."""
        return self.comparison.about if self.comparison else f"Population: {self.population}."

    def row(self, method: str) -> Row:
        """The row of a method."""
        return self._by_method[method]

    @cached_property
    def _by_method(self) -> dict[str, Row]:
        return {row.method: row for row in self.rows}

    @property
    def pairs(self) -> tuple[PairSummary, ...]:
        """The pairs of the family."""
        return self.comparison.pairs if self.comparison else ()

    @property
    def title(self) -> str:
        """Its conditions in short, for a heading."""
        return self.group.title

    @property
    def metric_name(self) -> str:
        """The metric that pairs are compared by, in words."""
        return metric_words(self.metric)

    @property
    def alone_words(self) -> str:
        """What gains are over by default, in words."""
        return alone_words(self.group.conditions)

    @property
    def over(self) -> str:
        """What its gains are over, in words."""
        overs = {row.gain.over for row in self.rows if row.gain}
        return next(iter(overs)) if len(overs) == 1 else self.alone_words

    @property
    def chance(self) -> float:
        """The accuracy of always naming the most frequent class of the trials."""
        from kdbench.evaluation.metrics import majority_share

        return majority_share(next(iter(self.results[self.ranked[0].method].values())).labels)

    @cached_property
    def class_names(self) -> dict[str, str]:
        """Each class's name for a picture: the card's short one where it is known, else the name itself."""
        run = next(iter(self.group.runs[self.ranked[0].method].values()))
        card = known_card(str(self.group.conditions["dataset"]))
        known = dict(zip(card.class_names, card.short_names, strict=True)) if card else {}
        return {name: known.get(name, name) for name in run.metrics["per_class_recall"]}

    def recalls(self, row: Row) -> dict[str, float]:
        """Recall of each class that the labels hold, mean over the method's seeds."""
        by_run = [run.metrics["per_class_recall"] for run in self.group.runs.get(row.method, {}).values()]
        names = (name for name, value in by_run[0].items() if value is not None)
        return {name: sum(recalls[name] / len(by_run) for recalls in by_run) for name in names}

    def confusion(self, method: str) -> np.ndarray:
        """Shares of each true class (row) that are predicted as each class, `(K, K)`, mean over the seeds."""
        from kdbench.evaluation.metrics import confusion

        runs, count = self.results[method].values(), len(self.class_names)
        return np.mean(
            [confusion(np.tile(run.labels, len(run.predicted)), run.predicted.ravel(), count) for run in runs], axis=0
        )
