"""Per-trial scores against scikit-learn, and what is refused as unpaired."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.errors import DataError, UsageError
from kdbench.statistics import Scores, average_precision_scores, from_predictions, paired_scores
from kdbench.statistics.scores import log_probabilities, macro_f1_scores

SUBJECTS = np.repeat(["s2", "s4"], 3)


def _predicted(seed: int, classes: int = 5, trials: int = 60) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes - 1, trials)  # The last class is predicted and absent.
    guesses = generator.integers(0, classes, (2, 3, trials))
    return np.where(generator.random(guesses.shape) < 0.6, labels, guesses), labels


def _sklearn(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    from sklearn.metrics import f1_score

    return f1_score(
        labels, predicted, labels=np.unique(labels), average="macro", sample_weight=weights, zero_division=0.0
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_of_macro_f1_scores_is_macro_f1(seed: int) -> None:
    predictions, labels = _predicted(seed)
    means = macro_f1_scores(predictions, labels).mean(axis=-1)
    for method in range(2):
        for run in range(3):
            assert means[method, run] == pytest.approx(_sklearn(labels, predictions[method, run]), abs=1e-12)


def test_a_trial_s_macro_f1_score_is_how_macro_f1_moves_with_its_weight() -> None:
    predictions, labels = _predicted(7)
    predicted = predictions[0, 0]
    scores = macro_f1_scores(predicted, labels)
    step = 1e-6
    for trial in range(len(labels)):
        weights = np.ones(len(labels))
        weights[trial] += step
        slope = (_sklearn(labels, predicted, weights) - _sklearn(labels, predicted)) / step
        assert scores[trial] - scores.mean() == pytest.approx(slope * len(labels), abs=1e-4)


def test_accuracy_of_predictions() -> None:
    labels = [0, 1, 2, 0, 1, 2]
    scores = from_predictions({"a": {1: [0, 1, 2, 0, 0, 0], 0: labels}}, labels, SUBJECTS)
    assert scores.seeds == (0, 1)
    np.testing.assert_allclose(scores.by_seed, [[1, 4 / 6]])
    assert scores.binary
    assert not from_predictions({"a": {0: [0] * 6}}, labels, SUBJECTS, metric="macro_f1").binary


def test_a_missing_seed_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'sp' lacks seed 2, which another method has"):
        paired_scores({"rkd": {1: [1] * 6, 2: [1] * 6}, "sp": {1: [1] * 6}}, SUBJECTS)


def test_another_number_of_trials_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'sp', seed 1, has scores of shape \(5,\), expected \(6,\)"):
        paired_scores({"rkd": {1: [1] * 6}, "sp": {1: [1] * 5}}, SUBJECTS)


def test_a_score_that_is_not_finite_is_named() -> None:
    with pytest.raises(DataError, match="accuracy of 'rkd', seed 4, trial 2 is not finite"):
        paired_scores({"rkd": {4: [1, 0, np.nan, 1, 0, 1]}}, SUBJECTS)


def test_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no method"):
        paired_scores({}, SUBJECTS)
    with pytest.raises(UsageError, match="no seed"):
        paired_scores({"rkd": {}}, SUBJECTS)


def test_one_name_for_two_methods_is_refused() -> None:
    with pytest.raises(UsageError, match="one method is given twice: a, a"):
        Scores(("a", "a"), (0,), np.ones((2, 1, 6)), SUBJECTS)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="did you mean 'macro_f1'"):
        from_predictions({"a": {0: [0] * 6}}, [0] * 6, SUBJECTS, metric="macro_f2")


def test_a_negative_class_is_refused() -> None:
    with pytest.raises(DataError, match="class indices from 0 on"):
        from_predictions({"a": {0: [0, -1, 0, 0, 0, 0]}}, [0] * 6, SUBJECTS)
    with pytest.raises(UsageError, match=r"labels are \(5,\), expected \(6,\)"):
        from_predictions({"a": {0: [0] * 6}}, [0] * 5, SUBJECTS)


def _scored(seed: int, trials: int = 60, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Coarse log-probabilities, so that there are ties, and labels without the last class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes - 1, trials)
    shares = np.round(generator.dirichlet(np.ones(classes), (2, trials)) + 0.5 * np.eye(classes)[labels], 1) + 0.05
    return np.log(shares), labels


def _sklearn_map(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> float:
    from sklearn.metrics import average_precision_score

    scores = log_probabilities(logits)
    return float(
        np.mean([average_precision_score(labels == k, scores[:, k], sample_weight=weights) for k in np.unique(labels)])
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_of_average_precision_scores_is_map(seed: int) -> None:
    scores, labels = _scored(seed)
    for given, means in zip(scores, average_precision_scores(scores, labels).mean(axis=-1), strict=True):
        assert means == pytest.approx(_sklearn_map(labels, given), abs=1e-12)


def test_a_trial_s_average_precision_score_is_how_map_moves_with_its_weight() -> None:
    scores, labels = _scored(5)
    given = scores[0]
    values = average_precision_scores(given, labels)
    step = 1e-6
    for trial in range(len(labels)):
        weights = np.ones(len(labels))
        weights[trial] += step
        slope = (_sklearn_map(labels, given, weights) - _sklearn_map(labels, given)) / step
        assert values[trial] - values.mean() == pytest.approx(slope * len(labels), abs=1e-3)


def test_average_precision_scores_spread_as_map_does_from_sample_to_sample() -> None:
    generator, classes, trials = np.random.default_rng(3), 3, 240
    found, told = [], []
    for _ in range(150):
        labels = np.repeat(np.arange(classes), trials // classes)
        logits = generator.normal(size=(trials, classes)) + 1.2 * np.eye(classes)[labels]
        values = average_precision_scores(logits, labels)
        found.append(values.mean())
        told.append(values.std(ddof=1) / np.sqrt(trials))
    assert np.mean(told) == pytest.approx(np.std(found, ddof=1), rel=0.2)


def test_predicted_classes_give_no_map() -> None:
    with pytest.raises(UsageError, match="mAP needs class probabilities"):
        from_predictions({"a": {0: [0] * 6}}, [0] * 6, SUBJECTS, metric="map")
