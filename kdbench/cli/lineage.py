"""Where a recipe comes from, as `kdbench describe` prints it: its formulas, what is not as published, and its sizes.

Each function gives lines, each with the style that it is printed in.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kdbench.cli.yaml_lines import in_flow, wrapped
from kdbench.recipes.differences import ABSENT, Difference, differences
from kdbench.registry import registry

if TYPE_CHECKING:
    from kdbench.recipes.schema import Recipe

_PAPER = "paper"


def lineage(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The formulas of a recipe, and what is not as published."""
    for key, heading in (("equations", "Equations"), ("deviations", "Not as published, or not published")):
        if lines := settings.get(key):
            yield "\n" + "\n".join([heading, *(f"  {line}" for line in lines)]), ""


def elsewhere(name: str, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Where the formulas of a recipe stand that has none of its own: at its teacher, or at what it is a variant of.

    A method that is called like a loss needs no such line, since that loss is described beside it.

    Args:
        name: As for `resolve`.
        recipe: What it resolves to.
    """
    from kdbench.recipes.layers import extended, layers

    if recipe.equations or registry("loss").has(recipe.method):
        return
    own = layers(name)[-1]
    if recipe.student is None and recipe.taught_by is not None:
        yield f"\nIts formulas are those of its teacher: kdbench describe {recipe.taught_by} --kind teacher", ""
        return
    for parent in extended(own.path, own.settings)[:1]:
        if recipe.student is not None and recipe.student.losses and not parent.startswith("_"):
            yield f"\nIts formulas, but for what it changes, are those of {parent}: kdbench describe {parent}", ""


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe sets, without what it is called and where it comes from."""
    return recipe.model_dump(mode="json", exclude={"name", "summary", "source"})


def against_paper(
    paper: Mapping[str, Any], here: Mapping[str, Any], preset: str, width: int
) -> Iterator[tuple[str, str]]:
    """What a smaller size has otherwise than the preset `paper`, of which the sources and deviations speak."""
    changed = [_changed(each, width) for each in differences(paper, here)]
    if changed:
        yield "\n" + "\n".join([f"At {preset}, unlike at {_PAPER}", *changed]), ""


def _changed(difference: Difference, width: int) -> str:
    before, after = (
        "nothing" if value is ABSENT else in_flow(value) for value in (difference.before, difference.after)
    )
    return textwrap.indent(wrapped(f"{difference.key}: {before} → {after}", width - 2), "  ")
