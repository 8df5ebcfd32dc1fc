"""Compares methods pairwise: what a table of results may say, and what it may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from kdbench.errors import ParameterError, UsageError, unknown
from kdbench.statistics.holm import holm
from kdbench.statistics.intervals import Inference, Interval, each, infer_bootstrap, infer_t
from kdbench.statistics.margins import LEVEL
from kdbench.statistics.mcnemar import McNemar, mcnemar
from kdbench.statistics.power import Needed, needed
from kdbench.statistics.scope import Scope, scope_named, statement, way_named
from kdbench.statistics.scores import UNTOLD, Scores
from kdbench.text.wording import counted

DRAWS = 2000
DRAWS_A_PAIR, MOST_PAIRS, FEWEST_METHODS = 100, 200, 3
"""At 100 draws per pair, the smallest p that the bootstrap can give is two fifths of the strictest of Holm's levels of
0.05; beyond 200 pairs that would be more draws than they are worth. With two methods its intervals are too wide, and
so are those of macro F1."""


class Verdict(StrEnum):
    """What may be said about a pair, after Holm's correction over the family of pairs."""

    FIRST = "the first is better"
    SECOND = "the second is better"
    NEITHER = "cannot be told apart with this data"


@dataclass(frozen=True)
class MethodSummary:
    """One method.

    Attributes:
        method: Its name.
        mean: The metric, over trials and then over seeds.
        sd: Sample standard deviation over the seeds (n − 1); None with one seed.
        by_seed: The metric at each seed.
        interval: Of `mean`, within [0, 1]; always by `t`.
    """

    method: str
    mean: float
    sd: float | None
    by_seed: tuple[float, ...]
    interval: Interval


@dataclass(frozen=True)
class PairSummary:
    """Two methods, on the same trials at the same seeds.

    Attributes:
        first: A method.
        second: Another.
        difference: The effect size: the first's mean minus the second's, as a share (times 100: points).
        sd: Sample standard deviation of the difference over the seeds; None with one seed.
        interval: Of `difference`, not corrected for the number of pairs.
        p: Two-sided p-value by the same way as the interval.
        p_holm: After Holm's correction over all pairs of the comparison.
        verdict: What may be said, at a family-wise error of 5 %.
        needed: What would tell them apart; None where they are.
        mcnemar: About these trials only; None for a metric that is not right or wrong.
    """

    first: str
    second: str
    difference: float
    sd: float | None
    interval: Interval
    p: float
    p_holm: float
    verdict: Verdict
    needed: Needed | None
    mcnemar: McNemar | None


@dataclass(frozen=True)
class ScoreComparison:
    """All methods and all pairs of them.

    Attributes:
        scope: The population that intervals and verdicts are about.
        about: The same for a caption.
        metric: What was compared.
        way: How the differences' intervals and p-values were made.
        subjects: Who was tested.
        seeds: Which were run.
        trials: How many each method was tested on.
        methods: One summary each, in the order given.
        pairs: The family: all M(M − 1)/2 in the order of `itertools.combinations`, or those that were asked for.
        notes: What a reader has to know besides.
    """

    scope: Scope
    about: str
    metric: str
    way: str
    subjects: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int
    methods: tuple[MethodSummary, ...]
    pairs: tuple[PairSummary, ...]
    notes: tuple[str, ...]

    def pair(self, first: str, second: str) -> PairSummary:
        """Finds a pair, in either order of its names.

        Raises:
            UsageError: There is none.
        """
        summary = self._by_names.get(frozenset((first, second)))
        if summary is None:
            raise UsageError(
                f"'{first}' and '{second}' are not a pair of this comparison",
                hint="Ask for one of those in pairs, or name it in compare_scores(…, pairs=[(A, B), …]).",
            )
        return summary

    @cached_property
    def _by_names(self) -> dict[frozenset[str], PairSummary]:
        return {frozenset((pair.first, pair.second)): pair for pair in self.pairs}


