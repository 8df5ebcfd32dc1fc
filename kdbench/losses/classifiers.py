"""The networks' own classifiers, applied to parts of the last map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.text.wording import counted
from kdbench.types import Context, Widths


def classifiers_of(name: str, context: Context) -> tuple[nn.Linear, nn.Linear]:
    """The classifiers of the student's branch and of the teacher's, which the last maps must fit.

    They stay their networks': keep them in a tuple, which a module does not register. Whether an embedding is the mean
    of the last map shows in its width alone: one that is as wide by another way, such as attention, is not noticed.

    Args:
        name: The loss, for the message.
        context: What the loss is built from.

    Raises:
        UsageError: There is not one of each, or a network's embedding is no average of its last map.
    """
    return (
        _fitting(name, "student", context.student_classifiers, context.student),
        _fitting(name, "teacher", context.teacher_classifiers, *context.teachers),
    )


def _fitting(name: str, owner: str, classifiers: Sequence[nn.Module], *widths: Widths) -> nn.Linear:
    if len(classifiers) != 1 or len(widths) != 1:
        heads = counted(len(classifiers), "classifier")
        raise UsageError(
            f"{name} compares one branch with one, and the {owner} has {heads}",
            hint="Build one loss for each pair of branches, from a context of that pair.",
        )
    width, channels = widths[0].embedding, widths[0].stages[-1]
    if width != channels:
        raise UsageError(
            f"{name} applies the {owner}'s classifier to its last map, which has {counted(channels, 'channel')}; "
            f"the classifier takes {width}",
            hint="It needs a network whose embedding is the mean of its last map.",
        )
    return cast("nn.Linear", classifiers[0])


def class_scores(classifier: nn.Linear, features: Tensor, *, bias: bool = True) -> Tensor:
    """Scores of the classes for each of some features.

    Args:
        classifier: From D to K.
        features: `(B, D, N)`.
        bias: Add the classifier's bias.

    Returns:
        `(B, K, N)`, float32 or more, also under autocast.
    """
    features = at_least_float32(features)
    weight, offset = classifier.weight.to(features), classifier.bias
    with without_autocast(features):
        scores = torch.matmul(weight, features)
    return scores + offset.to(features)[:, None] if bias else scores
