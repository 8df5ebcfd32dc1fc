"""Names and numbers as MLflow takes them: readable, unlike each other, and with the way back to the true names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LONGEST = 250
_BESIDE = re.compile(r"\s*[(\[{]\s*")
_CLOSING = re.compile(r"\s*[)\]}]")


class Names:
    """Gives each name one that MLflow takes: letters, digits and `_-. `, so `arm curl (two arms)` has a dash.

    Attributes:
        changed: The true name of each that was changed.
    """

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self._given: dict[str, str] = {}

    def key(self, path: Sequence[str], joint: str) -> str:
        """The name of a value below nested keys.

        Args:
            path: The keys that lead to it.
            joint: What stands between them: a dot or a slash.
        """
        text = joint.join(map(self._of, path))
        if len(text) <= LONGEST:
            return text
        return f"{text[: LONGEST - 9].rstrip(joint)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def _of(self, name: str) -> str:
        if name not in self._given:
            wanted = given = _plain(name)
            number = 1
            while given in self._given.values():
                number += 1
                given = f"{wanted} {number}"
            self._given[name] = given
            if given != name:
                self.changed[given] = name
        return self._given[name]


def _plain(name: str) -> str:
    text = _CLOSING.sub("", _BESIDE.sub(" - ", name)).replace("/", "-")
    text = " ".join(re.sub(r"[^\w\-. ]", "_", text).split()).strip(" -")
    return text if text.strip(".") else "_"


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of nested mappings, with the keys that lead to it."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(item, (*path, str(name)))
    else:
        yield path, value


def numbers(values: Mapping[str, Any], names: Names) -> dict[str, float]:
    """The numbers among nested values, by names with slashes."""
    return {
        names.key(path, "/"): float(value)
        for path, value in leaves(values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
