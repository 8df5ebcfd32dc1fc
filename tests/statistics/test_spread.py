"""Variances against the analysis of variance and the cluster-robust errors of statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols

from kdbench.errors import UsageError
from kdbench.statistics.pooling import MOST_LENT, moderated
from kdbench.statistics.scope import Scope
from kdbench.statistics.spread import Spread, Subjects, spread_of

ONE = np.eye(1)


def _spread(values: np.ndarray, who: np.ndarray, scope: Scope) -> Spread:
    """Of one method, `(R, N)`."""
    subjects = Subjects.of(who)
    return spread_of(values[None][..., subjects.order], ONE, subjects, scope)


def _anova(values: np.ndarray) -> pd.Series:
    """Mean squares of seeds (rows) and units (columns), crossed."""
    rows, columns = np.indices(values.shape)
    table = pd.DataFrame({"y": values.ravel(), "seed": rows.ravel(), "unit": columns.ravel()})
    squares = sm.stats.anova_lm(ols("y ~ C(seed) + C(unit)", table).fit())
    return squares["mean_sq"]


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_and_trials_of_one_subject_are_a_crossed_analysis_of_variance(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    values = generator.normal(size=(seeds, 1)) + generator.normal(size=(1, 40)) + generator.normal(size=(seeds, 40))
    squares, found = _anova(values), _spread(values, np.zeros(40), Scope.THESE_SUBJECTS)
    size = values.size
    assert found.mixed[0] == pytest.approx(squares["C(unit)"] / size)
    assert found.seeds[0] == pytest.approx(squares["C(seed)"] / size)
    assert found.units[0] == pytest.approx((squares["C(unit)"] - squares["Residual"]) / size)
    assert (found.unit_df, found.seed_df) == (39, seeds - 1)


def test_seeds_and_subjects_of_one_size_are_a_crossed_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, 8, 10)) + generator.normal(0, 2, (1, 8, 1)) + generator.normal(0, 2, (3, 1, 1))
    squares = _anova(values.mean(axis=2))
    found = _spread(values.reshape(3, 80), np.repeat(np.arange(8), 10), Scope.NEW_SUBJECTS)
    assert found.units[0] == found.mixed[0] == pytest.approx(squares["C(unit)"] / 24)
    assert found.seeds[0] == pytest.approx((squares["C(seed)"] - squares["Residual"]) / 24)
    assert (found.unit_df, found.seed_df) == (7, 2)


def test_components_are_never_negative() -> None:
    flips = np.array([[1.0, 0, 1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1]])
    who = np.repeat([1, 2, 3, 4], 2)
    assert _spread(flips, who, Scope.THESE_SUBJECTS).units[0] == 0
    assert _spread(flips, who, Scope.NEW_SUBJECTS).seeds[0] == 0


def test_a_difference_is_the_spread_of_the_paired_differences() -> None:
    values, who = np.random.default_rng(3).normal(size=(2, 3, 40)), np.repeat([1, 2], 20)
    for scope, subjects in ((Scope.THESE_SUBJECTS, who), (Scope.NEW_SUBJECTS, np.repeat(np.arange(8), 5))):
        paired = spread_of(values, np.array([[1.0, -1.0]]), Subjects.of(subjects), scope)
        alone = _spread(values[0] - values[1], subjects, scope)
        for name in ("estimate", "units", "seeds", "mixed"):
            np.testing.assert_allclose(getattr(paired, name), getattr(alone, name))


def test_subjects_of_unlike_sizes_are_the_clusters_of_a_robust_error() -> None:
    generator = np.random.default_rng(1)
    who = np.repeat(np.arange(7), generator.integers(5, 30, 7))
    generator.shuffle(who)
    values = generator.normal(size=len(who)) + 0.3 * who
    reference = sm.OLS(values, np.ones(len(who))).fit(cov_type="cluster", cov_kwds={"groups": who}, use_t=True)
    found = _spread(values[None], who, Scope.NEW_SUBJECTS)
    assert found.estimate[0] == pytest.approx(reference.params[0])
    assert found.units[0] == pytest.approx(reference.bse[0] ** 2)
    assert (found.unit_df, found.seed_df, found.seeds[0]) == (6, 0, 0)


def test_trials_within_subjects_are_strata() -> None:
    generator = np.random.default_rng(2)
    who = np.array([0] * 12 + [1] * 30)
    values = generator.normal(size=42) + 5 * who
    expected = sum((len(x) / 42) ** 2 * stats.sem(x) ** 2 for x in (values[:12], values[12:]))
    assert _spread(values[None], who, Scope.THESE_SUBJECTS).variance[0] == pytest.approx(expected)


def test_few_subjects_say_nothing_about_new_ones() -> None:
    with pytest.raises(UsageError, match="3 subjects say too little about new ones; at least 4"):
        _spread(np.zeros((1, 6)), np.repeat([1, 2, 3], 2), Scope.NEW_SUBJECTS)


def test_a_subject_with_one_trial_is_named() -> None:
    with pytest.raises(UsageError, match="subject 's7' has one trial"):
        _spread(np.zeros((1, 3)), np.array(["s1", "s1", "s7"]), Scope.THESE_SUBJECTS)


def _variances(methods: int, ratio: float, seed: int = 0) -> np.ndarray:
    scale = np.where(np.arange(methods) % 2, ratio, 1.0)
    return scale * np.random.default_rng(seed).chisquare(2, methods) / 2


def test_seeds_of_like_methods_are_pooled_and_of_unlike_ones_are_not() -> None:
    alike, unlike = _variances(400, 1), _variances(400, 1e4)
    pooled, df = moderated(alike, alike, 2, 800)
    assert df == 2 + MOST_LENT * 2
    assert pooled.std() < 0.3 * alike.std()
    own, few = moderated(unlike, unlike, 2, 800)
    assert few < 3
    assert np.corrcoef(np.log(own), np.log(unlike))[0, 1] > 0.7


@pytest.mark.parametrize("true_df", [3.0, 8.0])
def test_how_far_variances_are_pooled_is_found_from_their_spread(true_df: float) -> None:
    """Drawn from the model: the prior's degrees of freedom come back."""
    generator = np.random.default_rng(1)
    variances = generator.chisquare(4, 4000) / 4 * true_df / generator.chisquare(true_df, 4000)
    assert moderated(variances, variances, 4, 16000)[1] - 4 == pytest.approx(true_df, rel=0.15)


