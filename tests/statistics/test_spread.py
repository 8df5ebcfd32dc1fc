"""Variances against the analysis of variance and the cluster-robust errors of statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdbench.errors import UsageError
from kdbench.statistics.margins import margin
from kdbench.statistics.scope import Scope
from kdbench.statistics.spread import IMAGINED, Spread, Subjects, spread_of

ONE = np.eye(1)


def _spread(values: np.ndarray, who: np.ndarray, scope: Scope) -> Spread:
    """Of one method, `(R, N)`."""
    subjects = Subjects.of(who)
    return spread_of(values[None][..., subjects.order], ONE, subjects, scope)


def _anova(values: np.ndarray) -> pd.Series:
    """Mean squares of seeds (rows) and units (columns), crossed."""
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

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
    assert found.rest[0] == pytest.approx(squares["Residual"] / size)
    assert found.units[0] == pytest.approx(found.mixed[0] + IMAGINED / 40**2)
    assert (found.unit_df, found.seed_df) == (39, seeds - 1)


def test_seeds_and_subjects_of_one_size_are_a_crossed_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, 8, 10)) + generator.normal(0, 2, (1, 8, 1)) + generator.normal(0, 2, (3, 1, 1))
    squares = _anova(values.mean(axis=2))
    found = _spread(values.reshape(3, 80), np.repeat(np.arange(8), 10), Scope.NEW_SUBJECTS)
    assert found.mixed[0] == pytest.approx(squares["C(unit)"] / 24)
    assert found.seeds[0] == pytest.approx((squares["C(seed)"] - squares["Residual"]) / 24)
    assert (found.unit_df, found.seed_df) == (7, 2)


def test_components_are_never_negative() -> None:
    flips = np.array([[1.0, 0, 1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1]])
    who = np.repeat([1, 2, 3, 4], 2)
    assert _spread(flips, who, Scope.THESE_SUBJECTS).seeds[0] == 0
    assert _spread(flips, who, Scope.NEW_SUBJECTS).seeds[0] == 0


def test_a_difference_is_the_spread_of_the_paired_differences() -> None:
    values, who = np.random.default_rng(3).normal(size=(2, 3, 40)), np.repeat([1, 2], 20)
    for scope, subjects in ((Scope.THESE_SUBJECTS, who), (Scope.NEW_SUBJECTS, np.repeat(np.arange(8), 5))):
        paired = spread_of(values, np.array([[1.0, -1.0]]), Subjects.of(subjects), scope)
        alone = _spread(values[0] - values[1], subjects, scope)
        for name in ("estimate", "units", "seeds", "rest", "mixed"):
            np.testing.assert_allclose(getattr(paired, name), getattr(alone, name))


def test_subjects_of_unlike_sizes_are_the_clusters_of_a_robust_error() -> None:
    import statsmodels.api as sm

    generator = np.random.default_rng(1)
    who = np.repeat(np.arange(7), generator.integers(5, 30, 7))
    generator.shuffle(who)
    values = generator.normal(size=len(who)) + 0.3 * who
    reference = sm.OLS(values, np.ones(len(who))).fit(cov_type="cluster", cov_kwds={"groups": who}, use_t=True)
    found = _spread(values[None], who, Scope.NEW_SUBJECTS)
    assert found.estimate[0] == pytest.approx(reference.params[0])
    assert found.mixed[0] == pytest.approx(reference.bse[0] ** 2)
    assert (found.unit_df, found.seed_df, found.seeds[0]) == (6, 0, 0)


def test_trials_within_subjects_are_strata() -> None:
    generator = np.random.default_rng(2)
    who = np.array([0] * 12 + [1] * 30)
    values = generator.normal(size=42) + 5 * who
    expected = sum((len(x) / 42) ** 2 * stats.sem(x) ** 2 for x in (values[:12], values[12:]))
    assert _spread(values[None], who, Scope.THESE_SUBJECTS).mixed[0] == pytest.approx(expected)


def test_few_subjects_say_nothing_about_new_ones() -> None:
    with pytest.raises(UsageError, match="3 subjects say too little about new ones; at least 4"):
        _spread(np.zeros((1, 6)), np.repeat([1, 2, 3], 2), Scope.NEW_SUBJECTS)


def test_a_subject_with_one_trial_is_named() -> None:
    with pytest.raises(UsageError, match="subject 's7' has one trial"):
        _spread(np.zeros((1, 3)), np.array(["s1", "s1", "s7"]), Scope.THESE_SUBJECTS)


def _several(seed_sd: list[float], seeds: int = 3, seed: int = 0, trials: int = 400) -> np.ndarray:
    """Methods `(M, R, N)` whose seeds differ by a standard deviation each, in units of a trial's."""
    generator = np.random.default_rng(seed)
    of_seed = np.array(seed_sd)[:, None, None] * generator.normal(size=(len(seed_sd), seeds, 1))
    return of_seed + generator.normal(size=(len(seed_sd), seeds, trials))


