"""Whether a file of one's own is a method or a teacher: both are recipes, and neither says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from kdbench.recipes.assembly import LINEAGE
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import Recipe
from kdbench.registry import registry

Kind = Literal["method", "teacher"]


def recipe_kind(content: Mapping[str, Any]) -> Kind:
    """What a recipe is meant to be, by most of its keys: a teacher's are those of one network.

    Where the keys do not tell, as where it only extends another, it is what the other is; of a name that both kinds
    have, a method.

    Args:
        content: The recipe, as its file holds it.
    """
    of_a_method, of_a_teacher = (
        len((set(model.model_fields) - {*LINEAGE}) & set(content)) for model in (Recipe, NetworkSpec)
    )
    if of_a_method != of_a_teacher:
        return "method" if of_a_method > of_a_teacher else "teacher"
    base = content.get("extends")
    bases = [PurePath(name).stem for name in ([base] if isinstance(base, str) else base or ()) if isinstance(name, str)]
    only_teachers = bases and not any(registry("method").has(name) for name in bases)
    return "teacher" if only_teachers and any(registry("teacher").has(name) for name in bases) else "method"
