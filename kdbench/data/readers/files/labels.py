"""The class that a file's name, or an annotation, means."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.data.card import Card
from kdbench.data.protocol import Value
from kdbench.errors import DataError, near_misses, shortened


def plain(text: str) -> str:
    """A name without case, and with a space for every `_`, `-` or run of blanks."""
    return " ".join(text.replace("_", " ").replace("-", " ").casefold().split())


def label_of(card: Card, values: Mapping[str, str], value: Value, path: str) -> int:
    """The label of a value.

    Args:
        card: The data set's card.
        values: The card's own spellings.
        value: What the file's name or the annotation says.
        path: The file, for the message.

    Raises:
        DataError: It is no class.
    """
    wanted = plain(str(values.get(str(value), value)))
    for names in (card.class_names, card.short_names):
        for label, name in enumerate(names):
            if plain(name) == wanted:
                return label
    raise DataError(
        f"{path}: '{shortened(str(value))}' is no class of '{card.name}'{near_misses(str(value), card.short_names)}",
        hint="Add it to the card's classes, or say which class it is under files.values; or move the file elsewhere.",
    )
