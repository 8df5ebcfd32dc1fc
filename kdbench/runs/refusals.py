"""What is refused of a run for what its test part would be used for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.data.card import Card
from kdbench.data.splits import Split, protocol_names, rule_of, split
from kdbench.errors import DataError, UsageError
from kdbench.recipes import shipped
from kdbench.recipes.pairs import options_of
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.text.wording import counted
from kdbench.types import SENSORS, VIDEO
from kdbench.util.records import open_safetensors

if TYPE_CHECKING:
    import pandas as pd


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


def refuse_chosen_on_test(recipe: Recipe, card: Card, index: pd.DataFrame, protocol: str, parts: Split) -> None:
    """Refuses settings that a search chose, under another protocol, on trials that are tested here.

    Where that protocol draws its validation part by seeds, any of its training trials may have chosen them.

    Args:
        recipe: The method as resolved.
        card: The data set's card.
        index: Its trials, as for `split`.
        protocol: Name of the split.
        parts: Its trials.

    Raises:
        UsageError: A trial that chose the settings is in the test part.
    """
    under = (recipe.tuning.under if recipe.tuning else None) or {}
    there = under.get("protocol", protocol)
    if under.get("dataset") != card.name or there == protocol or recipe.selection.part != "test":
        return
    if there not in protocol_names(card):
        return
    # The seed says nothing: a part that seeds draw is taken whole.
    other = split(card, index, there, validation=True, seed=0)
    drawn = rule_of(card, there).validation.where is None
    chose = {*other.validation, *(other.train if drawn else ())}
    if both := chose & set(parts.test):
        raise UsageError(
            f"the settings of '{recipe.title}' were chosen under the protocol '{there}', by "
            f"{counted(len(both), 'trial')} that '{protocol}' tests, such as {min(both)}: its result would be too high",
            hint=f"Choose them for this protocol: kdbench search {options_of(recipe.method, recipe.taught_by)} "
            f"--dataset {card.typed} --protocol {protocol}",
        )


def refuse_trained_on_test(recipe: Recipe, card: Card, index: pd.DataFrame, protocol: str, parts: Split) -> None:
    """Refuses files of weights that were trained on trials that are tested, or that choose an epoch or settings.

    A file that kdbench wrote says on what it was trained; of another, nobody knows.

    Args:
        recipe: The method as resolved.
        card: The data set's card.
        index: Its trials, as for `split`.
        protocol: Name of the split.
        parts: Its trials.

    Raises:
        UsageError: A network of the recipe would begin with such weights, or has them.
    """
    for key, spec in recipe.by_key.items():
        for name, path in spec.files.items():
            there, trained = _trained_on(path, card, index)
            if both := trained & {*parts.test, *parts.validation}:
                part = "validates on" if both <= set(parts.validation) else "tests"
                raise UsageError(
                    f"{key}.{name} = {getattr(spec, name)} was trained under the protocol '{there}' on "
                    f"{counted(len(both), 'trial')} that this run {part}, such as {min(both)}: its result would be too "
                    "high",
                    hint=f"Name weights that were trained under '{protocol}'"
                    + (" with the same validation part: --set selection.rule=best-val." if parts.validation else "."),
                )


def _trained_on(path: Path, card: Card, index: pd.DataFrame) -> tuple[str, set[str]]:
    """The protocol of a file's training and its trials; none where the file does not say it."""
    try:
        said = open_safetensors(path)[1]
    except DataError:
        # What cannot be read is told when it is loaded.
        return "", set()
    there = said.get("protocol", "")
    if said.get("dataset") != card.name or there not in protocol_names(card):
        return "", set()
    seed = said.get("seed", "")
    parts = split(
        card, index, there, validation=said.get("validation") == "true", seed=int(seed) if seed.isdecimal() else 0
    )
    return there, set(parts.train)


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
