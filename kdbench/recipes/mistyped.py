"""What is of another type than a part's signature says, found after the part failed on it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kdbench.errors import ParameterError, UsageError, shortened
from kdbench.recipes.placed import hint_at

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
    "Sequence[int]": "a list of whole numbers",
    "Sequence[float]": "a list of numbers",
    "Sequence[str]": "a list of texts",
}
"""What a recipe can write for an annotation; what has any other is not judged."""


def mistyped(component: Any, params: Mapping[str, Any], where: str, name: str) -> UsageError | None:
    """The error for the first parameter whose value is of none of its types; None where all may be right.

    Args:
        component: What was registered, whose signature has the types.
        params: What a recipe gave it.
        where: Key of the recipe that the part stands under.
        name: Registered name of the part.
    """
    signature = inspect.signature(component).parameters
    for key, value in params.items():
        if key not in signature:
            continue
        annotation = signature[key].annotation
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        kinds = text.split(" | ")
        if all(kind in _WORDS for kind in kinds) and not any(_is(value, kind) for kind in kinds):
            expected = " or ".join(_WORDS[kind] for kind in kinds)
            error = ParameterError(f"{where}.{key} = {shortened(repr(value))}, expected {expected}", key)
            return UsageError(error.message, hint=hint_at(error, where, name, component))
    return None


def _is(value: Any, kind: str) -> bool:
    """Whether a value of a recipe is of a kind."""
    if kind.startswith("Sequence"):
        inner = kind.removeprefix("Sequence[").removesuffix("]")
        return isinstance(value, list | tuple) and all(_is(one, inner) for one in value)
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    return isinstance(value, {"bool": bool, "str": str, "None": type(None)}[kind])
