"""What losses on scores and on samples check of their two sides."""

from __future__ import annotations

from torch import Tensor

from kdbench.errors import ParameterError, UsageError
from kdbench.text.wording import counted


def check_scores(name: str, student: Tensor, teacher: Tensor) -> None:
    """Checks that both networks score the same classes of the same trials.

    Args:
        name: The loss, for the message.
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`.

    Raises:
        UsageError: The shapes differ or are not of two axes.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise UsageError(
            f"{name}: the student's logits are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}; "
            "expected (batch, classes), the same classes of the same trials",
            hint="Give it the logits of one batch from two networks that were built for the same classes.",
        )


def check_samples(name: str, student: Tensor, teacher: Tensor) -> None:
    """Checks that both networks saw equally many samples.

    Args:
        name: The loss, for the message.
        student: Features `(B, ...)`.
        teacher: Features `(B, ...)`.

    Raises:
        UsageError: The numbers of samples differ.
    """
    if len(student) != len(teacher):
        raise UsageError(
            f"{name}: the student has {counted(len(student), 'sample')}, the teacher {len(teacher)}",
            hint="Give it what both networks make of the same batch.",
        )


def check_positive(name: str, **values: float) -> None:
    """Checks that parameters are positive.

    Args:
        name: The loss, for the message.
        **values: The parameters by name.

    Raises:
        UsageError: One is zero or negative.
    """
    for parameter, value in values.items():
        if not value > 0:
            raise ParameterError(f"{name}: {parameter} is {value}, expected a positive number", parameter)


def check_other_classes(name: str, logits: Tensor) -> None:
    """Checks that there is a class beside the label.

    Args:
        name: The loss, for the message.
        logits: Logits `(B, K)`.

    Raises:
        UsageError: There is one class.
    """
    if logits.shape[1] < 2:
        raise UsageError(
            f"{name}: there is 1 class; expected at least 2, the label and another",
            hint="Take data of two classes or more.",
        )
