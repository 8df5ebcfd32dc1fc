"""Pages of the files that people write: every key of a recipe, a suite and a card, from the models that read them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from kdbench.data.card import Card
from kdbench.grid.suite import Suite
from kdbench.recipes.schema import Recipe
from pages.prose import mathematical, paragraphs, prose, sections, table, text_of

FOLDER = "reference"
_SAID = {
    "recipe": (
        Recipe,
        "A recipe is a YAML file; `extends: NAME` takes all of another, and what stands here goes over it.",
    ),
    "suite": (Suite, "A suite is a grid of runs in a YAML file: `kdbench run --suite FILE`."),
    "card": (Card, "A card says what a data set is without opening its files; `kdbench describe DATASET` shows one."),
}


def pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of each kind of file."""
    for name, (model, words) in _SAID.items():
        blocks = [f"# The {name}", words, "An unknown key is an error, with the near misses.", *_block(model, "##")]
        seen = {model}
        waiting = list(_nested(model))
        while waiting:
            part = waiting.pop(0)
            if part not in seen:
                seen.add(part)
                blocks += _block(part, "##")
                waiting += _nested(part)
        yield f"{FOLDER}/{name}.md", "\n\n".join(blocks) + "\n"


def _block(model: type[BaseModel], level: str) -> Iterator[str]:
    explained = sections(text_of(model), "attributes")
    yield f"{level} {model.__name__}"
    yield from paragraphs("\n\n".join(prose(text_of(model))))
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        rows.append([f"`{name}`", _type(field.annotation), default, mathematical(explained.get(name, ""))])
    yield table(("key", "type", "default", "what it is"), rows)


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "its own defaults"
    return {"None": "null", "()": "none", "{}": "none", "True": "true", "False": "false"}.get(repr(value), f"`{value}`")


def _type(annotation: Any) -> str:
    """A type as people say it: `number`, `list of text`, a link to the part of that name."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type, inner)))
    if origin is dict:
        return f"mapping of {_type(inner[1])}"
    if origin in (list, tuple, set, frozenset):
        return f"list of {_type(inner[0])}" if inner else "list"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "any"}
    return names.get(annotation) or str(getattr(annotation, "__name__", "any"))


def _nested(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    def within(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for inner in typing.get_args(annotation):
            yield from within(inner)

    for field in model.model_fields.values():
        yield from within(field.annotation)
