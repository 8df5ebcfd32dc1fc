"""Metrics against values computed by hand, and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.evaluation.metrics import calibration_error, classification, confusion, untested

CLASSES = ("clap", "wave", "bow", "kick")
# Predictions 0 0 1 1 0 2 for labels 0 0 0 1 1 1; class 2 is predicted and absent, class 3 neither.
LABELS = np.array([0, 0, 0, 1, 1, 1])
PREDICTIONS = np.array([0, 0, 1, 1, 0, 2])


def _logits(predictions: np.ndarray, margin: float = 3.0) -> np.ndarray:
    return margin * np.eye(4)[predictions]


def test_by_hand() -> None:
    found = classification(_logits(PREDICTIONS), LABELS, CLASSES)
    f1_clap, f1_wave = 2 * 2 / (2 * 2 + 1 + 1), 2 * 1 / (2 * 1 + 1 + 2)
    assert found["n"] == 6
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["macro_f1"] == pytest.approx((f1_clap + f1_wave) / 2)
    assert found["weighted_f1"] == pytest.approx((3 * f1_clap + 3 * f1_wave) / 6)
    assert found["per_class_recall"] == {
        "clap": pytest.approx(2 / 3),
        "wave": pytest.approx(1 / 3),
        "bow": None,
        "kick": None,
    }


def test_map_by_hand() -> None:
    # Class 0: its trials are 1st and 3rd of four, (1/1 + 2/3) / 2. Class 1: 1st and 3rd as well. Class 2 has no trial.
    shares = np.array([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.4, 0.2, 0.4], [0.1, 0.6, 0.3]])
    found = classification(np.log(shares), np.array([0, 0, 1, 1]), CLASSES[:3])
    assert found["map"] == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
    assert untested(found) == "macro F1 and mAP are means over the classes that have a trial in this part, 2 of 3"
    assert untested(classification(np.eye(2), np.array([0, 1]), CLASSES[:2])) == ""


def test_map_goes_by_probabilities_and_not_by_logits() -> None:
    # The second trial has the larger logit of class 0, and the first the larger probability.
    logits, labels = np.array([[2.0, 0.0], [3.0, 4.0]]), np.array([0, 1])
    assert classification(logits, labels, CLASSES[:2])["map"] == 1
    assert classification(logits + np.array([[0.0], [900.0]]), labels, CLASSES[:2])["map"] == 1


def test_weighted_f1_weighs_by_the_number_of_trials() -> None:
    labels, predictions = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    found = classification(_logits(predictions), labels, CLASSES)
    assert found["macro_f1"] == pytest.approx((6 / 7 + 0) / 2)
    assert found["weighted_f1"] == pytest.approx(0.75 * 6 / 7)


def test_perfect_and_one_class_only() -> None:
    labels = np.array([2, 2, 2])
    found = classification(_logits(labels, margin=50), labels, CLASSES)
    assert (found["accuracy"], found["macro_f1"], found["weighted_f1"]) == (1, 1, 1)
    assert found["ece"] == pytest.approx(0, abs=1e-9)


def test_calibration_error_by_hand() -> None:
    # Two classes, confidences 0.9 (right), 0.9 (wrong) and 0.6 (right): bins of 1/15 keep 0.9 and 0.6 apart.
    confidence = np.array([0.9, 0.9, 0.6])
    logits = np.log(np.stack([confidence, 1 - confidence], axis=1))
    labels = np.array([0, 1, 0])
    expected = (2 * abs(0.5 - 0.9) + 1 * abs(1 - 0.6)) / 3
    assert calibration_error(logits, labels) == pytest.approx(expected)


def test_a_shift_of_all_logits_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    shifted = classification(logits + 1000, labels, CLASSES)
    plain = classification(logits, labels, CLASSES)
    assert shifted["ece"] == pytest.approx(plain["ece"])
    assert shifted["macro_f1"] == plain["macro_f1"]


def test_confusion_is_normalised_by_row() -> None:
    matrix = confusion(LABELS, PREDICTIONS, 4)
    assert matrix == pytest.approx(
        np.array([[2 / 3, 1 / 3, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    )


@pytest.mark.parametrize(
    ("logits", "labels", "text"),
    [
        (np.zeros((2, 3)), np.array([0, 1]), r"expected \(2, 4\)"),
        (np.zeros((0, 4)), np.array([], int), "no trial"),
        (np.zeros((2, 4)), np.array([0, 4]), "labels run from 0 to 4, expected 0 to 3"),
        (np.array([[0.0, 1, 2, 3], [0, np.nan, 2, 3]]), np.array([0, 1]), "row 1 are not finite"),
    ],
)
def test_what_does_not_fit_is_refused(logits: np.ndarray, labels: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        classification(logits, labels, CLASSES)


def test_recall_and_f1_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    draw = np.random.default_rng(0)
    for classes in (2, 5, 27):
        # Of so few trials some classes have none, and some are never predicted.
        labels = draw.integers(0, classes, 20)
        logits = draw.normal(size=(20, classes))
        given = classification(logits, labels, list(map(str, range(classes))))
        present = np.unique(labels)
        _, recall, f1, support = precision_recall_fscore_support(
            labels, logits.argmax(axis=1), labels=present, zero_division=0.0
        )
        assert given["macro_f1"] == pytest.approx(f1.mean(), abs=1e-15)
        assert given["weighted_f1"] == pytest.approx(np.average(f1, weights=support), abs=1e-15)
        assert [given["per_class_recall"][str(name)] for name in present] == pytest.approx(recall.tolist(), abs=1e-15)
