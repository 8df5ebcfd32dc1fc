"""`kdbench new`: the packaged, tested start of a part, a method or a data set of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from kdbench.registry import KINDS


def new(
    kind: Annotated[
        str, typer.Argument(help="One of: loss, encoder, pooling, fusion, representation, dataset, method.")
    ],
    name: Annotated[str, typer.Argument(help="Its name in recipes: lower-case letters, digits and _.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; ./NAME by default.")] = None,
) -> None:
    """Create a package that already works, for you to change: the component, its entry point, tests and a README."""
    from kdbench.registry.scaffold import write

    singular = {plural: listed for listed, plural in KINDS.items()}.get(kind, kind)
    files = write(singular, name, out)
    folder = Path(os.path.commonpath(files))
    for file in files:
        typer.echo(file)
    typer.echo(f"\nNext:\n    cd {folder}")
    for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            typer.echo(line)
