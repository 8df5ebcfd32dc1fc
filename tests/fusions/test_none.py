"""No fusion: what its branches predict together."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.evaluation.predict import class_scores
from kdbench.fusions.base import alike
from kdbench.fusions.none import NoFusion
from kdbench.network import Network
from kdbench.types import Features

SHAPES = alike((2, 2, 2, 2), 2, 2)


def _scores(average: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    network = Network.__new__(Network)
    torch.nn.Module.__init__(network)
    network.fusion = NoFusion(SHAPES, average=average)  # type: ignore[arg-type]
    logits = [torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    return class_scores(network, [Features(x, (), x) for x in logits]), logits


def test_it_averages_probabilities_or_logits() -> None:
    scores, (one, other) = _scores("logits")
    torch.testing.assert_close(scores, (one + other) / 2)
    scores, (one, other) = _scores("probabilities")
    torch.testing.assert_close(scores.exp(), (one.softmax(1) + other.softmax(1)) / 2)


def test_an_unknown_average_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        NoFusion(SHAPES, average="logit")  # type: ignore[arg-type]
