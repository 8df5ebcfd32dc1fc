"""Losses on stages between networks of unlike numbers of stages."""

from __future__ import annotations

import pytest
import torch

from kdbench.engine.declared import declared
from kdbench.engine.objective import Objective
from kdbench.errors import UsageError
from kdbench.recipes.terms import LossTerm
from kdbench.registry import registry
from kdbench.types import Batch, Context, Features, Widths

ROWS, CLASSES, STEPS = 4, 3, 10
SHALLOW, DEEP = Widths(CLASSES, (8, 12), 12, axes=1), Widths(CLASSES, (6, 8, 10, 16), 16, axes=1)
# Those that read a classifier, too, need networks.
ON_STAGES = [
    name
    for name in registry("loss").names()
    if declared(name)["on"] == "stages" and declared(name)["teacher"] and not declared(name)["needs"]
]


def features(widths: Widths) -> Features:
    maps = tuple(torch.randn(ROWS, width, STEPS, requires_grad=True) for width in widths.stages)
    return Features(torch.randn(ROWS, CLASSES), maps, torch.randn(ROWS, widths.embedding))


def value(name: str, student: Widths, teacher: Widths, **params: object) -> torch.Tensor:
    torch.manual_seed(0)
    term = LossTerm.model_validate({"weight": 1.0, **params})
    objective = Objective({name: term}, Context(CLASSES, student, (teacher,), ("teacher",)), owner="student")
    labels = torch.tensor([0, 1, 2, 1])
    batch = Batch({}, None, labels, tuple("abcd"), torch.arange(ROWS))
    total: torch.Tensor = objective([features(student)], [features(teacher)], batch)[0]
    return total


BY_DEFAULT = {"diffkd", "factor", "hint", "ickd", "mgd", "sp"}
"""They compare stages of their own choice; the others all, and their refusal says how to choose."""


@pytest.mark.parametrize("name", ON_STAGES)
@pytest.mark.parametrize(("student", "teacher"), [(SHALLOW, DEEP), (DEEP, SHALLOW)])
def test_the_stages_that_are_chosen_are_compared(name: str, student: Widths, teacher: Widths) -> None:
    chosen: dict[str, object] = {}
    if name not in BY_DEFAULT:
        with pytest.raises(UsageError) as caught:
            value(name, student, teacher)
        assert f"student.losses.{name}.stages=[-2,-1]" in str(caught.value.hint)
        chosen = {"stages": [-2, -1]}
    total = value(name, student, teacher, **chosen)
    assert total.isfinite()
    total.backward()
