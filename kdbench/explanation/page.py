"""The page of an explanation: one file that opens from the disk, without scripts, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.util.records import write_bytes
from kdbench.util.templates import templates

TEMPLATE = "page.html"


def write_page(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the page of what `explain.json` says.

    Args:
        path: The file; pictures lie beside it.
        record: The contents of `explain.json`.
    """
    text = templates(Path(__file__).parent).get_template(TEMPLATE).render(record=record)
    write_bytes(path, text.encode())
