"""What every source of label vectors promises: one vector per class, distinct, and of the name alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kdbench.data.card import Card, load_card
from kdbench.recipes.terms import PartSpec
from kdbench.semantic_spaces.base import LabelVectors, load
from kdbench.testing.base import CheckSuite, Failed, checks_in
from kdbench.testing.demands import nothing_drawn
from kdbench.text.wording import counted


class SemanticsCase:
    """One source of label vectors with its parameters.

    Args:
        name: Its registered name.
        component: The function.
        params: Keyword parameters, as in a recipe.
        dataset: The data set whose class names are turned into vectors.
    """

    def __init__(
        self, name: str, component: Any, *, params: Mapping[str, Any] | None = None, dataset: str = "utd_mhad"
    ) -> None:
        self.name = name
        self.component = component
        self.spec = PartSpec(name=name, **(params or {}))
        self.card = load_card(dataset)

    def vectors(self, card: Card | None = None) -> LabelVectors:
        """The vectors of the class names, as a run gets them."""
        return load(self.spec, card or self.card)


def gives_a_vector_a_class(case: SemanticsCase) -> None:
    """One finite float32 vector a class, with a name and a scale for the result."""
    space, names = case.vectors(), case.card.class_names
    if not isinstance(space, LabelVectors):
        raise Failed(f"it returned {type(space).__name__}, expected LabelVectors")
    if space.vectors.dtype != torch.float32:
        raise Failed(f"the vectors are {space.vectors.dtype}, expected float32")
    if tuple(space.vectors.shape[:1]) != (len(names),) or space.vectors.ndim != 2:
        raise Failed(f"the vectors are {tuple(space.vectors.shape)} for {counted(len(names), 'class')}")
    if not space.name or not space.scale:
        raise Failed("name or scale is empty; the result repeats them")
    if not space.vectors.any(1).all():
        raise Failed("a class has a vector of zeros")


def tells_the_classes_apart(case: SemanticsCase) -> None:
    """No two classes share a vector, as they would under a sum of words: sit to stand, stand to sit."""
    vectors, names = case.vectors().vectors.double(), case.card.class_names
    distances = torch.cdist(vectors, vectors) + torch.eye(len(vectors)) * vectors.norm()
    closest = divmod(int(distances.argmin()), len(vectors))
    if distances.min() <= 1e-5 * vectors.norm(dim=1).mean():
        raise Failed(f"'{names[closest[0]]}' and '{names[closest[1]]}' have the same vector")


def ignores_the_order_of_the_classes(case: SemanticsCase) -> None:
    """A class's vector does not depend on where its name stands."""
    reversed_card = case.card.model_copy(update={"classes": case.card.classes[::-1], "trials": None})
    there, back = case.vectors().vectors, case.vectors(reversed_card).vectors.flip(0)
    moved = (~torch.isclose(there, back, rtol=1e-4, atol=1e-6)).any(1).nonzero().flatten().tolist()
    if moved:
        raise Failed(f"with the classes in another order the vector of '{case.card.class_names[moved[0]]}' differs")


def is_deterministic(case: SemanticsCase) -> None:
    """The same names give the same vectors, and no global source of random numbers is drawn from."""
    with nothing_drawn():
        first, second = case.vectors().vectors, case.vectors().vectors
    if not torch.equal(first, second):
        raise Failed("two calls give unlike vectors")


SUITE = CheckSuite(SemanticsCase, gates=(gives_a_vector_a_class,), checks=checks_in(__name__))
