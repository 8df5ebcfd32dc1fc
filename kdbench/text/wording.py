"""Words that messages, tables and pictures have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NONE = "–"
"""Stands where there is no value."""
_SHORTEST_RANGE = 3

_IRREGULAR = {"epoch": "epochs", "is": "are", "has": "have", "was": "were", "this": "these"}
_VOWELS = "aeiou"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and what is counted: `1 run`, `2 runs`, `1 data set`, `3 entries`.

    Args:
        count: How many.
        noun: The singular; of several words, the last one is inflected.
        plural: The plural, where adding an s or turning y into ies is not right.
    """
    return f"{count} {inflected(count, noun, plural)}"


def inflected(count: int, word: str, plural: str | None = None) -> str:
    """The word that goes with a number: a noun as in `counted`, or one of the verbs is, has and was.

    Args:
        count: How many.
        word: The singular.
        plural: The plural, where the rule is not right.
    """
    if count == 1:
        return word
    return plural or _plural(word)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in their order, three and more in a row as a range: `0–4`, `0, 1`, `0–2, 5`."""
    rows: list[list[int]] = []
    for number in sorted(set(numbers)):
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ", ".join(f"{row[0]}–{row[-1]}" if len(row) >= _SHORTEST_RANGE else ", ".join(map(str, row)) for row in rows)


def some(names: Sequence[object], most: int) -> str:
    """The first few names, and how many more there are: `a, b and 3 more`.

    Args:
        names: All of them.
        most: How many are named.
    """
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _plural(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def p_text(p: float | None) -> str:
    """A p-value to two digits."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
