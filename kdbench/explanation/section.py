"""What a part of an explanation hands to the page and to `explain.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.plotting.style import CaptionedFile
from kdbench.text.wording import NONE


class NotShown(Exception):
    """A part that this run cannot have; the text says why, and what would help."""


@dataclass(frozen=True)
class SectionTable:
    """A table of the page.

    Attributes:
        title: Its heading.
        columns: Names of its columns.
        rows: Its cells, as they are shown.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int]]


@dataclass
class Section:
    """One part.

    Attributes:
        notes: Sentences above everything else.
        pictures: Its pictures.
        tables: Its tables.
        numbers: Its numbers for `explain.json`, finite or None.
    """

    notes: list[str] = field(default_factory=list)
    pictures: list[CaptionedFile] = field(default_factory=list)
    tables: list[SectionTable] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


def share_text(share: float | None) -> str:
    """A share in per cent, one decimal."""
    return NONE if share is None else f"{100 * share:.1f}"