def compare_scores(
    scores: Scores,
    *,
    scope: Scope | str = Scope.THESE_SUBJECTS,
    way: str | None = None,
    power: float = 0.8,
    draws: int | None = None,
    seed: int = 0,
    against: str | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> ScoreComparison:
    """Compares every method with every other, all with one, or chosen pairs.

    Args:
        scores: What each method scores on each trial at each seed.
        scope: Whom the statement is about.
        way: How the differences' intervals and p-values are made, one of `offered(scope)`; `t` by default.
        power: With which a second study should tell a pair apart.
        draws: B of the bootstrap; by default as many as the number of pairs asks for, at least 2000.
        seed: Of the bootstrap; the same gives the same numbers.
        against: A method; only its pairs are formed, itself second, and Holm's correction is over these: fewer
            questions, sharper answers. All methods still tell how much seeds matter.
        pairs: Names of both methods of each pair, instead of `against`; the correction is over these.

    Raises:
        UsageError: An unknown scope, way or method, a way that is not offered in the scope, too few subjects or trials,
            a power outside (0, 1), fewer than 100 draws, or a bootstrap of two methods, of more than 200 pairs or of
            another metric than accuracy.
    """
    scope = scope_named(scope)
    first, second = _pairs(scores.methods, against) if pairs is None else _chosen(scores.methods, pairs)
    way = way_named(scope, way)
    if way == "bootstrap" and (unfit := _against_bootstrap(scores, len(first))):
        raise UsageError(unfit, hint="Take the way 't'.")
    if not 0 < power < 1:
        raise ParameterError(f"power is {power}, expected a share between 0 and 1", instead={"power": 0.8})
    draws = max(DRAWS, DRAWS_A_PAIR * len(first)) if draws is None else draws
    if draws < 100:
        raise ParameterError(
            f"{counted(draws, 'draw')} cannot give an interval, expected at least 100", instead={"draws": DRAWS}
        )
    # A contrast for each method by itself; those of pairs are differences of two.
    unit = each(len(scores.methods))
    subjects = len(scores.subject_names) if scores.subject_names != (UNTOLD,) else 0
    alone = infer_t(scores, unit, scope)
    gaps = unit[first] - unit[second]
    inference = (
        infer_t(scores, gaps, scope) if way == "t" else infer_bootstrap(scores, gaps, scope, draws=draws, seed=seed)
    )
    return ScoreComparison(
        scope=scope,
        about=statement(scope, subjects=subjects, seeds=len(scores.seeds)),
        metric=scores.metric,
        way=way,
        subjects=scores.subject_names,
        seeds=scores.seeds,
        trials=len(scores.subjects),
        methods=_method_summaries(scores, alone),
        pairs=_pair_summaries(scores, inference, first, second, scope, way, power),
        notes=_notes(scores),
    )


def _against_bootstrap(scores: Scores, pairs: int) -> str | None:
    if scores.metric != "accuracy":
        return f"the bootstrap compares accuracies, not {scores.metric}: its intervals would be too wide"
    if len(scores.methods) < FEWEST_METHODS or pairs > MOST_PAIRS:
        return (
            f"the bootstrap compares {FEWEST_METHODS} methods or more in at most {MOST_PAIRS} pairs, not "
            f"{len(scores.methods)} in {pairs}"
        )
    return None


def _pairs(methods: tuple[str, ...], against: str | None) -> tuple[np.ndarray, np.ndarray]:
    if against is None:
        return np.triu_indices(len(methods), 1)
    if against not in methods:
        raise unknown("method", against, methods, hint="Name a method of these scores as against=…")
    other = np.array([i for i, method in enumerate(methods) if method != against], dtype=int)
    return other, np.full(len(other), methods.index(against))


def _chosen(methods: tuple[str, ...], pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    place = {method: number for number, method in enumerate(methods)}
    for name in (name for pair in pairs for name in pair):
        if name not in place:
            raise unknown("method", name, methods, hint="Name methods of these scores in pairs=[(A, B), …].")
    first, second = (np.array([place[pair[side]] for pair in pairs], dtype=int) for side in (0, 1))
    return first, second


def _method_summaries(scores: Scores, inference: Inference) -> tuple[MethodSummary, ...]:
    return tuple(
        MethodSummary(
            method,
            float(by_seed.mean()),
            deviation,
            tuple(map(float, by_seed)),
            Interval(max(float(low), 0.0), min(float(high), 1.0), "t"),
        )
        for method, by_seed, deviation, low, high in zip(
            scores.methods, scores.by_seed, _deviations(scores.by_seed), inference.low, inference.high, strict=True
        )
    )


def _pair_summaries(
    scores: Scores, inference: Inference, first: np.ndarray, second: np.ndarray, scope: Scope, way: str, power: float
) -> tuple[PairSummary, ...]:
    alpha = 1 - LEVEL
    adjusted = holm(inference.p)
    # Planned at Bonferroni's level: which of Holm's levels a pair will meet is not known beforehand.
    plans = needed(
        inference.spread, scope=scope, seeds=len(scores.seeds), alpha=alpha / max(len(first), 1), power=power
    )
    tests = mcnemar(scores, first, second) if scores.binary else [None] * len(first)
    by_seed = scores.by_seed[first] - scores.by_seed[second]
    differences, deviations = by_seed.mean(axis=1).tolist(), _deviations(by_seed)
    summaries = []
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        difference = differences[pair]
        apart = adjusted[pair] <= alpha
        better = Verdict.FIRST if difference > 0 else Verdict.SECOND
        summaries.append(
            PairSummary(
                scores.methods[a],
                scores.methods[b],
                difference,
                deviations[pair],
                Interval(max(float(inference.low[pair]), -1.0), min(float(inference.high[pair]), 1.0), way),
                float(inference.p[pair]),
                float(adjusted[pair]),
                better if apart else Verdict.NEITHER,
                None if apart else plans[pair],
                tests[pair],
            )
        )
    return tuple(summaries)


def _deviations(by_seed: np.ndarray) -> list[float] | list[None]:
    return by_seed.std(axis=1, ddof=1).tolist() if by_seed.shape[1] > 1 else [None] * len(by_seed)


def _notes(scores: Scores) -> tuple[str, ...]:
    if len(scores.seeds) == 1:
        return ("one seed was run: how much the seed matters is not known, and no interval here allows for it",)
    return ()
