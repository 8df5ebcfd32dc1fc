"""`kdbench explain`: what a finished run has learnt, in pictures and numbers."""

from __future__ import annotations

from typing import Annotated

import typer

from kdbench.cli import completion, options
from kdbench.cli.console import say, say_loading
from kdbench.errors import UsageError
from kdbench.explanation import PARTS


def explain(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run: its folder, id or name, or the beginning of these.", autocompletion=completion.runs
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another run of the same trials: which trials it gains and loses.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Any of: {', '.join(PARTS)}; several with commas.")] = None,
    trials: Annotated[
        list[str] | None, typer.Option("--trial", help="A trial to look at besides the best and the worst; repeatable.")
    ] = None,
    one_per_class: Annotated[
        int | None,
        typer.Option(help="Make one sheet alone: Grad-CAM of one clip each of the first so many classes.", min=1),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="The same sheet of this class instead; repeatable.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Random draws of each corruption.", min=1)] = 3,
    dataset: options.CardOfRun = None,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    out: options.Out = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make again what is there.")] = False,
) -> None:
    """Show what a finished run has learnt: a page of pictures, and explain.json with the numbers.

    Nothing is trained. What is there already and still true is kept.
    """
    if run is None:
        raise UsageError(
            "no run is named", hint="See them: kdbench runs list. For example: kdbench explain sgm_ft-utd_mhad"
        )
    from kdbench.runs.find import find_run
    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.util.paths import runs_folder

    # What is no run is told before torch is loaded.
    find_run(run, runs_folder(out))
    console = Console()
    say_loading(console, "the parts of the run")
    from kdbench.explanation.make import explain as explain_run
    from kdbench.util.progress import duration, reporter_for

    explanation = explain_run(
        run,
        against=against,
        only=[name for word in only or () for name in word.split(",")],
        trials=trials or (),
        draws=draws,
        one_per_class=one_per_class,
        classes=classes or (),
        dataset=dataset,
        data_dir=data_dir,
        device=device,
        out=out,
        fresh=fresh,
        reporter=reporter_for(console),
    )
    seconds = sum(explanation.record["parts"][name]["seconds"] for name in explanation.made)
    states = [f"made {', '.join(explanation.made)} in {duration(seconds)}"] if explanation.made else []
    states += [f"kept {', '.join(explanation.kept)} (--fresh makes them again)"] if explanation.kept else []
    say(console, "; ".join(states))
    for name, why in explanation.missing.items():
        say(console, f"{name}: {why}", "yellow")
    if "actions" in (*explanation.made, *explanation.kept) and "actions" not in explanation.missing:
        sheet = explanation.record["parts"]["actions"]
        for note in sheet["notes"]:
            say(console, note)
        say(console, f"sheet: {explanation.folder / sheet['pictures'][0]['file']}")
    say(console, f"page: {explanation.page}")
