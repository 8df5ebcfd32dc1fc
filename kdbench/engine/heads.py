"""A student that predicts by its teacher's classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kdbench.errors import UsageError
from kdbench.network import Network, evaluating
from kdbench.text.wording import counted
from kdbench.types import Batch, Widths

_OTHER = "Take a teacher whose embedding is that mean, with all of its branches under one head: --teacher raw_concat"


def taken_width(heads: Sequence[Widths], phase: str) -> int:
    """Width of the embedding that a teacher's classifier takes.

    Args:
        heads: Widths of each of the teacher's heads.
        phase: Key of the student in the recipe, for the message.

    Raises:
        UsageError: There are several heads, or the embedding is as wide as no mean of the last map.
    """
    if len(heads) != 1:
        raise UsageError(
            f"{phase}.head takes over one head, and the teacher has {counted(len(heads), 'head')}", hint=_OTHER
        )
    # Equal widths are only a first sign, known without weights; `take_over` compares the values.
    if heads[0].stages[-1:] != (heads[0].embedding,):
        raise _no_mean(phase)
    return heads[0].embedding


def freeze_head(student: Network, phase: str) -> Network:
    """A student that is built for its teacher's classifier, with that classifier out of its training.

    Args:
        student: The network.
        phase: Key of the student in the recipe, for the message.

    Raises:
        UsageError: It has several branches.
    """
    if len(student.branches) > 1:
        raise UsageError(
            f"{phase}.head is for a network of one branch, and this one has {counted(len(student.branches), 'branch')}",
            hint=f"Train a head of its own: --set {phase}.head=null",
        )
    student.classifiers.requires_grad_(False)
    return student


def take_over(student: Network, teacher: Network, batch: Batch) -> None:
    """Gives the student the teacher's classifier, which stays as it is.

    Args:
        student: Built for it; its classifier is frozen.
        teacher: Trained.
        batch: A trial, on which the teacher's embedding has to be the mean of its last map.

    Raises:
        UsageError: It is not.
    """
    with torch.no_grad(), evaluating(teacher):
        (features,) = teacher(teacher.represent(batch))
    last = features.stages[-1].flatten(2).mean(2)
    # Loose enough for another order of sums, too tight for another kind of pooling.
    if not torch.allclose(last.float(), features.embedding.float(), rtol=1e-3, atol=1e-4):
        raise _no_mean("student")
    (own,), (taken,) = student.classifiers, teacher.classifiers
    own.load_state_dict(taken.state_dict())


def _no_mean(phase: str) -> UsageError:
    return UsageError(
        f"{phase}.head: the teacher's classifier does not take the mean of its last map, which the student gives it",
        hint=_OTHER,
    )
