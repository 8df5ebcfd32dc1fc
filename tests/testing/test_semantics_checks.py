"""Each error in a source of label vectors is caught by the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.registry import semantics
from kdbench.semantic_spaces.base import LabelVectors
from kdbench.testing import check
from kdbench.testing.semantics import SUITE
from kdbench.util.seeds import seed_for


def words(text: str) -> Tensor:
    """The sum of a vector for each word."""
    drawn = [torch.randn(16, generator=torch.Generator().manual_seed(seed_for(word))) for word in text.split()]
    return torch.stack(drawn).sum(0)


def names_of(names: Sequence[str]) -> Tensor:
    return torch.stack([torch.randn(16, generator=torch.Generator().manual_seed(seed_for(name))) for name in names])


def source(name: str, vectors: Callable[[Sequence[str]], Tensor]) -> Any:
    @semantics(name)
    def made(names: Sequence[str]) -> LabelVectors:
        return LabelVectors(vectors(names), name=name, scale="as drawn")

    return made


def no_vectors(names: Sequence[str]) -> Tensor:
    return names_of(names)[:-1]


def doubles(names: Sequence[str]) -> Tensor:
    return names_of(names).double()


def bag_of_words(names: Sequence[str]) -> Tensor:
    """As a published table has it: sit to stand and stand to sit are one."""
    return torch.stack([words(name) for name in names])


def last_cut_off(names: Sequence[str]) -> Tensor:
    """As a published table has it: the last name lost its last letter."""
    return names_of([*names[:-1], names[-1][:-1]])


def drawn_anew(names: Sequence[str]) -> Tensor:
    torch.manual_seed(3)
    return names_of(names)


BROKEN = {
    no_vectors: {"gives_a_vector_a_class"},
    doubles: {"gives_a_vector_a_class"},
    bag_of_words: {"tells_the_classes_apart"},
    last_cut_off: {"ignores_the_order_of_the_classes"},
    drawn_anew: {"is_deterministic"},
}


@pytest.mark.parametrize("vectors", BROKEN, ids=lambda vectors: vectors.__name__)
def test_an_error_is_caught_by_its_check(vectors: Callable[[Sequence[str]], Tensor]) -> None:
    report = check("semantics", source(vectors.__name__, vectors))
    assert set(report.failed) == BROKEN[vectors], str(report)


def test_every_check_has_an_error_that_it_catches() -> None:
    assert set(SUITE.names) - set().union(*BROKEN.values()) == {"loads", "was_checked"}


def test_the_classes_that_are_one_are_named() -> None:
    message = check("semantics", source("bag", bag_of_words)).result("tells_the_classes_apart").message
    assert message == "'sit to stand' and 'stand to sit' have the same vector"


def test_another_data_set_may_be_named() -> None:
    assert check("semantics", source("bag", bag_of_words), dataset="motionsim").passed
