"""Options that several commands share: which runs are meant, where things lie, how a recording's file is read."""

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
        help="A teacher of `kdbench list teachers`, or a YAML file; repeatable. By default the method's own. "
        "none: the method's student alone, which its gain is over.",
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
CardOfRun = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="The data set's card, where the run's name of it is no longer known.",
        autocompletion=completion.datasets,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        help="The columns of a text file that are the axes, in their order, by name or by number from 0: x,y,z. Of a "
        "student that sees several sources SOURCE=x,y,z; repeatable. By default as the export says.",
    ),
]
TimeColumn = Annotated[
    list[str] | None,
    typer.Option(help="The column of a text file that tells the time; as for --columns."),
]
Factor = Annotated[
    list[str] | None,
    typer.Option(
        help="What the values of a text file are multiplied by, to be in the unit of the student; as for --columns."
    ),
]
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
