"""What a part of an explanation hands to the page and to `explain.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field


class NotShown(Exception):
    """A part that this run cannot have; the text says why, and what would help."""


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        file: Its name in the folder of the explanation.
        caption: What it shows, in a sentence.
    """

    file: Annotated[str, Field(pattern=r"^[^/\\.][^/\\]*$")]
    caption: str


@dataclass(frozen=True)
class PageTable:
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
    pictures: list[Picture] = field(default_factory=list)
    tables: list[PageTable] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
