"""C2KD: two networks, their proxies, and the samples at which these rank the classes alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import CLASSES, batch_of, context, features, teacher_features
from scipy.stats import kendalltau
from torch import Tensor, nn

from kdbench.losses.c2kd import ProxyDistillation, rank_correlation
from kdbench.types import Features

SIZE = 12


def _loss(**params: float) -> ProxyDistillation:
    torch.manual_seed(0)
    return ProxyDistillation(context(), **params).double()


def _pair() -> tuple[Features, Features]:
    return features(SIZE, dtype=torch.float64), teacher_features(SIZE, dtype=torch.float64)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores - scores.max(1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def _kl(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    logs = _log_softmax(target)
    return (np.exp(logs) * (logs - _log_softmax(scores))).sum(1)


def _proxy(proxy: nn.Sequential, embedding: Tensor) -> np.ndarray:
    """The proxy in NumPy, in training mode."""
    first, norm, _, last = proxy
    x = embedding.detach().numpy() @ first.weight.detach().numpy().T
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + norm.eps)
    x = x * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    x = np.where(x > 0, x, 0.1 * x)
    return x @ last.weight.detach().numpy().T + last.bias.detach().numpy()


@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_it_is_the_sum_of_the_divergences(threshold: float) -> None:
    (student, teacher), batch, loss = _pair(), batch_of(SIZE), _loss(threshold=threshold)
    mine, theirs = _proxy(loss.of_student, student.embedding), _proxy(loss.of_teacher, teacher.embedding)
    own, other = student.logits.detach().numpy(), teacher.logits.detach().numpy()
    alike = np.array([kendalltau(*rows)[0] > threshold for rows in zip(mine, theirs, strict=True)])
    assert 0 < alike.sum() < SIZE
    zeroed = []
    for scores in (mine, theirs):
        zeroed.append(scores.copy())
        zeroed[-1][np.arange(SIZE), batch.label.numpy()] = 0
    expected = _kl(mine, own) + _kl(own, mine) + _kl(other, theirs)
    expected += alike * (_kl(zeroed[1], zeroed[0]) + _kl(zeroed[0], zeroed[1]))
    assert loss(student, teacher, batch).item() == pytest.approx(expected.mean(), rel=1e-9)
    assert loss.diagnostics()["alike"].item() == pytest.approx(alike.mean())


def test_the_rank_correlation_is_that_of_scipy_also_with_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(5, (30, 7), generator=generator).double() for _ in range(2))
    expected = [kendalltau(*rows)[0] for rows in zip(first.numpy(), second.numpy(), strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second).numpy(), expected, rtol=1e-12)
    assert not rank_correlation(torch.ones(1, 4), first[:1, :4]).any()


def test_the_other_network_s_part_trains_its_proxy_alone() -> None:
    (student, teacher), loss = _pair(), _loss()
    loss(student, teacher, batch_of(SIZE)).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in loss.of_teacher[-1].parameters())
    assert teacher.embedding.grad is None
    assert teacher.logits.grad is None
    assert student.logits.grad is not None
    assert student.embedding.grad is not None


def test_a_trial_without_a_label_has_the_class_of_the_teacher() -> None:
    (student, teacher), batch = _pair(), batch_of(SIZE)
    guessed = batch.replace(label=teacher.logits.argmax(1))
    blind = batch.replace(label=torch.full((SIZE,), -1))
    torch.testing.assert_close(_loss()(student, teacher, blind), _loss()(student, teacher, guessed))
    assert CLASSES > 2
