"""The probes of a frozen embedding: they find what is there, nothing where nothing is, and always the same."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.evaluation.probe import MAX_ITER, NEIGHBOURS, Probe

CLASSES, WIDTH = 5, 16


def made(separation: float, count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features about a direction of their class's own, and labels; without separation, noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count * CLASSES) % CLASSES
    return separation * np.eye(WIDTH)[labels] + generator.standard_normal((len(labels), WIDTH)), labels


def accuracies(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> list[float]:
    fitted = Probe.fit(*train, CLASSES)
    scores = fitted.linear_scores(test[0]), fitted.neighbour_scores(test[0])
    return [float((each.argmax(1) == test[1]).mean()) for each in scores]


def test_separable_features_are_read_without_an_error() -> None:
    assert accuracies(made(30.0), made(30.0, seed=1)) == [1.0, 1.0]


def test_noise_is_read_at_chance() -> None:
    found = accuracies(made(0.0, count=200), made(0.0, count=200, seed=1))
    # 1000 trials of five classes: four standard deviations about 20 %.
    assert all(abs(accuracy - 1 / CLASSES) < 0.05 for accuracy in found)


def test_the_scale_of_a_feature_does_not_matter_to_the_linear_probe() -> None:
    (features, labels), (others, _) = made(2.0), made(2.0, seed=1)
    scale = np.logspace(-4, 4, WIDTH)
    plain, scaled = Probe.fit(features, labels, CLASSES), Probe.fit(features * scale + 7, labels, CLASSES)
    assert np.allclose(plain.linear_scores(others), scaled.linear_scores(others * scale + 7), atol=1e-2)


def test_a_class_that_was_never_shown_is_the_last_choice() -> None:
    features, labels = made(30.0)
    fitted = Probe.fit(features[labels != 3], labels[labels != 3], CLASSES)
    for scores in (fitted.linear_scores(features), fitted.neighbour_scores(features)):
        assert np.isfinite(scores).all()
        assert 3 not in scores.argmax(1)


def test_two_classes_and_few_trials() -> None:
    features, labels = made(30.0, count=1)
    fitted = Probe.fit(features[:2], labels[:2], 2)
    assert fitted.linear_scores(features[:2]).argmax(1).tolist() == [0, 1]
    assert fitted.neighbours.n_neighbors == 2 < NEIGHBOURS


def test_the_same_features_give_the_same_scores_and_the_fit_tells_how_it_ended() -> None:
    features, labels = made(1.0)
    first, second = (Probe.fit(features, labels, CLASSES) for _ in "ab")
    assert np.array_equal(first.linear_scores(features), second.linear_scores(features))
    said = first.settings()
    assert said["converged"]
    assert 0 < said["iterations"] < MAX_ITER
    assert said["embedding_width"] == WIDTH


@pytest.mark.parametrize("scores", ["linear_scores", "neighbour_scores"])
def test_scores_are_logarithms_of_shares(scores: str) -> None:
    features, labels = made(1.0)
    shares = np.exp(getattr(Probe.fit(features, labels, CLASSES), scores)(features))
    assert np.allclose(shares.sum(1), 1, atol=1e-9)
