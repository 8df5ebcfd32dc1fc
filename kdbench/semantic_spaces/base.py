"""Label vectors: one vector per class name, which the semantic losses draw features towards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from kdbench.errors import KdbenchError, UsageError, unknown
from kdbench.recipes.mistyped import mistyped
from kdbench.recipes.placed import placed
from kdbench.registry import registry
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from kdbench.data.card import Card
from kdbench.recipes.terms import PartSpec

MEAN_SQUARE = 0.25


@dataclass(frozen=True)
class LabelVectors:
    """Vectors of the class names, in the scale that enters the losses.

    Attributes:
        vectors: `(K, S)`, float32, one row per class in the order of the labels.
        name: What made them; the result repeats it.
        scale: Their scale in words; the result repeats it.
        meaningful: Whether near vectors mean near classes.
    """

    vectors: Tensor
    name: str
    scale: str
    meaningful: bool = True


def load(spec: PartSpec, card: Card) -> LabelVectors:
    """Builds the label vectors that a recipe asks for.

    A source is a function `(names, **params) -> LabelVectors`; the card reaches it as `dataset`, where it has such a
    parameter.

    Args:
        spec: `semantics` of the recipe.
        card: The data set whose class names are turned into vectors.

    Raises:
        UsageError: An unknown source or parameter (the near misses are named), or vectors that do not fit the classes.
    """
    source = registry("semantics").get(spec.name)
    given = _given(source, spec, card)
    try:
        label_vectors: LabelVectors = source(card.class_names, **given, **spec.params)
    except KdbenchError as error:
        raise placed(error, "semantics", spec.name, source) from error
    except (TypeError, ValueError) as error:
        if (told := mistyped(source, spec.params, "semantics", spec.name)) is not None:
            raise told from error
        raise UsageError(
            f"semantics '{spec.name}' cannot be built with {spec.params or 'its defaults'}: {error}",
            hint=f"See its parameters: kdbench describe {spec.name}",
        ) from error
    vectors, count = label_vectors.vectors, len(card.class_names)
    if vectors.ndim != 2 or len(vectors) != count or not vectors.isfinite().all():
        raise UsageError(
            f"semantics '{spec.name}' gave {tuple(vectors.shape)} for the {counted(count, 'class')} of "
            f"{card.name}, expected "
            f"({count}, S) finite numbers",
            hint=f"Mend that source, and try it: kdbench check {spec.name}. Or take another: kdbench list semantics",
        )
    return label_vectors


def scaled(vectors: Tensor) -> tuple[Tensor, str]:
    """Scales all vectors by one factor to a mean square of 0.25 an entry, about that of BERT's.

    Unit vectors would make the semantic loss of weight 1 vacuous: its value falls with S.

    Args:
        vectors: `(K, S)`.

    Returns:
        The scaled vectors, and the scale in words.
    """
    factor = (MEAN_SQUARE / vectors.square().mean()).sqrt()
    return (vectors * factor).float(), f"mean square {MEAN_SQUARE} an entry"


def _given(source: Callable[..., LabelVectors], spec: PartSpec, card: Card) -> dict[str, Any]:
    """What kdbench itself hands over, after a check of what the recipe hands over."""
    _, *parameters = inspect.signature(source).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.name != "dataset"]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for name in spec.params:
            if name not in known:
                keys = [f"semantics.{key}" for key in known]
                hint = f"The source of label vectors is '{spec.name}'."
                raise unknown("recipe key", f"semantics.{name}", keys, hint=hint)
    return {"dataset": card} if any(parameter.name == "dataset" for parameter in parameters) else {}