def test_one_unstable_method_among_many_calm_ones_keeps_a_quarter_of_its_variance() -> None:
    calm = np.random.default_rng(0).chisquare(2, 14) / 2
    by_method = np.append(calm, 30.0)
    moderate, df = moderated(by_method, by_method, 2, 28)
    assert df <= 8
    assert moderate[-1] >= 30 / 4


def test_moderation_gives_no_more_freedom_than_the_methods_have() -> None:
    for seed in range(20):
        variances = _variances(5, 1, seed)
        assert 2 <= moderated(variances, variances, 2, 8)[1] <= 8


def test_where_nothing_is_to_be_lent_variances_stay_as_they_are() -> None:
    two = np.array([1.0, 4.0])
    np.testing.assert_array_equal(moderated(two, two, 2, 2)[0], two)
    assert moderated(two, two, 2, 2)[1] == 2
    assert moderated(np.zeros(4), np.zeros(4), 2, 8)[1] == 2
    some = np.array([0.0, 1.0, 1.5, 0.7])
    assert np.isfinite(moderated(some, some, 1, 3)[0]).all()


def test_two_methods_share_their_seeds_for_their_means_and_not_for_their_difference() -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(2, 3, 40)) + generator.normal(size=(2, 3, 1))
    alone, gap = (
        spread_of(values, weights, Subjects.of(np.zeros(40)), Scope.THESE_SUBJECTS)
        for weights in (np.eye(2), np.array([[1.0, -1.0]]))
    )
    assert 2 < alone.seed_df <= 4
    assert gap.seed_df == 2
    assert gap.seeds[0] == pytest.approx((values[0] - values[1]).mean(axis=1).var(ddof=1) / 3)
