"""What a shell offers after Tab: names of methods, data sets, parts, suites and runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import typer


def methods(incomplete: str) -> list[str]:
    """Names of methods, former ones too, and of tuned ones."""
    from kdbench.recipes.shipped import aliases, tuned

    return [*_of(("method",), incomplete), *(name for name in (*aliases(), *tuned()) if name.startswith(incomplete))]


def teachers(incomplete: str) -> list[str]:
    """Names of teachers, and `none`."""
    from kdbench.recipes.resolve import NO_TEACHER

    return [*_of(("teacher",), incomplete), *([NO_TEACHER] if NO_TEACHER.startswith(incomplete) else [])]


def datasets(incomplete: str) -> list[str]:
    """Names of data sets."""
    return _of(("dataset",), incomplete)


def launchers(incomplete: str) -> list[str]:
    """Names of launchers."""
    return _of(("launcher",), incomplete)


def export_formats(incomplete: str) -> list[str]:
    """Formats of exports."""
    from kdbench.students.schema import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def suites(incomplete: str) -> list[str]:
    """Names of suites."""
    from kdbench.grid.suite import shipped_suites

    return [name for name in shipped_suites() if name.startswith(incomplete)]


def parts(incomplete: str) -> list[str]:
    """Names of everything that can be described or checked: methods, data sets, losses and other parts, suites."""
    from kdbench.registry import KINDS

    return [*_of(tuple(KINDS), incomplete), *suites(incomplete)]


def settings(incomplete: str) -> list[str]:
    """Settings of recipes; below `student.losses.` the names of the losses."""
    for phase in ("student", "teacher"):
        prefix = f"{phase}.losses."
        if incomplete.startswith(prefix):
            return [f"{prefix}{name}.weight=" for name in _of(("loss",), incomplete.removeprefix(prefix))]
    return [key for key in _COMMON if key.startswith(incomplete)]


def presets(incomplete: str) -> list[str]:
    """Names of presets."""
    return [name for name in ("auto", "paper", "small", "smoke") if name.startswith(incomplete)]


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Folders and names of the runs in the folder that `--out` names, or the usual one.

    A folder that keeps a former name of its method is offered by that of today too, which commands take.
    """
    from kdbench.runs.naming import by_today
    from kdbench.util.paths import runs_folder
    from kdbench.util.records import read_json

    given = ctx.params.get("out")
    if (os.sep in incomplete or incomplete == ".") and not given:
        return []
    root = runs_folder(Path(str(given)) if given else None)
    names: list[str] = []
    for path in sorted(root.glob("*/run.json")):
        names.append(path.parent.name)
        with contextlib.suppress(Exception):
            content = read_json(path)
            names += [str(content.get("name") or ""), by_today(path.parent.name, str(content["method"]))]
    return [name for name in dict.fromkeys(names) if name and name.startswith(incomplete)]


_COMMON = (
    *("data.frames=", "data.frame_size=", "data.series_length=", "precision=", "selection.rule=", "semantics.name="),
    *(
        f"{phase}.{key}"
        for phase in ("student", "teacher")
        for key in (
            *("train.epochs=", "train.batch_size=", "train.lr=", "losses."),
            *("encoder.name=", "pooling.name=", "fusion.name="),
        )
    ),
)


def _of(kinds: tuple[str, ...], incomplete: str) -> list[str]:
    from kdbench.registry import registry

    names = dict.fromkeys(name for kind in kinds for name in registry(kind).origins())
    return [name for name in names if name.startswith(incomplete)]
