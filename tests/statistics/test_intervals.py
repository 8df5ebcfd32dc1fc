"""Intervals and p-values against scipy's t tests, Welch's interval and scipy's bootstrap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from kdbench.statistics.bootstrap import resampled_deviations
from kdbench.statistics.intervals import infer_bootstrap, infer_t
from kdbench.statistics.margins import margin, p_value
from kdbench.statistics.scope import Scope
from kdbench.statistics.scores import Scores
from kdbench.statistics.spread import IMAGINED, Spread, Subjects

GAP = np.array([[1.0, -1.0]])


def _scores(seed: int, seeds: int, subjects: int, trials: int, by_seed: float = 0.0) -> Scores:
    generator = np.random.default_rng(seed)
    ease = generator.normal(0.9, 1, (1, 1, subjects * trials)) + by_seed * generator.normal(size=(2, seeds, 1))
    right = ease + generator.normal(size=(2, seeds, subjects * trials)) > 0
    return Scores(("a", "b"), tuple(range(seeds)), right * 1.0, np.repeat(np.arange(subjects), trials))


def _of_two_sources(seeds: np.ndarray, units: np.ndarray) -> Spread:
    def share(x: np.ndarray) -> np.ndarray:
        return np.array([x.var(ddof=1) / len(x)])

    estimate = np.array([units.mean() - seeds.mean()])
    nothing = np.zeros(1)
    return Spread(estimate, share(units), len(units) - 1, share(seeds), len(seeds) - 1, nothing, share(units))


@pytest.mark.parametrize("seed", range(3))
def test_one_seed_and_one_subject_is_a_paired_t_test_over_trials(seed: int) -> None:
    scores = _scores(seed, 1, 1, 80)
    reference = stats.ttest_rel(scores.values[0, 0], scores.values[1, 0])
    found = infer_t(scores, GAP, Scope.THESE_SUBJECTS)
    # Beside the trials, two are imagined that came out the other way.
    widened = np.sqrt(1 + IMAGINED / 80**2 / found.spread.mixed[0])
    assert found.p[0] == pytest.approx(2 * stats.t.sf(abs(reference.statistic) / widened, 79), rel=1e-9)
    low, high = reference.confidence_interval(0.95)
    assert found.high[0] - found.low[0] == pytest.approx(widened * (high - low))


@pytest.mark.parametrize("seed", range(3))
def test_one_seed_is_a_t_test_over_the_subjects(seed: int) -> None:
    scores = _scores(seed, 1, 8, 25)
    reference = stats.ttest_rel(*scores.values.reshape(2, 8, 25).mean(axis=2))
    found, these = (infer_t(scores, GAP, scope) for scope in (Scope.NEW_SUBJECTS, Scope.THESE_SUBJECTS))
    low, high = reference.confidence_interval(0.95)
    widened = np.sqrt(1 + IMAGINED / 200**2 / found.spread.mixed[0])
    width = max(widened * (high - low), these.high[0] - these.low[0])
    assert found.high[0] - found.low[0] == pytest.approx(width)
    assert found.p[0] >= reference.pvalue


def test_two_sources_are_more_cautious_than_welch_and_less_than_both_margins_in_a_row() -> None:
    generator = np.random.default_rng(4)
    seeds, units = generator.normal(0, 1, 3), generator.normal(0, 3, 12)
    spread = _of_two_sources(seeds, units)
    of_units, of_seeds = (stats.t.ppf(0.975, len(x) - 1) * stats.sem(x) for x in (units, seeds))
    welch = stats.ttest_ind(units, seeds, equal_var=False).confidence_interval(0.95)
    assert margin(spread)[0] == pytest.approx(np.hypot(of_units, of_seeds))
    assert (welch.high - welch.low) / 2 < margin(spread)[0] < of_units + of_seeds


def test_seeds_alone_are_a_t_test_over_seeds() -> None:
    runs = np.array([0.02, 0.05, 0.03])
    spread = _of_two_sources(-runs, np.zeros(50))
    reference = stats.ttest_1samp(runs, 0)
    assert p_value(spread)[0] == pytest.approx(reference.pvalue, rel=1e-9)
    assert margin(spread)[0] == pytest.approx(np.ptp(reference.confidence_interval(0.95)) / 2)


@pytest.mark.parametrize("alpha", [1e-12, 1e-4, 0.05, 0.6])
def test_the_p_value_is_the_level_at_which_the_estimate_is_just_significant(alpha: float) -> None:
    generator = np.random.default_rng(5)
    spread = _of_two_sources(generator.normal(0, 1, 3), generator.normal(0, 3, 40))
    reached = dataclasses.replace(spread, estimate=margin(spread, alpha))
    assert p_value(reached)[0] == pytest.approx(alpha, rel=1e-6)


def test_the_test_is_never_bolder_than_either_source_alone() -> None:
    spread = _of_two_sources(np.array([0.0, 1.0, 2.0]), np.arange(10.0))
    for alpha in (0.05, 0.001):
        needed = margin(spread, alpha)
        assert needed > np.sqrt(spread.seeds) * stats.t.isf(alpha / 2, 2)
        assert needed > np.sqrt(spread.units) * stats.t.isf(alpha / 2, 9)


@pytest.mark.parametrize("won", [1, 2, 3, 4, 5, 6, 8, 10])
def test_a_few_trials_that_all_favour_one_prove_no_more_than_mcnemar_s_exact_test(won: int) -> None:
    """The trials that both seeds decide alike; the seeds then say nothing."""
    values = np.ones((2, 2, 428))
    values[1, :, np.arange(won) * 37] = 0
    scores = Scores(("a", "b"), (0, 1), values, np.repeat(np.arange(4), 107))
    exact = stats.binomtest(won, won).pvalue
    for found in (
        infer_t(scores, GAP, Scope.THESE_SUBJECTS),
        infer_bootstrap(scores, GAP, Scope.THESE_SUBJECTS, draws=9999, seed=0),
    ):
        assert (found.p[0] <= 0.05) == (exact <= 0.05)
        assert found.low[0] < found.high[0]


@pytest.mark.parametrize("seed", range(5))
def test_no_p_is_smaller_than_that_of_the_trials_alone(seed: int) -> None:
    scores = _scores(seed, 2, 4, 60)
    averaged = Scores(scores.methods, (0,), scores.values.mean(axis=1, keepdims=True), scores.subjects)
    both, trials = (infer_t(one, GAP, Scope.THESE_SUBJECTS) for one in (scores, averaged))
    assert both.p[0] >= trials.p[0] - 1e-12
    assert both.high[0] - both.low[0] >= trials.high[0] - trials.low[0] - 1e-12


@pytest.mark.parametrize("seed", range(2))
def test_resampled_trials_spread_as_scipy_s_bootstrap(seed: int) -> None:
    scores = _scores(seed, 1, 1, 100)
    values = scores.values[:, 0]
    drawn = resampled_deviations(values, Subjects.of(scores.subjects), 4000, np.random.default_rng(seed))
    reference = stats.bootstrap(
        tuple(values),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(seed + 10),
    )
    gap = drawn[:, 0] - drawn[:, 1]
    widened = np.sqrt(100 / 99)
    assert gap.std() == pytest.approx(reference.standard_error * widened, rel=0.05)
    centre = values[0].mean() - values[1].mean()
    expected = (np.array(reference.confidence_interval) - centre) * widened
    np.testing.assert_allclose(np.quantile(gap, (0.025, 0.975)), expected, rtol=0.1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_bootstrap_reproduces_the_variances_of_trials_within_subjects(seeds: int) -> None:
    scores = _scores(3, seeds, 3, 40)
    found = infer_t(scores, np.eye(2), Scope.THESE_SUBJECTS).spread
    drawn = resampled_deviations(
        scores.values.mean(axis=1), Subjects.of(scores.subjects), 20000, np.random.default_rng(0)
    )
    np.testing.assert_allclose(drawn.var(axis=0), found.mixed, rtol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=4 * np.sqrt(found.mixed.max() / 20000))


def test_a_draw_takes_the_same_trials_of_every_method() -> None:
    values = np.random.default_rng(0).integers(0, 2, 50) * 1.0
    drawn = resampled_deviations(
        np.stack([values, 1 - values]), Subjects.of(np.zeros(50)), 30, np.random.default_rng(0)
    )
    np.testing.assert_allclose(drawn[:, 0], -drawn[:, 1], atol=1e-12)


def test_bootstrap_and_t_agree_where_both_are_valid() -> None:
    scores = _scores(6, 1, 4, 150)
    by_t = infer_t(scores, GAP, Scope.THESE_SUBJECTS)
    drawn = infer_bootstrap(scores, GAP, Scope.THESE_SUBJECTS, draws=20000, seed=0)
    np.testing.assert_allclose([drawn.low[0], drawn.high[0]], [by_t.low[0], by_t.high[0]], atol=0.002)
    assert drawn.p[0] == pytest.approx(by_t.p[0], abs=0.03)


def test_unlike_seeds_widen_the_bootstrap_as_their_t_does() -> None:
    scores = _scores(2, 3, 4, 100, by_seed=1.0)
    spread = infer_t(scores, GAP, Scope.THESE_SUBJECTS).spread
    assert spread.seeds[0] > 5 * spread.units[0]
    drawn = infer_bootstrap(scores, GAP, Scope.THESE_SUBJECTS, draws=20000, seed=0)
    of_seeds = np.sqrt(spread.seeds[0]) * stats.t.ppf(0.975, spread.seed_df)
    assert 0.95 * of_seeds < (drawn.high[0] - drawn.low[0]) / 2 < 1.15 * of_seeds


def test_the_bootstrap_s_p_is_small_exactly_where_its_interval_leaves_0_out() -> None:
    out = []
    for seed in range(60):
        found = infer_bootstrap(_scores(seed, 1, 2, 40), GAP, Scope.THESE_SUBJECTS, draws=999, seed=seed)
        out.append(not found.low[0] <= 0 <= found.high[0])
        assert (found.p[0] <= 0.05) == out[-1]
    assert 0 < sum(out) < 60
