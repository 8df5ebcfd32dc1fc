"""The options that say which runs are meant; `run` and `search` share them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import completion

Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="A method of `kdbench list methods`, or a recipe's YAML file; repeatable.",
        autocompletion=completion.methods,
    ),
]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        help="A teacher of `kdbench list teachers`, or a YAML file; repeatable. By default the method's own.",
        autocompletion=completion.teachers,
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        help="A data set of `kdbench list datasets`, or a card's YAML file; repeatable.",
        autocompletion=completion.datasets,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="A data set of `kdbench list datasets`, or a card's YAML file.", autocompletion=completion.datasets
    ),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option(help="The split into training and test trials; the card's first by default; repeatable."),
]
Protocol = Annotated[
    str | None, typer.Option(help="The split into training and test trials; the card's first by default.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="paper, small or smoke; auto (default) is paper with a GPU, else small.", autocompletion=completion.presets
    ),
]
Video = Annotated[
    str | None, typer.Option(help="The student's video: rgb, depth or skeleton; by default the best that is there.")
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        help="A sensor, skeleton or view (video:NAME) that is missing at test; repeatable. Every result of a network "
        "with several sources says what each of them is worth."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change a setting of the recipe: a.b.c=value; repeatable.", autocompletion=completion.settings
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads (1 by default); results depend on it, so it is one of the conditions.", min=1),
]
Processes = Annotated[
    int | None,
    typer.Option(
        help="Processes that make a run together, a GPU each (or on the CPU); equal up to rounding, and a condition.",
        min=1,
    ),
]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16; by default as in the recipe.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the data sets; searched first.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the runs; $KDBENCH_HOME or ./runs by default.")]
ExcludeBroken = Annotated[
    bool, typer.Option("--exclude-broken", help="Leave out trials whose files are missing or broken.")
]
Launcher = Annotated[
    str | None,
    typer.Option(
        help="How the runs of a grid, or the workers of a search, are started: a launcher of `kdbench list launchers`; "
        "the suite's, or local, by default.",
        autocompletion=completion.launchers,
    ),
]
LauncherOptions = Annotated[
    list[str] | None,
    typer.Option("--launcher-option", help="An option of the launcher: KEY=VALUE; repeatable."),
]
