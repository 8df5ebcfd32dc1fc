"""Writes a comparison into a folder: every format, every frame, every picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.comparison.formats import FORMATS
from kdbench.comparison.html import html
from kdbench.comparison.pictures import pictures
from kdbench.errors import UsageError
from kdbench.util.records import write_bytes

if TYPE_CHECKING:
    from kdbench.comparison.result import Comparison


FRAMES = ("methods", "pairs", "seeds", "per_class")


def save(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes `comparison.*`, a CSV of each frame, and each picture as PNG and SVG.

    Args:
        comparison: What was compared.
        folder: Made where it does not exist; files of the same names are replaced.

    Returns:
        Every file.

    Raises:
        UsageError: The folder is a file.
        RunFailed: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, expected a folder to save into")
    drawn = pictures(comparison)
    contents = {folder / "comparison.html": html(comparison, drawn).encode()}
    for ending, writes in FORMATS.values():
        if ending not in ("csv", "html"):
            contents[folder / f"comparison.{ending}"] = writes(comparison).encode()
    for name in FRAMES:
        contents[folder / f"{name}.csv"] = getattr(comparison, name).to_csv(index=False).encode()
    for picture in drawn:
        contents[folder / f"{picture.name}.png"] = picture.png()
        contents[folder / f"{picture.name}.svg"] = picture.svg()
    for path, content in contents.items():
        write_bytes(path, content)
    return list(contents)