def _gaps(values: np.ndarray) -> Spread:
    methods = len(values)
    first, second = np.triu_indices(methods, 1)
    contrasts = np.eye(methods)[first] - np.eye(methods)[second]
    return spread_of(values, contrasts, Subjects.of(np.zeros(values.shape[2])), Scope.THESE_SUBJECTS)


def test_what_seeds_add_is_the_mean_over_all_methods() -> None:
    found = np.mean([_gaps(_several([0.5] * 8, seed=seed)).seeds.mean() for seed in range(40)])
    # A difference holds the seeds of two methods, at three seeds, and the rest of both.
    assert found == pytest.approx(2 * (0.25 + 1 / 400) / 3, rel=0.35)
    calm = _gaps(_several([0.5] * 8))
    assert calm.seed_df == 7 * 2
    assert calm.seeds.min() > 0.5 * calm.seeds.mean()


def test_an_unstable_method_widens_its_own_intervals_as_far_as_its_seeds_say() -> None:
    values = _several([2.0, *[0.01] * 7])
    found = _gaps(values)
    own = (values[0] - values[1:]).mean(axis=2).var(axis=1, ddof=1) / 3
    assert (found.seeds[:7] >= own - 1e-12).all()
    assert (found.seeds[7:] < found.seeds[:7].min()).all()


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_no_company_makes_a_pair_bolder_than_its_own_trials_and_seeds(seeds: int) -> None:
    for seed in range(20):
        values = _several([0.05] * 6, seeds, seed)
        table, alone = _gaps(values), _gaps(values[:2])
        assert table.seeds[0] >= alone.seeds[0] - 1e-12
        assert table.units[0] == pytest.approx(alone.units[0])


def test_two_methods_share_their_seeds_for_their_means_and_not_for_their_difference() -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(2, 3, 40)) + generator.normal(size=(2, 3, 1))
    alone, gap = (
        spread_of(values, weights, Subjects.of(np.zeros(40)), Scope.THESE_SUBJECTS)
        for weights in (np.eye(2), np.array([[1.0, -1.0]]))
    )
    assert alone.seed_df == 4
    assert gap.seed_df == 2
    assert gap.seeds[0] == pytest.approx((values[0] - values[1]).mean(axis=1).var(ddof=1) / 3)


def test_an_interval_for_new_subjects_is_never_narrower_than_for_these() -> None:
    gap = np.array([[1.0, -1.0]])
    for seed in range(60):
        # Subjects that happen to agree say nothing of how trials vary.
        values = np.random.default_rng(seed).integers(0, 2, (2, 2, 48)) * 1.0
        subjects = Subjects.of(np.repeat(np.arange(4), 12))
        these, new = (spread_of(values[..., subjects.order], gap, subjects, scope) for scope in Scope)
        assert margin(new)[0] >= margin(these)[0]


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("scope", Scope)
def test_no_interval_is_of_zero_width(seeds: int, scope: Scope) -> None:
    values = np.ones((2, seeds, 40))
    values[1, :, 7] = 0
    found = spread_of(values, np.array([[1.0, -1.0]]), Subjects.of(np.repeat(np.arange(4), 10)), scope)
    # All seeds fail at one trial: by McNemar's exact test that proves nothing, p = 1.
    assert found.estimate[0] == pytest.approx(1 / 40)
    assert margin(found)[0] > 1 / 40
