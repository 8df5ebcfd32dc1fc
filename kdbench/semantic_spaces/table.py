"""Label vectors from a table that ships with the data set, or from one's own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kdbench.errors import UsageError, shortened
from kdbench.registry import semantics
from kdbench.semantic_spaces.base import LabelVectors, scaled
from kdbench.text.wording import counted
from kdbench.util import paths

if TYPE_CHECKING:
    from torch import Tensor

    from kdbench.data.card import Card

_MOST_BYTES = 256 * 2**20
_MAKE = (
    "datasets/make_label_vectors.py makes one with any sentence encoder; or go without: a teacher that reads no class "
    "names, such as --teacher raw, or --set semantics.name=hash"
)
_ROW = "Write the class and then one finite number for each of the columns that the first line names."


@semantics("table")
def table(names: Sequence[str], *, dataset: Card, table: str | None = None) -> LabelVectors:
    """Vectors of a sentence encoder, from a table; no language model is needed.

    Args:
        names: The class names.
        dataset: The data set's card, beside which its tables lie as `label_vectors_<table>.csv`.
        table: Name of such a table, by default the one that the card names; or the path of one's own CSV file:
            `class,v0,v1,…`, one row per class.

    Raises:
        UsageError: There is no such table, or it lacks a class.
    """
    chosen = table or dataset.label_vectors
    if chosen is None:
        raise UsageError(f"the card of {dataset.name} names no table of label vectors", hint=_MAKE)
    if not isinstance(chosen, str):
        raise TypeError("table must be a name or a path")
    path = Path(chosen).expanduser() if chosen.endswith(".csv") else dataset.folder / f"label_vectors_{chosen}.csv"
    rows = read_table(path)
    missing = [name for name in names if name not in rows]
    if missing:
        raise UsageError(f"the label vectors {path} lack the class '{missing[0]}' of {dataset.name}", hint=_MAKE)
    vectors, scale = scaled(torch.stack([rows[name] for name in names]))
    return LabelVectors(vectors, name=path.stem.removeprefix("label_vectors_"), scale=scale)


def read_table(path: Path) -> dict[str, Tensor]:
    """Reads a table: class name to vector `(S,)`, float32; lines that start with `#` are comments.

    Raises:
        UsageError: There is no such file, or a row does not hold a name and as many numbers as the first line says.
    """
    try:
        if paths.is_file(path) and path.stat().st_size > _MOST_BYTES:
            raise UsageError(
                f"{path} has more than {_MOST_BYTES // 2**20} MiB, which no table of label vectors needs", hint=_MAKE
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start + 1} is not UTF-8", hint="Save it as UTF-8 text.") from error
    except (OSError, ValueError) as error:
        known = sorted(file.stem.removeprefix("label_vectors_") for file in path.parent.glob("label_vectors_*.csv"))
        tables = f" (tables there: {', '.join(known)})" if known else ""
        raise UsageError(f"there are no label vectors {path}{tables}", hint=_MAKE) from error
    try:
        kept = (line for line in text.splitlines() if line and not line.startswith("#"))
        header, *lines = [row for row in csv.reader(kept) if row] or [[]]
    except csv.Error as error:
        raise UsageError(
            f"{path} is no CSV file: {error}", hint="Save it as text, with commas between the columns class,v0,v1,…"
        ) from error
    if not header:
        raise UsageError(f"{path} is empty, expected a first line class,v0,v1,…", hint=_MAKE)
    rows: dict[str, Tensor] = {}
    for name, *values in lines:
        try:
            vector = torch.tensor([float(value) for value in values])
        except ValueError as error:
            raise UsageError(
                f"{path}: the row of '{shortened(name)}': {shortened(str(error), 100)}", hint=_ROW
            ) from error
        if len(vector) != len(header) - 1 or not vector.isfinite().all():
            raise UsageError(
                f"{path}: the row of '{shortened(name)}' must hold {counted(len(header) - 1, 'finite number')}",
                hint=_ROW,
            )
        if name in rows:
            raise UsageError(f"{path}: the class '{shortened(name)}' stands twice", hint="Delete one of its rows.")
        rows[name] = vector
    return rows


def write_table(path: Path, names: Sequence[str], vectors: Tensor, *, comment: str) -> None:
    """Writes a table with six significant digits, small and readable in a diff.

    Args:
        path: The CSV file.
        names: K class names.
        vectors: `(K, S)`.
        comment: One line on how it was made.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {comment}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", *(f"v{i}" for i in range(vectors.shape[1]))])
        for name, row in zip(names, vectors.tolist(), strict=True):
            writer.writerow([name, *(f"{value:.6g}" for value in row)])
