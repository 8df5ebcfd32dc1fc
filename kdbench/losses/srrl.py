"""Softmax regression representation learning: the teacher's classifier reads what the student's map becomes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.losses.checks import check_samples
from kdbench.losses.layers import MapNorm, Pointwise
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.registry import loss
from kdbench.types import Context, Features


@loss(
    "srrl",
    reads=("stages", "embedding"),
    detaches=("embedding",),
    needs=("teacher_classifiers",),
    labels="unused",
)
class SoftmaxRegression(nn.Module):
    """Squared difference of the teacher's embedding and the student's, and of the scores of the teacher's classifier.

    `L = w_f mean (f - e_t)^2 + w_s mean (W_t f - W_t e_t)^2`, `f = mean_n relu(BN(r(s)))` over the positions of the
    student's last map s, r a learnt linear along the channels, `e_t` the teacher's embedding, and `W_t` the teacher's
    classifier, frozen, whose bias cancels (Yang et al., ICLR 2021, both weights 1, as the authors' code has it). The
    student's own classifier learns from the other losses.

    After the ReLU f is not negative, as pooled features of a ReLU network are; those of a network that ends in
    LayerNorm have both signs, and `relu=False` leaves it out. For a batch of one with a map of one position, which has
    no spread, BatchNorm takes the running statistics.

    Args:
        context: Gives the widths and the teacher's classifier.
        features: w_f.
        scores: w_s.
        relu: Whether there is a ReLU after BatchNorm.

    Raises:
        UsageError: A weight is negative, or both are zero.
    """

    def __init__(self, context: Context, *, features: float = 1.0, scores: float = 1.0, relu: bool = True) -> None:
        super().__init__()
        if min(features, scores) < 0 or features == scores == 0:
            raise ParameterError(
                f"srrl: features is {features} and scores {scores}; expected a positive one and no negative",
                "features",
                "scores",
            )
        width = context.teachers[0].embedding
        self.weights = (features, scores)
        linear = Pointwise(context.student.stages[-1], width)
        nn.init.kaiming_normal_(linear.weight, mode="fan_out")
        self.connector = nn.Sequential(linear, MapNorm(width), nn.ReLU() if relu else nn.Identity())
        # The classifier is the teacher's: in a tuple it is no part of this module.
        self._classifier = context.teacher_classifiers

    def forward(self, student: Features, teacher: Features) -> Tensor:
        """The loss of the student's last map `(B, C, *grid)` and the teacher's embedding `(B, D)`, detached."""
        own = at_least_float32(self.connector(student.stages[-1])).flatten(2).mean(2)
        target = at_least_float32(teacher.embedding.detach())
        check_samples("srrl", own, target)
        difference = own - target
        features, scores = self.weights
        return features * difference.square().mean() + scores * self._of_scores(difference).square().mean()

    def _of_scores(self, difference: Tensor) -> Tensor:
        """The difference of the teacher's scores of two embeddings, in which its bias cancels."""
        (classifier,) = self._classifier
        assert isinstance(classifier, nn.Linear)
        with without_autocast(difference):
            return F.linear(difference, classifier.weight.to(difference))
