"""Cross-entropy with the labels."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import CLASSES, batch_of

from kdbench.errors import UsageError
from kdbench.losses.ce import cross_entropy


def test_equal_scores_cost_the_logarithm_of_the_classes() -> None:
    value = cross_entropy(torch.zeros(5, CLASSES), batch=batch_of())
    assert value.item() == pytest.approx(math.log(CLASSES))


def test_smoothing_spreads_a_share_of_the_target() -> None:
    logits, batch = torch.randn(5, CLASSES, dtype=torch.float64), batch_of()
    log_p = logits.log_softmax(1)
    hard = -log_p[torch.arange(5), batch.label].mean()
    expected = 0.9 * hard - 0.1 * log_p.mean()
    torch.testing.assert_close(cross_entropy(logits, batch=batch, label_smoothing=0.1), expected)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_a_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(UsageError, match=r"label_smoothing .* \[0, 1\)"):
        cross_entropy(torch.zeros(5, CLASSES), batch=batch_of(), label_smoothing=smoothing)
