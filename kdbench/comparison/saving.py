"""Writes a comparison into a folder: every format, every frame, every picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.comparison.formats import FORMATS
from kdbench.comparison.html import html
from kdbench.comparison.pictures import pictures
from kdbench.errors import DataError, UsageError
from kdbench.util.records import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


FRAMES = ("methods", "pairs", "seeds", "per_class")
LISTED = ".kdbench-comparison.json"
"""The names of the pictures that the last comparison wrote into a folder."""
_OWN = re.compile(r"(table\d+_|label_curve\d+_|critical_difference\d+)[A-Za-z0-9_]*\.(png|svg)")
"""Names of pictures, the only files that one comparison has and another has not."""


def save(comparison: ComparedTables, folder: Path) -> list[Path]:
    """Writes `comparison.*`, a CSV of each frame, and each picture as PNG and SVG.

    Args:
        comparison: What was compared.
        folder: Made where it does not exist. Files of the same names are replaced, and those go that an earlier
            comparison wrote there and this one does not.

    Returns:
        Every file.

    Raises:
        UsageError: The folder is a file.
        RunFailed: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, expected a folder to save into", hint="Name another: --save FOLDER")
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
    earlier = _listed(folder)
    # Listed before they are written, so that a process that is killed between leaves none unlisted.
    names = [path.name for path in contents if _OWN.fullmatch(path.name)]
    write_json(folder / LISTED, sorted({*names, *earlier}))
    for path, content in contents.items():
        write_bytes(path, content)
    for name in set(earlier) - set(names):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / LISTED, sorted(names))
    return list(contents)


def _listed(folder: Path) -> list[str]:
    """The pictures of an earlier comparison, whatever else the list names."""
    try:
        names = read_json(folder / LISTED) if (folder / LISTED).is_file() else []
    except DataError:
        return []
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [name for name in names if _OWN.fullmatch(name) and (folder / name).is_file()]
