"""The whole comparison: what it says, of whom, how fast, and what it refuses."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from kdbench.errors import UsageError
from kdbench.statistics import Scope, Scores, Verdict, compare_scores, offered, statement
from kdbench.statistics.scope import other_population

SUBJECTS = np.repeat([2, 4, 6, 8], [108, 107, 107, 108])


def _scores(levels: list[float], seeds: int = 3, seed: int = 0) -> Scores:
    """Methods whose trials are right where shared ease, their own level and noise are above 0."""
    generator = np.random.default_rng(seed)
    ease = generator.normal(size=(1, 1, len(SUBJECTS))) + np.array(levels)[:, None, None]
    right = ease + generator.normal(0, 0.8, (len(levels), seeds, len(SUBJECTS))) > 0
    return Scores(tuple(f"m{i}" for i in range(len(levels))), tuple(range(seeds)), right * 1.0, SUBJECTS)


@pytest.mark.parametrize(("scope", "way"), [(scope, way) for scope in Scope for way in offered(scope)])
def test_a_clear_difference_is_told_and_none_is_not(scope: Scope, way: str) -> None:
    found = compare_scores(_scores([2.5, 0.2, 0.2]), scope=scope, way=way)
    clear, none = found.pair("m1", "m0"), found.pair("m1", "m2")
    assert clear.verdict is Verdict.FIRST
    assert clear.first == "m0"
    assert 0 < clear.interval.low < clear.difference < clear.interval.high
    assert clear.needed is None
    assert none.verdict is Verdict.NEITHER
    assert none.needed is not None
    assert none.needed.of == ("seeds" if scope is Scope.THESE_SUBJECTS else "subjects")
    assert none.interval.low <= 0 <= none.interval.high
    assert all(pair.interval.way == way for pair in found.pairs)


def test_the_worse_one_first() -> None:
    (pair,) = compare_scores(_scores([0.0, 2.5])).pairs
    assert pair.verdict is Verdict.SECOND
    assert pair.difference < 0


def test_estimates_are_means_and_sample_deviations() -> None:
    scores = _scores([1.0, 0.5])
    found = compare_scores(scores)
    by_seed = scores.values.mean(axis=2)
    for row, summary in zip(by_seed, found.methods, strict=True):
        assert summary.mean == pytest.approx(row.mean())
        assert summary.sd == pytest.approx(stats.tstd(row))
        assert summary.by_seed == pytest.approx(tuple(row))
        assert summary.interval.low < summary.mean < summary.interval.high
    assert found.pairs[0].difference == pytest.approx((by_seed[0] - by_seed[1]).mean())
    assert found.pairs[0].sd == pytest.approx(stats.tstd(by_seed[0] - by_seed[1]))


def test_the_same_in_the_same_out() -> None:
    scores = _scores([1.0, 0.8, 0.5])
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - that it is left alone is the point
    assert asdict(compare_scores(scores)) == asdict(compare_scores(scores))
    assert (state == np.random.get_state()[1]).all()  # noqa: NPY002


def test_the_order_of_the_trials_does_not_matter() -> None:
    scores = _scores([1.0, 0.5])
    order = np.random.default_rng(3).permutation(len(SUBJECTS))
    mixed = Scores(scores.methods, scores.seeds, scores.values[:, :, order], SUBJECTS[order])
    for scope in Scope:
        one, other = (compare_scores(s, scope=scope, way="t").pairs[0] for s in (scores, mixed))
        assert one.interval.low == pytest.approx(other.interval.low)
        assert one.p == pytest.approx(other.p)


def test_one_seed_is_said_to_be_one() -> None:
    found = compare_scores(_scores([1.0, 0.5], seeds=1))
    assert found.methods[0].sd is None
    assert "one seed run" in found.about
    assert any("one seed was run" in note for note in found.notes)


def test_identical_methods_cannot_be_told_apart() -> None:
    scores = _scores([1.0])
    twins = Scores(("a", "b", "c"), scores.seeds, np.concatenate([scores.values] * 3), SUBJECTS)
    for scope in Scope:
        for way in offered(scope):
            pair = compare_scores(twins, scope=scope, way=way).pairs[0]
            assert (pair.difference, pair.p, pair.verdict) == (0, 1, Verdict.NEITHER)
            assert pair.mcnemar is not None
            assert pair.mcnemar.p == 1


def test_a_result_without_any_spread_still_has_an_interval() -> None:
    scores = _scores([1.0, 0.5])
    values = np.concatenate([scores.values, np.ones((1, *scores.values.shape[1:]))])
    found = compare_scores(Scores(("a", "b", "perfect"), scores.seeds, values, SUBJECTS))
    interval = found.methods[2].interval
    # As by the rule of three, 430 right trials exclude no accuracy above 1 - 3/430.
    assert interval.low == pytest.approx(1 - 3 / 430, abs=0.5 / 430)
    assert interval.high == 1


def test_one_method_alone_has_an_interval_and_no_pair() -> None:
    found = compare_scores(_scores([1.0]))
    assert len(found.methods) == 1
    assert found.pairs == ()


def test_intervals_stay_within_the_metric_s_bounds() -> None:
    found = compare_scores(_scores([3.2, -3.2], seeds=2), scope=Scope.NEW_SUBJECTS)
    assert found.methods[0].interval.high <= 1
    assert found.methods[1].interval.low >= 0
    assert found.pairs[0].interval.high <= 1


def test_whom_a_statement_is_about() -> None:
    assert (
        statement("these-subjects", subjects=4, seeds=2)
        == "95 % CIs and tests: same 4 test subjects, new trials and seeds (2 seeds run)."
    )
    assert other_population("these-subjects", subjects=4) == "For unseen subjects: --population new-subjects."
    # Three subjects are too few to ask about new ones, so nobody is sent there.
    assert other_population("these-subjects", subjects=3) == ""
    assert other_population("new-subjects", subjects=20) == ""
    assert statement("new-subjects", subjects=20, seeds=3) == (
        "95 % CIs and tests: new subjects like these 20, and new seeds (3 seeds run)."
    )
    assert "one seed run, so other seeds may differ" in statement("these-subjects", subjects=1, seeds=1)


def test_what_covers_too_rarely_is_refused() -> None:
    with pytest.raises(UsageError, match="by 'bootstrap' are not offered for new-subjects") as caught:
        compare_scores(_scores([1.0, 0.5]), scope="new_subjects", way="bootstrap")
    assert caught.value.hint == "Take 't'."


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scope": "new_subject"}, "did you mean 'new-subjects'"),
        ({"way": "bootstap"}, "did you mean 'bootstrap'"),
        ({"power": 1.2}, "power is 1.2, expected a share between 0 and 1"),
        ({"draws": 10}, "10 draws cannot give an interval"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare_scores(_scores([1.0, 0.5]), **wrong)


def test_against_one_method_only_its_pairs_are_tested() -> None:
    scores = _scores([1.0, 0.8, 0.7, 0.5])
    every, some = compare_scores(scores, way="t"), compare_scores(scores, way="t", against="m1")
    assert [(p.first, p.second) for p in some.pairs] == [("m0", "m1"), ("m2", "m1"), ("m3", "m1")]
    for pair in some.pairs:
        other = every.pair(pair.first, pair.second)
        assert pair.p == pytest.approx(other.p)
        assert pair.p_holm <= other.p_holm
        assert abs(pair.difference) == pytest.approx(abs(other.difference))
    with pytest.raises(UsageError, match="unknown method 'm9'"):
        compare_scores(scores, against="m9")


def test_hundreds_of_methods_take_seconds_and_no_bootstrap() -> None:
    scores = _scores([0.0] * 60)
    began = time.process_time()
    found = compare_scores(scores)
    assert time.process_time() - began < 3
    assert found.way == "t"
    assert len(found.pairs) == 1770
    with pytest.raises(UsageError, match="3 methods or more in at most 200 pairs, not 60 in 1770"):
        compare_scores(scores, way="bootstrap")


def test_the_way_does_not_depend_on_the_company() -> None:
    for levels in ([1.0, 0.5], [1.0, 0.5, 0.5], [1.0] * 8):
        assert compare_scores(_scores(levels)).way == "t"
    with pytest.raises(UsageError, match="not 2 in 1"):
        compare_scores(_scores([1.0, 0.5]), way="bootstrap")


def test_chosen_pairs_are_a_family_of_their_own() -> None:
    scores = _scores([1.0, 0.8, 0.7, 0.5])
    every, some = compare_scores(scores), compare_scores(scores, pairs=[("m3", "m0"), ("m2", "m1")])
    assert [(pair.first, pair.second) for pair in some.pairs] == [("m3", "m0"), ("m2", "m1")]
    for pair in some.pairs:
        other = every.pair(pair.first, pair.second)
        assert pair.p == pytest.approx(other.p)
        assert pair.p_holm <= other.p_holm
    with pytest.raises(UsageError, match="unknown method 'm9'"):
        compare_scores(scores, pairs=[("m0", "m9")])


def test_a_pair_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="'m0' and 'm7' are not a pair"):
        compare_scores(_scores([1.0, 0.5])).pair("m0", "m7")


def test_the_bootstrap_can_reject_after_holm_over_all_pairs_of_fifteen_methods_within_seconds() -> None:
    scores = _scores([3.0, *[0.0] * 14])
    began = time.process_time()
    found = compare_scores(scores, way="bootstrap")
    assert time.process_time() - began < 4
    assert len(found.pairs) == 105
    assert all(pair.verdict is Verdict.FIRST for pair in found.pairs[:14])
