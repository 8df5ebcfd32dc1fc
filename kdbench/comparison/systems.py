"""Whole systems in one ranking: what may be unlike between their rows, and what each row says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdbench.comparison.conditions import Flat, is_below

OF_A_SYSTEM = (
    "fingerprint",
    "view",
    "sources",
    "modality",
    "branches",
    "representation",
    "encoder",
    "pooling",
    "fusion",
    "head",
    "weights",
    "plugins",
    "train",
    "augment",
    "test_modalities",
    "predicts",
)
"""Conditions that may differ between whole systems: what a network is, sees at test, and how it is trained."""

OF_A_NAME = ("view", "weights", "plugins")
"""Those that neither a method's name nor its settings tell."""


def recordings(conditions: Flat) -> Flat:
    """Which recordings a run saw, by what they are of: of one view, or one skeleton, there is one in a table.

    Args:
        conditions: Of one run, flat.
    """
    seen = {f"view {conditions.get('view')}": conditions.get("fingerprint")}
    return seen | {key: value for key, value in conditions.items() if is_below(key, ("sources",))}


def network_words(recipe: Mapping[str, Any]) -> str:
    """The network that is reported, in short: encoders, with their poolings over time, and what joins them.

    Args:
        recipe: As `run.json` holds it.

    Example:
        `conv1d, lstm + conv2plus1d; concat`
    """
    network = recipe.get("student") or recipe.get("teacher") or {}
    branches = network.get("branches") or {"": network}
    words = " + ".join(dict.fromkeys(filter(None, map(_branch, branches.values()))))
    return "; ".join([words, *_joined(recipe, network)])


def _branch(branch: Mapping[str, Any]) -> str:
    parts = (branch.get(key) or {} for key in ("encoder", "pooling"))
    return ", ".join(part["name"] for part in parts if "name" in part)


def _joined(recipe: Mapping[str, Any], network: Mapping[str, Any]) -> Iterator[str]:
    fusion = (network.get("fusion") or {}).get("name", "none")
    if fusion != "none":
        yield fusion
    if recipe.get("predicts"):
        yield "mean with its teacher"
