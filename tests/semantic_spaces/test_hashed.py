"""Random label vectors."""

from __future__ import annotations

import pytest
import torch

from kdbench.semantic_spaces.hashed import hashed


def test_a_name_has_one_direction_whatever_stands_beside_it() -> None:
    one, other = hashed(["wave", "clap"]), hashed(["bow", "wave", "kick"])
    torch.testing.assert_close(one.vectors[0], other.vectors[1])
    assert not torch.equal(one.vectors[0], hashed(["wave", "clap"], seed=1).vectors[0])


def test_the_result_says_that_they_mean_nothing() -> None:
    held = hashed(["wave", "clap"], size=16)
    assert held.meaningful is False
    assert held.vectors.shape == (2, 16)
    assert held.vectors.square().mean().item() == pytest.approx(0.25)
    assert held.vectors.norm(dim=1).std().item() == pytest.approx(0, abs=1e-6)
