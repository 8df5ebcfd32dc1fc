"""The options `--labels`, `--teacher-labels` and `--pairs`, which stand for settings of a recipe's `track`.

`--labels` also chooses among the runs of a track.
"""

from __future__ import annotations

from typing import Annotated

import typer

from kdbench.errors import UsageError, unknown

Labels = Annotated[
    str | None,
    typer.Option(
        help="Labels that the student sees: all, or a number of trials of each class; the rest are unlabelled pairs. "
        "0: distillation losses alone, reported by a probe."
    ),
]
OnlyLabels = Annotated[
    str | None,
    typer.Option(help="Only runs with these labels of the student: all, or a number of trials of each class."),
]
TeacherLabels = Annotated[
    str | None, typer.Option(help="Labels that the teacher learns from: all, or the same as the student's.")
]
Pairs = Annotated[str | None, typer.Option(help="Share of the training trials that have sensors, above 0 and up to 1.")]


def settings(labels: str | None, teacher_labels: str | None, pairs: str | None) -> list[str]:
    """The options as changes of a recipe; none for those that are not given.

    Args:
        labels: `all`, or a number of trials of each class, from 0 on.
        teacher_labels: `all` or `same`.
        pairs: A share above 0 and up to 1, as text.

    Raises:
        UsageError: A value that is none of these.
    """
    check_labels(labels)
    if teacher_labels not in (None, "all", "same"):
        raise unknown(
            "value of --teacher-labels",
            teacher_labels,
            ("all", "same"),
            hint="Leave it out for all of them, or write --teacher-labels same for those of --labels",
        )
    given = {"labels": labels, "teacher_labels": teacher_labels, "pairs": None if pairs is None else _share(pairs)}
    return [f"track.{key}={value}" for key, value in given.items() if value is not None]


def check_labels(labels: str | None) -> None:
    """Refuses a value of `--labels` that no track has.

    Raises:
        UsageError: It is neither `all` nor a number.
    """
    if labels is not None and labels != "all" and not labels.isdecimal():
        raise UsageError(
            f"cannot read --labels {labels}",
            hint="Write --labels all, the number of labelled trials of each class (--labels 1), or 0 for none",
        )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(
            f"--pairs {text} is not a share of the training trials",
            hint="Write a number above 0 and up to 1: --pairs 0.25",
        )
    return share
