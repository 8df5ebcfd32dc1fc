"""What a submission's recipe may name: parts that kdbench ships, its libraries' networks, and plugins that it declares.

Whoever trains a submission again runs what it names. So no path, no address and no model of a stranger is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdbench.errors import UsageError
from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.schema import RECIPE
from kdbench.recipes.terms import PartSpec
from kdbench.registry import registry

MODELS = (
    "bert-base-uncased",
    "bert-base-cased",
    "bert-large-uncased",
    "distilbert-base-uncased",
    "roberta-base",
    "sentence-transformers/all-MiniLM-L6-v2",
    "sentence-transformers/all-mpnet-base-v2",
)
"""Language models that a submission's label vectors may come from."""
WEIGHTS = ("random", "pretrained")
BALANCES = ("uncertainty", "gradnorm")
_VALUES: Mapping[str, tuple[Any, ...]] = {
    "weights": WEIGHTS,
    "model": MODELS,
    "checkpoint": (),
    "path": (),
    "file": (),
    "folder": (),
    "url": (),
    "repo": (),
    "trust_remote_code": (False,),
}
_FAMILY = re.compile(r"[A-Za-z0-9_]+:[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_PLACE = re.compile(r"[/\\]|://|^\.|^~|\.(safetensors|pth?|bin|ckpt|onnx|pkl|np[yz]|py|ya?ml|json|csv)$", re.IGNORECASE)


def check_names(entry: BoardEntry) -> Iterator[str]:
    """Whatever a recipe names that is on no list, as problems."""
    recipe, declared = entry.recipe, {(plugin.kind, plugin.name) for plugin in entry.result.plugins}
    used: set[tuple[str, str]] = set()
    parts: list[tuple[str, str, PartSpec]] = [("semantics", "semantics", recipe.semantics)]
    for role, spec in recipe.by_key.items():
        parts += [(kind, f"{role}.{kind}", part) for kind, part in spec.parts()]
        if spec.balance is not None and spec.balance.name not in BALANCES:
            yield f"{RECIPE} names the balance {spec.balance.name!r}, expected {' or '.join(BALANCES)}"
        for name, term in spec.losses.items():
            used.add(("loss", name))
            yield from _part("loss", name, f"{role}.losses.{name}", declared)
            yield from _values(term.params, f"{role}.losses.{name}")
    for kind, where, part in parts:
        used.add((kind, part.name))
        yield from _part(kind, part.name, where, declared)
        yield from _values(part.params, where)
    yield from _values(recipe.data.options, "data.options")
    if entry.result.conditions.get("weights") is not None:
        yield f"its conditions hash a file of weights of its own; expected weights: {' or '.join(WEIGHTS)}"
    yield from _plugins(entry, used)


def _part(kind: str, name: str, where: str, declared: set[tuple[str, str]]) -> Iterator[str]:
    if (kind, name) in declared:
        return
    try:
        shipped = registry(kind).origin(name).built_in
    except UsageError:
        shipped = False
    family = name.partition(":")[0] in registry(kind).families()
    if not shipped or (family and not _FAMILY.fullmatch(name)):
        yield f"{RECIPE} names the {kind} {name!r} ({where}), which kdbench does not ship and no plugin of it declares"


def _values(params: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, value in params.items():
        place = f"{where}.{key}"
        allowed = _VALUES.get(key)
        if isinstance(value, Mapping):
            yield from _values(value, place)
        elif allowed is not None and value is not None:
            if value not in allowed:
                expected = f"expected {' or '.join(map(str, allowed))}" if allowed else "which no submission may name"
                yield f"{RECIPE} has {place} = {str(value)[:80]!r}, {expected}"
        else:
            texts = value if isinstance(value, list | tuple) else [value]
            for text in texts:
                if isinstance(text, str) and _PLACE.search(text):
                    yield f"{RECIPE} has {place} = {text[:80]!r}, a file or an address, which no submission may name"


def _plugins(entry: BoardEntry, used: set[tuple[str, str]]) -> Iterator[str]:
    listed = [(extra.kind, extra.name) for extra in entry.result.plugins]
    for extra in entry.result.plugins:
        what = f"the {extra.kind} {extra.name!r}"
        if extra.kind not in {"dataset", "method"} and (extra.kind, extra.name) not in used:
            yield f"it lists the plugin of {what}, which its recipe does not use"
        if listed.count((extra.kind, extra.name)) > 1:
            yield f"it lists the plugin of {what} twice"
        if extra.distribution is not None and (_PLACE.search(extra.distribution) or extra.distribution == "kdbench"):
            yield f"it lists the plugin of {what} from {extra.distribution!r}, which is the name of no distribution"
    named = entry.result.conditions.get("plugins") or []
    known = [plugin.model_dump() for plugin in entry.result.plugins]
    if not isinstance(named, list) or any(extra not in known for extra in named):
        yield "its conditions name plugins that it does not list"
