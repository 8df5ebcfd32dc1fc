"""What a loss declares of itself: the fields that it reads, and what it does with labels and series."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from kdbench.errors import UsageError, shortened, unknown
from kdbench.recipes.terms import LossTerm
from kdbench.registry import part_of, registry
from kdbench.types import Context, Features

FIELDS = ("logits", "stages", "embedding", "semantic", "group_logits", "token_errors")
OPTIONAL = ("semantic", "group_logits", "token_errors")
"""Fields of which a network has none unless a loss needs it, or its fusion makes it."""
_READABLE = tuple(each.name for each in dataclasses.fields(Features))
_NEEDABLE = (*_READABLE, *(each.name for each in dataclasses.fields(Context)))


def declared(name: str) -> Mapping[str, Any]:
    """What a loss declares, with every name of a field checked.

    Args:
        name: Registered name of the loss.

    Raises:
        UsageError: No such loss, or it is declared with a field that does not exist.
    """
    declares = part_of(registry("loss").get(name)).declares
    for what, fields, known in (
        ("on", (declares["on"],) if declares["on"] is not None else (), FIELDS),
        ("reads", declares["reads"], _READABLE),
        ("needs", declares["needs"], _NEEDABLE),
    ):
        for field in fields:
            if field not in known:
                raise unknown(
                    f"field in '{what}' of the loss '{name}':",
                    field,
                    known,
                    hint=f"Mend its decorator: @loss('{name}', {what}=…)",
                )
    return declares


def read_class_names(names: Iterable[str]) -> bool:
    """Whether one of some losses needs vectors of the class names.

    Args:
        names: Registered names of losses.
    """
    return bool(declared_needs(names) & {"semantic", "label_vectors"})


def declared_needs(names: Iterable[str]) -> frozenset[str]:
    """Optional fields of `Features` and `Context` that losses declare, before any network is built.

    Args:
        names: Registered names of losses.
    """
    needs: set[str] = set()
    for name in names:
        declares = declared(name)
        needs |= {*declares["needs"], *({declares["on"]} & set(OPTIONAL))}
    return frozenset(needs)


def reads_labels(name: str) -> str | None:
    """What a loss does with labels: `needed`, `optional` or `unused`; None where it does not say and may read them.

    Args:
        name: Registered name of the loss.
    """
    reading: str | None = declared(name)["labels"]
    if reading is not None:
        return reading
    component: Any = registry("loss").get(name)
    # A class is called through its forward, a function as it is.
    call = getattr(component, "forward", component)
    return None if "batch" in inspect.signature(call).parameters else "unused"


def reads_series(name: str) -> bool:
    """Whether a loss reads raw series of the batch.

    Args:
        name: Registered name of the loss.
    """
    return "series" in declared(name)["needs"]


def series_read(losses: Mapping[str, LossTerm], known: Iterable[str], where: str = "losses") -> tuple[str, ...]:
    """The raw series that some losses read: those that their parameter `sources` names, or all.

    Args:
        losses: Weight and parameters of each loss by its registered name.
        known: The data set's sensors and skeletons.
        where: Key of the recipe that they stand under, for messages.

    Raises:
        UsageError: The data set lacks one of them, or has none at all.
    """
    known, read = tuple(known), dict[str, None]()
    for name, term in losses.items():
        # One that is gone is not needed where nothing is trained; elsewhere its term says that it is unknown.
        if not registry("loss").has(name) or not reads_series(name):
            continue
        if not known:
            raise UsageError(
                f"{where}.{name} reads series of sensors, and the data set has none",
                hint=f"Leave the loss out: --set {where}.{name}=null",
            )
        asked = term.params.get("sources") or known
        if isinstance(asked, str):
            raise UsageError(
                f"{where}.{name}.sources = '{shortened(asked)}', expected a list of names",
                hint=f"In brackets: --set {shlex.quote(f'{where}.{name}.sources=[{asked}]')}",
            )
        for source in asked:
            if source not in known:
                raise unknown(
                    "source",
                    str(source),
                    known,
                    of=f"{where}.{name}.sources",
                    hint=f"Take them all: --set {where}.{name}.sources=null",
                )
            read[source] = None
    return tuple(read)


def trains_logits(name: str) -> bool:
    """Whether a loss says that it reads the student's logits, and so trains the classifier.

    Args:
        name: Registered name of the loss.
    """
    declares = declared(name)
    return "logits" in (declares["on"], *declares["reads"])
