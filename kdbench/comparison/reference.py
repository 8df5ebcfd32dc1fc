"""Published numbers, to stand beside a table and never in its ranking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError
from kdbench.util import paths

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reference:
    """One number that a paper prints.

    Attributes:
        table: The table that prints it.
        source: Its citation.
        method: The method as printed.
        dataset: Name of the data set.
        protocol: What the number's own source used; `unknown` where it does not say.
        metric: What the number is, as far as it is known.
        value: As printed, per cent.
        modalities: As printed.
        test_modalities: What the method sees at test time.
        selection: Which epoch was reported; `unknown` where the paper does not say.
        seeds: How many; `unknown` where the paper does not say.
        note: What a reader of the table has to know.
    """

    table: str
    source: str
    method: str
    dataset: str
    protocol: str
    metric: str
    value: float
    modalities: str
    test_modalities: str
    selection: str
    seeds: str
    note: str


def references(dataset: str | None = None, folder: Path | None = None) -> list[Reference]:
    """The shipped reference numbers, in the order of their tables.

    Args:
        dataset: On this data set alone.
        folder: Where the files lie; the shipped ones by default.

    Raises:
        UsageError: A file is not what it should be; file and key are named.
    """
    published: list[Reference] = []
    for path in sorted((folder or paths.folder("leaderboard") / "reference").glob("*.yaml")):
        content = paths.read_mapping(path, "reference table")
        try:
            published += [number for row in content["rows"] for number in _numbers(content, row)]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"the reference table {path} is not valid: {type(error).__name__}: {error}",
                hint="Write it as the tables beside it are written.",
            ) from error
    return [number for number in published if dataset in (None, number.dataset)]


def _numbers(content: dict[str, Any], row: dict[str, Any]) -> list[Reference]:
    published = []
    for dataset, metric in content["metrics"].items():
        if dataset not in row:
            continue
        protocols = content.get("protocols", {}).get(dataset)
        if protocols is None:
            values = {str(row.get(f"{dataset}_protocol", UNKNOWN)): row[dataset]}
        else:
            values = dict(zip(protocols, row[dataset], strict=True))
        published += [
            Reference(
                table=content["title"],
                source=content["source"],
                method=row["method"],
                dataset=dataset,
                protocol=protocol,
                metric=metric,
                value=float(value),
                modalities=row.get("modalities", UNKNOWN),
                test_modalities=row.get("test_modalities", UNKNOWN),
                selection=str(content.get("selection", UNKNOWN)),
                seeds=str(content.get("seeds", UNKNOWN)),
                note=" ".join(str(content.get("note", "")).split()),
            )
            for protocol, value in values.items()
        ]
    return published
