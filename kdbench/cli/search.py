"""`kdbench search`: find a method's settings on a validation part, and train the winner."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion
from kdbench.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.tuning.searching import SearchResult

SHOWN = 10


def search(
    method: Annotated[
        str,
        typer.Option(
            help="Recipe: a name of `kdbench list methods`, or a YAML file.", autocompletion=completion.methods
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="Data set: a name of `kdbench list datasets`.", autocompletion=completion.datasets)
    ],
    trials: Annotated[int, typer.Option(help="Trials in all; those that are there already count.", min=1)] = 30,
    space: Annotated[
        list[str] | None,
        typer.Option(help="What is tried: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; repeatable."),
    ] = None,
    sampler: Annotated[str, typer.Option(help="Who proposes: tpe, random or grid.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="Who stops a trial early: none, median or hyperband.")] = "none",
    metric: Annotated[str, typer.Option(help="What is maximised: accuracy, macro_f1 or weighted_f1.")] = "accuracy",
    trial_seeds: Annotated[int, typer.Option(help="Seeds that a trial's value is the mean over.", min=1)] = 1,
    seeds: Annotated[int, typer.Option(help="Seeds of the winner's runs: 0 … N-1.", min=1)] = 3,
    jobs: Annotated[int, typer.Option(help="Worker processes; a GPU each where there are several.", min=1)] = 1,
    storage: Annotated[
        str | None,
        typer.Option(help="Database of the study, any SQLAlchemy URL.", envvar="KDBENCH_STORAGE", show_envvar=True),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study; made of the search by default.")] = None,
    no_final: Annotated[bool, typer.Option("--no-final", help="Leave the winner untrained.")] = False,
    protocol: Annotated[str | None, typer.Option(help="Which trials train and test; the first of the card.")] = None,
    preset: Annotated[str, typer.Option(help="paper, small, smoke; auto takes paper with a GPU, else small.")] = "auto",
    video: Annotated[str | None, typer.Option(help="The student's view, rgb or depth; rgb where it is.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a recipe's key in all trials: a.b.c=value; repeatable.",
            autocompletion=completion.settings,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="Threads on a CPU (1 by default); another number is another condition.", min=1)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16; what the recipe says by default.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; ./runs by default.")] = None,
    exclude_broken: Annotated[
        bool, typer.Option("--exclude-broken", help="Go on without trials whose files are missing or broken.")
    ] = False,
) -> None:
    """Searches a method's settings on a validation part, and trains the winner over several seeds.

    What is tried stands under `search:` in the recipe; where nothing does, the weights of the losses, the temperature
    and the learning rate are. The test part is not loaded before the winner is trained. The same command goes on where
    it was stopped, and several at once share one study.
    """
    from kdbench.engine.progress import reporter_for
    from kdbench.terminal import SafeConsole as Console
    from kdbench.tuning.searching import search as search_once

    console = Console()
    result = search_once(
        method,
        dataset,
        trials=trials,
        space=space or (),
        sampler=sampler,
        pruner=pruner,
        metric=metric,
        trial_seeds=trial_seeds,
        seeds=seeds,
        jobs=jobs,
        storage=storage,
        study=study,
        final=not no_final,
        protocol=protocol,
        preset=preset,
        video=video,
        overrides=overrides or (),
        device=device,
        threads=threads,
        precision=precision,
        data_dir=data_dir,
        allow_broken=exclude_broken,
        out=out,
        reporter=reporter_for(console),
    )
    show(result, console)


def show(result: SearchResult, console: Console) -> None:
    """Prints a search: its best trials, both spreads, where it lies, and the next command."""
    from rich.table import Table

    from kdbench.engine.progress import duration
    from kdbench.tuning.report import rank

    told, metric = result.report, result.report["metric"].replace("_", " ")
    finished = [trial for trial in told["trials"] if trial["state"] == "finished"]
    best = sorted(finished, key=lambda trial: rank(trial["value"], trial["settings"]))[:SHOWN]
    title = ", ".join(str(told[key]) for key in ("method", "dataset", "protocol", "preset"))
    _say(console, f"{title}: the best of {counted(told['budget']['trials'], 'trial')}")
    table = Table()
    table.add_column("trial", justify="right")
    table.add_column(f"validation {metric}", justify="right")
    for key in told["space"]:
        table.add_column(key, justify="right", overflow="fold")
    for place, trial in enumerate(best):
        values = [_value(trial["settings"].get(key)) for key in told["space"]]
        score = f"{100 * trial['value']:.2f}"
        table.add_row(str(trial["trial"]), score, *values, style=None if place else "bold")
    console.print(table)
    ended = ", ".join(f"{count} {state}" for state, count in told["states"].items() if count)
    _say(console, f"trials: {ended}, {duration(told['seconds'])} of work")
    _spread(console, f"over trials, validation {metric}", told["spread"]["over_trials"])
    if told["budget"]["trial_seeds"] > 1:
        _spread(console, f"the chosen one over tuning seeds, validation {metric}", told["spread"]["over_tuning_seeds"])
    for key, spread in told["spread"]["over_seeds"].items():
        _spread(console, f"the chosen one over seeds, test {key.replace('_', ' ')}", spread)
    pictures = sorted(path.name for path in result.folder.glob("*.png"))
    _say(console, f"pictures: {', '.join(pictures) or 'none'}")
    _say(console, f"folder:   {result.folder}")
    _say(console, f"recipe:   {result.folder / told['recipe']}")
    if not result.final:
        _say(console, "next: the same command without --no-final trains the winner, whose runs tell the budget")
        return
    names = {"--dataset": told["dataset"], "--protocol": told["protocol"], "--preset": told["preset"]}
    words = [word for pair in (names | {"--out": result.plan.out}).items() for word in pair]
    _say(console, f"next: {shlex.join(['kdbench', 'compare', *words])}")


def _spread(console: Console, what: str, spread: dict[str, Any] | None) -> None:
    if spread is None:
        return
    around = "" if spread["std"] is None else f" ± {100 * spread['std']:.2f}"
    _say(
        console,
        f"{what}: {100 * spread['mean']:.2f}{around} (n = {spread['n']}, "
        f"{100 * spread['min']:.2f} to {100 * spread['max']:.2f})",
    )


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
