"""The half of `kdbench run` that makes several runs: `--suite`, several methods, `--jobs`, `--dry-run`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from kdbench.cli.console import console_for, note, say_loading
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from kdbench.recipes.terms import PartSpec

_OPTIONS = ("precision", "threads", "processes", "data_dir", "out", "name")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def run(
    *,
    suite: str | None,
    methods: Sequence[str],
    teachers: Sequence[str],
    datasets: Sequence[str],
    protocols: Sequence[str],
    seeds: int | tuple[int, ...] | None,
    preset: str | None,
    video: str | None,
    overrides: Sequence[str],
    common: Mapping[str, Any],
    jobs: int,
    timeout: str | None,
    dry_run: bool,
    launcher: str | None,
    launcher_options: Sequence[str],
) -> None:
    """Plans the runs, shows the plan, and makes them; exit code 1 where one is not done at the end.

    What is given beside a suite stands in place of what the suite says; `common` are the fields of `RunRequest` that
    hold for every run.
    """
    from kdbench.grid.suite import asked_for
    from kdbench.runs.names import check_names

    limit = seconds_of(timeout) if timeout else None
    wanted = asked_for(
        "run",
        suite or None,
        methods,
        datasets,
        note,
        teachers=tuple(teachers),
        protocols=tuple(protocols),
        seeds=seeds,
        preset=preset,
        video=video,
    )
    names = [method.name for method in wanted.methods]
    check_names(
        names,
        wanted.datasets,
        wanted.protocols,
        teachers=wanted.teachers,
        preset=preset,
        device=common["device"],
        overrides=overrides,
    )
    console = console_for()
    say_loading(console, "the parts of the methods")
    from kdbench.grid.estimate import estimate
    from kdbench.grid.execute import execute
    from kdbench.grid.plan import make_plan, rename_done
    from kdbench.grid.show import show_end, show_plan, view_for
    from kdbench.launch.launcher import asked_for as launcher_asked_for
    from kdbench.launch.launcher import build
    from kdbench.registry import plugin_files
    from kdbench.runs.request import option_words
    from kdbench.util.progress import reporter_for

    reporter = reporter_for(console)
    spec = launcher_asked_for(launcher, launcher_options, wanted.launcher)
    _check_processes(common, spec)
    place = build(spec, jobs=jobs, device=common["device"], reporter=reporter)
    plan = make_plan(wanted, common, overrides, reporter, look_ahead=dry_run)
    show_plan(plan, estimate(plan), jobs=jobs, console=console)
    if dry_run:
        return
    rename_done(plan)
    if not plan.to_make():
        return
    with place:
        ended = execute(plan, place, timeout=limit, view=view_for(console, plan, place.slots))
    words: list[object] = ["--suite", suite] if suite else []
    several = {"--method": methods, "--teacher": teachers, "--dataset": datasets, "--protocol": protocols}
    words += [word for option, values in several.items() for value in values for word in (option, value)]
    if seeds is not None:
        words += ["--seeds", seeds] if isinstance(seeds, int) else ["--seed", seeds[0]]
    words += [word for change in overrides for word in ("--set", change)]
    single = {"preset": preset, "video": video, "timeout": timeout} | {key: common[key] for key in _OPTIONS}
    single |= {"jobs": jobs if jobs > 1 else None, "launcher": launcher}
    words += [word for option in launcher_options for word in ("--launcher-option", option)]
    words += option_words(single | {"device": common["device"] if common["device"] != "auto" else None})
    words += ["--exclude-broken"] * common["exclude_broken"]
    words += [word for file in plugin_files() for word in ("--plugin", file)]
    show_end(ended, shlex.join(map(str, ["kdbench", "run", *words])), console)
    if ended.to_make():
        raise typer.Exit(1)


def _check_processes(common: Mapping[str, Any], launcher: PartSpec | None) -> None:
    """Refuses several GPUs a run where each of a grid's runs has one.

    Raises:
        UsageError: There are GPUs here that the runs would share out.
    """
    from kdbench.launch.launcher import LOCAL
    from kdbench.launch.machine import gpus

    count = common["processes"] or 1
    if count == 1 or common["device"] == "cpu" or (launcher is not None and launcher.name != LOCAL) or not gpus():
        return
    raise UsageError(
        f"--processes {count} beside other runs: the launcher local gives each run of a grid one GPU",
        hint=f"--jobs {count} without it makes {count} runs at a time on {count} GPUs, which is faster; or make one "
        "run at a time, by its method and --seed.",
    )


def seconds_of(text: str) -> float:
    """Seconds of a time such as `90s`, `45m` or `2h`; a plain number is seconds.

    Raises:
        UsageError: It is no such time, or not above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not seconds:
        raise UsageError(f"cannot read the time '{text}'", hint="Write --timeout 90s, 45m or 2h.")
    return seconds
