"""Multi-level logit distillation: soft targets and two Gram matrices, each at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32, gram
from kdbench.registry import loss


@loss("mlld", on="logits", project=False)
def multi_level(
    student: Tensor,
    teacher: Tensor,
    *,
    temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
    instance_weight: float = 1.0,
    batch_weight: float = 1.0,
    class_weight: float = 1.0,
) -> Tensor:
    """Differences of the probabilities of instances, of the batch and of the classes, summed over temperatures.

    `L = sum_T [a T^2 / B sum_b KL(P_b^t || P_b^s) + b / B ||P^s P^s' - P^t P^t'||^2 + c / K ||P^s' P^s - P^t' P^t||^2]`
    with P `(B, K)` the softmax of the logits over T, `'` the transpose and the squared Frobenius norm (Jin et al., CVPR
    2023). The two Gram matrices are the relations between samples and between classes.

    The authors' `KD_ours` evaluates this on a weakly and on a strongly augmented view, and multiplies the terms with
    masks of the unsure half of the samples and classes. There the loss is reduced before it is masked, so that most
    masks only scale a term by the masked share. Here there is one view and no mask; the weights take that scale.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.
        temperatures: Every T > 0.
        instance_weight: a.
        batch_weight: b.
        class_weight: c.

    Raises:
        UsageError: There is no temperature, one is not positive, or the logits have unlike shapes.
    """
    if not temperatures:
        raise ParameterError("mlld: temperatures is empty; expected positive numbers", "temperatures")
    check_scores("mlld", student, teacher)
    student, teacher = at_least_float32(student), at_least_float32(teacher).detach()
    terms = []
    for temperature in temperatures:
        check_positive("mlld", temperatures=temperature)
        log_student = (student / temperature).log_softmax(1)
        ours, theirs = log_student.exp(), (teacher / temperature).softmax(1)
        instances = temperature**2 * F.kl_div(log_student, theirs, reduction="batchmean")
        samples, classes = _gram_distance(ours, theirs), _gram_distance(ours.T, theirs.T)
        terms.append(instance_weight * instances + batch_weight * samples + class_weight * classes)
    return torch.stack(terms).sum()


def _gram_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared distance of two Gram matrices of rows, over the number of rows."""
    return (gram(ours) - gram(theirs)).square().sum() / len(ours)
