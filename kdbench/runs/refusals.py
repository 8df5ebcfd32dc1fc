"""What is refused of a run before its data are opened."""

from __future__ import annotations

from kdbench.data.card import Card
from kdbench.data.splits import protocol_names, rule_of
from kdbench.errors import UsageError
from kdbench.recipes import shipped
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.types import SENSORS, VIDEO


def refuse_leaking_sensors(recipe: Recipe, card: Card, protocol: str) -> None:
    """Refuses a network that sees sensors where the test part's sensor recordings train.

    Args:
        recipe: The method as resolved.
        card: The data set's card.
        protocol: Name of the split.

    Raises:
        UsageError: The protocol tests on performances that also train.
    """
    if not any(spec.shows(SENSORS) for spec in recipe.asked) or not rule_of(card, protocol).sensors_leak:
        return
    others = [name for name in protocol_names(card) if not rule_of(card, name).sensors_leak]
    raise UsageError(
        f"protocol '{protocol}' of '{card.name}' tests on performances that also train, as other cameras saw them: "
        f"the sensors are the same recordings in both parts, and '{recipe.title}' reports a network that sees sensors",
        hint=f"Choose another protocol (--protocol {' or '.join(others)}), or a method with a video student.",
    )


def without_video(method: str, dataset: str) -> UsageError:
    """The error for a method that sees video on a data set that has none."""
    blind = [name for name in shipped.names() if _is_blind(name)]
    return UsageError(
        f"'{method}' trains a video network, and '{dataset}' has no video",
        hint=f"Methods that see sensors alone: {', '.join(blind)}\n"
        "Or let the student be a sensor, in a recipe of your own: extends: [METHOD, _sensor_student]",
    )


def _is_blind(method: str) -> bool:
    try:
        return not resolve(method, "smoke").sees(VIDEO)
    except UsageError:
        # A broken recipe of a plugin is no matter here.
        return False
