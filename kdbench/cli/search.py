"""`kdbench search`: find a method's settings on a validation part, and train the winner."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion, options, tracks
from kdbench.cli.console import console_for, note, say, say_loading
from kdbench.errors import UsageError
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.tuning.searching import SearchResult

SHOWN = 10
NO_PRUNER = "none"


def search(
    method: options.Methods = None,
    teacher: options.Teachers = None,
    dataset: options.Dataset = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="Search every method of a suite of `kdbench list suites`, or of a YAML file, under one budget; the "
            "other options override it.",
            autocompletion=completion.suites,
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Number of trials, including those of earlier commands.", min=1)] = 30,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="Values to try instead of the recipe's: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; repeatable."
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="Sampler: tpe, random or grid.")] = "tpe",
    pruner: Annotated[
        str | None,
        typer.Option(
            help="Pruner, which stops poor trials early: none, median or hyperband; of several methods median, of one "
            "none by default."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric to maximise: accuracy, macro_f1, weighted_f1 or map; the data set's own by default."),
    ] = None,
    trial_seeds: Annotated[
        int, typer.Option(help="Number of seeds over which the value of a trial is averaged.", min=1)
    ] = 1,
    seeds: Annotated[int, typer.Option(help="Number of final runs with the best settings: seeds 0 to N-1.", min=1)] = 3,
    jobs: Annotated[
        int, typer.Option(help="Number of worker processes; with several GPUs each gets its own.", min=1)
    ] = 1,
    launcher: options.Launcher = None,
    launcher_option: options.LauncherOptions = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Database of the study, an SQLAlchemy URL; SQLite in the runs folder by default.",
            envvar="KDBENCH_STORAGE",
            show_envvar=True,
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study; derived from the search by default.")] = None,
    recipes: Annotated[
        Path | None,
        typer.Option(help="Folder for the tuned recipes, METHOD.yaml, each with its study's record beside it."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be searched, how far it is, and its time, and exit.")
    ] = False,
    no_final: Annotated[bool, typer.Option("--no-final", help="Skip the final runs with the best settings.")] = False,
    protocol: options.Protocol = None,
    preset: options.Preset = None,
    video: options.Video = None,
    overrides: options.Overrides = None,
    labels: tracks.Labels = None,
    teacher_labels: tracks.TeacherLabels = None,
    pairs: tracks.Pairs = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = None,
    data_dir: options.DataDir = None,
    out: options.Out = None,
    exclude_broken: options.ExcludeBroken = False,
) -> None:
    """Search methods' settings on a validation part, and train the best ones with several seeds.

    The first trial is the recipe as it is, so that on the validation part what is tuned is never worse.
    The recipe lists the values to try under `search:`: in those of kdbench the weights of the losses, the temperature
    and the learning rate, around their own values. The test part is not loaded before the final runs. The same command
    resumes a stopped search, and several at once share its study.
    """
    from kdbench.cli import search_suite
    from kdbench.grid.suite import asked_for
    from kdbench.launch.launcher import asked_for as launcher_asked_for
    from kdbench.runs.names import check_names

    methods = list(dict.fromkeys(method or []))
    datasets, protocols = [dataset] if dataset else [], (protocol,) if protocol else ()
    wanted = asked_for(
        "search",
        suite,
        methods,
        datasets,
        note,
        teachers=tuple(teacher or ()),
        protocols=protocols,
        preset=preset,
        video=video,
    )
    names = [entry.name for entry in wanted.methods]
    overrides = [*(overrides or ()), *tracks.settings(labels, teacher_labels, pairs)]
    check_names(
        names,
        wanted.datasets,
        wanted.protocols,
        teachers=wanted.teachers,
        preset=preset,
        device=device,
        overrides=overrides,
    )
    several = suite is not None or len(wanted.pairs()) > 1
    if several and study is not None:
        raise UsageError("--study names one study, and there are several methods", hint="Leave it out.")
    common: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "precision": precision,
        "data_dir": data_dir,
        "exclude_broken": exclude_broken,
        "out": out,
    }
    asked: dict[str, Any] = {
        "trials": trials,
        "space": space or (),
        "sampler": sampler,
        "metric": metric,
        "trial_seeds": trial_seeds,
        "jobs": jobs,
        "launcher": launcher_asked_for(launcher, launcher_option or (), wanted.launcher),
        "storage": storage,
        "study": study,
    }
    console = console_for()
    say_loading(console, "the parts of the methods" if several else "the parts of the method")
    if several or dry_run:
        from kdbench.tuning.suite import SUITE_PRUNER

        pruner = pruner or (SUITE_PRUNER if several else NO_PRUNER)
        finals = 0 if no_final else seeds
        asked["pruner"] = pruner
        search_suite.run(wanted, common, overrides, asked, finals, recipes, dry_run=dry_run, console=console)
        return
    from kdbench.tuning.recipes import check_folder, write_tuned
    from kdbench.tuning.searching import search as search_once
    from kdbench.util.progress import reporter_for

    if recipes is not None:
        check_folder(recipes)
    result = search_once(
        methods[0],
        wanted.datasets[0],
        teacher=wanted.teachers[0] if wanted.teachers else None,
        protocol=protocol,
        preset=wanted.preset,
        video=video,
        pruner=pruner or NO_PRUNER,
        seeds=seeds,
        final=not no_final,
        overrides=overrides,
        reporter=reporter_for(console),
        **common,
        **asked,
    )
    tuned = write_tuned(result, recipes) if recipes is not None else None
    show(result, console)
    if tuned is not None:
        say(console, f"tuned:    {tuned}")


def show(result: SearchResult, console: Console) -> None:
    """Prints a search: its best trials, both spreads, where it lies, and the next command."""
    from rich.table import Table

    from kdbench.recipes.track import words_of
    from kdbench.runs.gain import alone_for
    from kdbench.text.terminal import print_prose
    from kdbench.text.terminal_table import print_table
    from kdbench.tuning.report import rank
    from kdbench.util.progress import duration

    report, metric = result.report, result.report["metric"].replace("_", " ")
    finished = [trial for trial in report["trials"] if trial["state"] == "finished"]
    best = sorted(finished, key=lambda trial: rank(trial["value"], trial["settings"], own=trial["own"]))[:SHOWN]
    of = [str(report[key]) for key in ("method", "dataset", "protocol", "preset")]
    title = ", ".join(filter(None, [*of, words_of(report)]))
    say(console, f"{title}: the best of {counted(report['budget']['trials'], 'trial')}")
    table = Table()
    table.add_column("trial", justify="right")
    table.add_column(f"validation {metric}", justify="right")
    for key in report["space"]:
        table.add_column(key, justify="right", overflow="fold")
    for place, trial in enumerate(best):
        values = [_value(trial["settings"].get(key)) for key in report["space"]]
        score = f"{100 * trial['value']:.2f}"
        table.add_row(str(trial["trial"]), score, *values, style=None if place else "bold")
    print_table(console, table)
    ended = ", ".join(f"{count} {state}" for state, count in report["states"].items() if count)
    say(console, f"trials: {ended}, {duration(report['seconds'])} of work")
    _spread(console, f"over trials, validation {metric}", report["spread"]["over_trials"])
    if report["budget"]["trial_seeds"] > 1:
        _spread(
            console, f"the chosen one over tuning seeds, validation {metric}", report["spread"]["over_tuning_seeds"]
        )
    for key, spread in report["spread"]["over_seeds"].items():
        _spread(console, f"the chosen one over seeds, test {key.replace('_', ' ')}", spread)
    pictures = sorted(path.name for path in result.folder.glob("*.png"))
    say(console, f"pictures: {', '.join(pictures) or 'none'}")
    say(console, f"folder:   {result.folder}")
    say(console, f"recipe:   {result.folder / report['recipe']}")
    if not result.final:
        say(console, "next: the same command without --no-final trains the winner, whose runs tell the budget")
        return
    run = result.final[0].result
    alone = alone_for(run)
    # What has no recipe of its own has no search space.
    if alone is not None and alone[1] is None:
        budget = f"--method {alone[0]} --trials {report['budget']['trials']}"
        print_prose(console, f"For a gain, the baseline needs the same budget: search it too, with {budget}.")
    names = {"--dataset": report["dataset"], "--protocol": report["protocol"], "--preset": report["preset"]}
    words = [word for pair in (names | {"--out": str(result.plan.root)}).items() for word in pair]
    say(console, f"next: {shlex.join(['kdbench', 'compare', *words])}")


def _spread(console: Console, what: str, spread: dict[str, Any] | None) -> None:
    if spread is None:
        return
    around = "" if spread["std"] is None else f" ± {100 * spread['std']:.2f}"
    say(
        console,
        f"{what}: {100 * spread['mean']:.2f}{around} (n = {spread['n']}, "
        f"{100 * spread['min']:.2f} to {100 * spread['max']:.2f})",
    )


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
