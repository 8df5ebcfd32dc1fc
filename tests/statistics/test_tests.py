"""Holm, McNemar, power and ranks against statsmodels and scikit-posthocs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from kdbench.errors import DataError, UsageError
from kdbench.statistics import MIN_BLOCKS, Scope, Scores, compare_ranks, holm, mcnemar
from kdbench.statistics.power import needed
from kdbench.statistics.spread import Spread


@pytest.mark.parametrize("size", [1, 2, 28, 105])
def test_holm_is_that_of_statsmodels(size: int) -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(size).random(size) ** 3
    p[: size // 3] = p[0]  # Ties.
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]).shape == (0,)


def _three(seed: int, seeds: int = 3) -> Scores:
    generator = np.random.default_rng(seed)
    values = (generator.random((3, seeds, 60)) < generator.uniform(0.5, 0.95, (3, 1, 1))) * 1.0
    return Scores(("a", "b", "c"), tuple(range(seeds)), values, np.zeros(60))


@pytest.mark.parametrize("seed", range(4))
def test_mcnemar_is_that_of_statsmodels_at_every_seed(seed: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint

    scores = _three(seed)
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    found = mcnemar(scores, first, second)
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        for run, table in enumerate(found[pair].seeds):
            x, y = scores.values[a, run].astype(bool), scores.values[b, run].astype(bool)
            counts = [[np.sum(x & y), np.sum(x & ~y)], [np.sum(~x & y), np.sum(~x & ~y)]]
            assert (table.only_a, table.only_b) == (counts[0][1], counts[1][0])
            assert table.p == pytest.approx(reference_mcnemar(counts, exact=True).pvalue)
            low, high = proportion_confint(table.only_a, table.only_a + table.only_b, method="beta")
            np.testing.assert_allclose([table.g_low, table.g_high], [low - 0.5, high - 0.5], atol=1e-12)
            assert table.g_low <= table.g <= table.g_high
    np.testing.assert_allclose([m.p_holm for m in found], multipletests([m.p for m in found], method="holm")[1])
    assert found[0].about.startswith("these trials only")


@pytest.mark.parametrize(("seeds", "order", "factor"), [(1, 0, 1), (2, 0, 2), (3, 1, 1.5), (5, 2, 5 / 3)])
def test_over_the_seeds_the_middle_p_value_is_widened(seeds: int, order: int, factor: float) -> None:
    (found,) = mcnemar(_three(9, seeds), np.array([0]), np.array([1]))
    assert found.p == pytest.approx(min(1, factor * sorted(t.p for t in found.seeds)[order]))


def test_methods_that_agree_everywhere() -> None:
    values = np.ones((2, 1, 10))
    (found,) = mcnemar(Scores(("a", "b"), (0,), values, np.zeros(10)), np.array([0]), np.array([1]))
    table = found.seeds[0]
    assert (found.p, table.p, table.g, table.g_low, table.g_high) == (1, 1, 0, -0.5, 0.5)


def test_mcnemar_wants_right_or_wrong() -> None:
    scores = Scores(("a", "b"), (0,), np.full((2, 1, 4), 0.3), np.zeros(4), "macro_f1")
    with pytest.raises(UsageError, match="right or wrong trials; macro_f1 is neither"):
        mcnemar(scores, np.array([0]), np.array([1]))


def _over_subjects(difference: float, sd: float, subjects: int) -> Spread:
    def one(x: float) -> np.ndarray:
        return np.array([x])

    variance = one(sd**2 / subjects)
    return Spread(one(difference), variance, subjects - 1, one(0.0), 0, one(0.0), variance)


@pytest.mark.parametrize("standardised", [0.3, 0.5, 0.8, 1.5])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 28])
def test_needed_subjects_are_those_of_statsmodels(standardised: float, alpha: float) -> None:
    from statsmodels.stats.power import TTestPower

    (found,) = needed(
        _over_subjects(0.03, 0.03 / standardised, 8), scope=Scope.NEW_SUBJECTS, seeds=1, alpha=alpha, power=0.8
    )
    reference = np.ceil(TTestPower().solve_power(standardised, alpha=alpha, power=0.8))
    assert found.of == "subjects"
    # As many as were tested were not enough, whatever their difference seems to be.
    assert found.number == pytest.approx(max(reference, 9), abs=1, rel=0.03)
    assert found.sentence == f"about {found.number} subjects in all"


def test_the_detectable_difference_has_that_power() -> None:
    from statsmodels.stats.power import TTestPower

    (found,) = needed(_over_subjects(0.0, 0.05, 20), scope=Scope.NEW_SUBJECTS, seeds=1, alpha=0.05, power=0.8)
    assert found.detectable is not None
    assert TTestPower().power(found.detectable / 0.05, 20, 0.05) == pytest.approx(0.8, abs=0.01)


def test_no_difference_needs_more_than_any_number() -> None:
    (found,) = needed(_over_subjects(0.0, 0.05, 20), scope=Scope.NEW_SUBJECTS, seeds=1, alpha=0.05, power=0.8)
    assert found.number is None
    assert found.sentence == "more seeds; more subjects would not"


def test_more_seeds_do_not_help_where_the_trials_are_the_limit() -> None:
    def plan(units: float) -> int | None:
        one = np.ones(1)
        spread = Spread(0.02 * one, units * one, 424, 1e-4 * one, 2, 0 * one, units * one)
        return needed(spread, scope=Scope.THESE_SUBJECTS, seeds=3, alpha=0.05, power=0.8)[0].number

    few, more, never = plan(1e-6), plan(4e-5), plan(1e-3)
    assert few is not None
    assert more is not None
    assert 3 < few < more
    assert never is None


def test_trial_noise_that_more_seeds_average_out_is_planned_to_shrink() -> None:
    one = np.ones(1)
    spread = Spread(0.02 * one, 1.2e-4 * one, 424, 1e-4 * one, 2, 1e-4 * one, 1.2e-4 * one)
    (found,) = needed(spread, scope=Scope.THESE_SUBJECTS, seeds=2, alpha=0.05, power=0.8)
    assert found.number is not None
    fixed = dataclasses.replace(spread, rest=0 * one)
    (other,) = needed(fixed, scope=Scope.THESE_SUBJECTS, seeds=2, alpha=0.05, power=0.8)
    assert other.number is None


def test_seeds_alone_are_planned_as_by_statsmodels() -> None:
    from statsmodels.stats.power import TTestPower

    one = np.ones(1)
    tiny = 1e-12 * one
    spread = Spread(0.02 * one, tiny, 424, 2e-4 / 3 * one, 2, 0 * one, tiny)
    (found,) = needed(spread, scope=Scope.THESE_SUBJECTS, seeds=3, alpha=0.05, power=0.8)
    reference = np.ceil(TTestPower().solve_power(0.02 / np.sqrt(2e-4), alpha=0.05, power=0.8))
    assert found.of == "seeds"
    assert found.number == pytest.approx(reference, abs=1)


def test_one_seed_does_not_say_how_many_are_needed() -> None:
    one = np.ones(1)
    spread = Spread(0.02 * one, 1e-6 * one, 424, 0 * one, 0, 0 * one, 1e-6 * one)
    (found,) = needed(spread, scope=Scope.THESE_SUBJECTS, seeds=1, alpha=0.05, power=0.8)
    assert found.number is None
    assert found.sentence == "one seed cannot say"


def _blocks(seed: int, methods: int = 6, blocks: int = 12) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(methods, blocks)).round(1) + np.linspace(0, 2.5, methods)[:, None]


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_those_of_scipy_and_scikit_posthocs(seed: int) -> None:
    import scikit_posthocs

    scores = _blocks(seed)
    names = [f"m{i}" for i in range(len(scores))]
    found = compare_ranks(names, scores)
    statistic, p = stats.friedmanchisquare(*scores)
    assert (found.statistic, found.p) == (pytest.approx(statistic), pytest.approx(p))
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(scores.T).to_numpy()
    rank = dict(zip(found.methods, found.mean_ranks, strict=True))
    apart = 0
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            far = abs(rank[a] - rank[b]) > found.critical_difference
            assert far == (nemenyi[i, j] < 0.05)
            assert far != any({a, b} <= set(group) for group in found.groups)
            apart += far
    assert apart
    assert found.methods[0] == names[int(np.argmin([rank[n] for n in names]))]


@pytest.mark.parametrize(("methods", "quantile"), [(3, 2.343), (5, 2.728), (8, 3.031), (10, 3.164)])
def test_the_critical_difference_is_the_published_one(methods: int, quantile: float) -> None:
    """The q of Demšar's Table 5a."""
    found = compare_ranks([str(i) for i in range(methods)], _blocks(0, methods, 10))
    assert found.critical_difference == pytest.approx(quantile * np.sqrt(methods * (methods + 1) / 60), rel=5e-4)


def test_methods_that_are_alike_form_one_group() -> None:
    found = compare_ranks(["a", "b", "c"], np.ones((3, 6)))
    assert (found.p, found.groups, found.mean_ranks) == (1, (("a", "b", "c"),), (2, 2, 2))


def test_few_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match=f"5 blocks are too few to compare ranks; at least {MIN_BLOCKS}"):
        compare_ranks(["a", "b", "c"], np.zeros((3, 5)))
    with pytest.raises(UsageError, match="three methods or more, not 2"):
        compare_ranks(["a", "b"], np.zeros((2, 9)))
    with pytest.raises(UsageError, match=r"scores are \(3, 9\), expected \(2, blocks\)"):
        compare_ranks(["a", "b"], np.zeros((3, 9)))
    broken = np.zeros((3, 9))
    broken[1, 4] = np.nan
    with pytest.raises(DataError, match="a score of 'b' is not finite"):
        compare_ranks(["a", "b", "c"], broken)
