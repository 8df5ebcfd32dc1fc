"""The normalised affinity graph."""

from __future__ import annotations

import pytest
import torch

from kdbench.losses.graph import normalized_affinity


def test_it_is_the_normalised_gaussian_of_the_distances() -> None:
    scores = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    w = torch.tensor([[1, 0.5, 2], [0.5, 1, 2.5], [2, 2.5, 1]], dtype=torch.float64).neg().exp()
    w.fill_diagonal_(1)
    degree = w.sum(1)
    torch.testing.assert_close(normalized_affinity(scores), w / (degree[:, None] * degree).sqrt())


def test_equal_scores_are_joined_evenly_and_far_ones_not_at_all() -> None:
    torch.testing.assert_close(normalized_affinity(torch.ones(4, 3)), torch.full((4, 4), 0.25))
    torch.testing.assert_close(normalized_affinity(100 * torch.eye(3)), torch.eye(3))


def test_without_self_loops_a_lonely_sample_has_a_row_of_zeros() -> None:
    scores = torch.tensor([[0.0], [0.1], [500.0]], requires_grad=True)
    graph = normalized_affinity(scores, self_loops=False)
    torch.testing.assert_close(graph, torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    graph.sum().backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_one_sample_is_its_own_neighbour(dtype: torch.dtype) -> None:
    graph = normalized_affinity(torch.randn(1, 5).to(dtype))
    assert graph.tolist() == [[1.0]]
    assert graph.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_the_largest_eigenvalue_is_one() -> None:
    graph = normalized_affinity(torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert torch.linalg.eigvalsh(graph)[-1].item() == pytest.approx(1)
