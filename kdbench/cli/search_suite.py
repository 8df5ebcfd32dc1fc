"""The half of `kdbench search` that searches several methods under one budget, and `--dry-run`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kdbench.cli.console import say
from kdbench.errors import Interrupted
from kdbench.recipes.track import words_of
from kdbench.text.redaction import redacted_words
from kdbench.text.terminal import print_prose
from kdbench.text.wording import counted
from kdbench.util.progress import BarReporter, Reporter, duration

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.grid.suite import Suite
    from kdbench.tuning.forecast import Forecast
    from kdbench.tuning.suite import Outcome, SearchEntry


def run(
    suite: Suite,
    common: Mapping[str, Any],
    overrides: Sequence[str],
    asked: Mapping[str, Any],
    seeds: int,
    recipes: Path | None,
    *,
    dry_run: bool,
    console: Console,
) -> None:
    """Shows what is searched, and searches it; exit code 1 where a method failed.

    Args:
        suite: The methods, the data set, the protocol and the preset.
        common: Fields of `RunRequest` that hold for all.
        overrides: Changes of every recipe, `a.b.c=value`.
        asked: Fields of `SearchRequest` that hold for all.
        seeds: Seeds of each winner's runs; 0 trains none.
        recipes: Folder of the tuned recipes.
        dry_run: Whether that is all.
        console: Where it is said.
    """
    from kdbench.tuning.forecast import forecasts
    from kdbench.tuning.recipes import check_folder
    from kdbench.tuning.suite import entries_of, search_all
    from kdbench.util.progress import reporter_for

    entries = entries_of(suite, common, overrides, asked, reporter_for(console), look_ahead=dry_run)
    left = forecasts([entry.search for entry in entries])
    show_plan(entries, left, console, spaces=dry_run)
    if dry_run:
        return
    if recipes is not None:
        check_folder(recipes)
    progress = _Told(entries, left, console)
    ended: list[Outcome] = []
    try:
        for outcome in search_all(
            entries, seeds=seeds, recipes=recipes, reporter=_Within(reporter_for(console)), begun=progress.begun
        ):
            ended.append(outcome)
            progress.ended(outcome)
    except Interrupted as error:
        show_end(ended, entries, console)
        raise Interrupted("interrupted", hint="Repeat the same command to go on; what is finished is kept.") from error
    show_end(ended, entries, console)
    failed = [outcome for outcome in ended if outcome.error is not None]
    if recipes is not None and len(failed) < len(ended):
        say(console, f"tuned recipes: {recipes}")
    if failed:
        for outcome in failed:
            assert outcome.error is not None
            print_prose(console, f"failed: {outcome.entry.name}: {outcome.error}", "bold red")
        say(console, f"go on: {shlex.join(['kdbench', *redacted_words(sys.argv[1:])])}", "cyan")
        raise typer.Exit(1)


class _Within(Reporter):
    """What one search says among several: its lines stand below its method's, and phases have bars or nothing."""

    def __init__(self, shown: Reporter) -> None:
        self._shown = shown
        self._bars = shown if isinstance(shown, BarReporter) else Reporter()

    def message(self, text: str) -> None:
        self._shown.message(f"  {text}")

    def warn(self, text: str) -> None:
        self._shown.warn(text)

    def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
        self._bars.start_phase(phase, epochs=epochs, steps=steps, done=done, trials=trials)

    def step(self, count: int) -> None:
        self._bars.step(count)

    def end_epoch(self, record: dict[str, Any]) -> None:
        self._bars.end_epoch(record)

    def end_phase(self) -> None:
        self._bars.end_phase()


class _Told:
    """A line where a method begins, and one where it ends, with the time that is left for all."""

    def __init__(self, entries: Sequence[SearchEntry], left: Sequence[Forecast], console: Console) -> None:
        self._entries, self._left, self._console = entries, left, console
        self._began, self._made, self._place = time.monotonic(), 0, 0

    def begun(self, place: int, entry: SearchEntry) -> None:
        """A method begins."""
        self._place = place
        print_prose(self._console, f"{self._where}: {counted(entry.search.plan.trials, 'trial')}", "bold")

    def ended(self, outcome: Outcome) -> None:
        """A method has ended."""
        self._made += self._left[self._place].left
        if outcome.error is not None:
            text = f"failed: {outcome.error.message}"
        else:
            default, best = scores(outcome)
            text = f"validation {best}, by default {default}"
        text += f" · {duration(outcome.seconds)}"
        if (seconds := self._seconds_left()) is not None:
            text += f" · about {duration(seconds)} left"
        print_prose(self._console, f"{self._where}: {text}", "bold red" if outcome.error else "green")

    @property
    def _where(self) -> str:
        return f"[{self._place + 1}/{len(self._entries)}] {self._entries[self._place].name}"

    def _seconds_left(self) -> float | None:
        """By the trials that were made since the start; None at the end, and before any was made."""
        to_make = sum(forecast.left for forecast in self._left[self._place + 1 :])
        if not to_make or not self._made:
            return None
        return (time.monotonic() - self._began) / self._made * to_make


def scores(outcome: Outcome) -> tuple[str, str]:
    """The validation scores of the recipe as it is and of the best trial, per cent."""
    assert outcome.result is not None
    report = outcome.result.report
    default = report["default"]["value"] if report["default"] else None
    return _per_cent(default), _per_cent(report["best"]["value"])


def show_plan(entries: Sequence[SearchEntry], left: Sequence[Forecast], console: Console, *, spaces: bool) -> None:
    """What is searched: the methods, how far each is, and how long the rest takes."""
    from rich.table import Table

    from kdbench.text.terminal_table import print_table

    plan = entries[0].search.plan
    run_spec = entries[0].search.context.run_spec
    place = " · ".join(filter(None, [*(str(plan.under[key]) for key in _PLACE), words_of(plan.under)]))
    print_prose(console, f"{place}: {counted(len(entries), 'method')}, {counted(plan.trials, 'trial')} each", "bold")
    print_prose(
        console,
        f"validation part: {counted(len(run_spec.split.validation), 'trial')}{_whose(entries[0])} · {plan.metric} over "
        f"{counted(len(plan.trial_seeds), 'seed')} · sampler {plan.sampler} · pruner {plan.pruner}",
    )
    table = Table()
    table.add_column("method", overflow="fold")
    for column in ("settings", "done", "to do", "about"):
        table.add_column(column, justify="right")
    for entry, forecast in zip(entries, left, strict=True):
        about = "–" if forecast.seconds is None else duration(forecast.seconds)
        counts = (len(entry.search.plan.space), forecast.done, forecast.left)
        table.add_row(entry.name, *map(str, counts), about)
    print_table(console, table)
    known = [forecast.seconds for forecast in left if forecast.seconds is not None]
    unknown = len(left) - len(known)
    total = f"time: about {duration(sum(known))}" if known else "time: no earlier trial or run tells"
    total += f", without {counted(unknown, 'method')} of which nothing is known" if known and unknown else ""
    print_prose(console, f"{total} · without teachers and final runs; pruned trials take less", "dim")
    for entry in entries if spaces else ():
        say(console, f"{entry.name}: {entry.search.plan.study}")
        for key, values in entry.search.plan.space.items():
            own = (entry.search.plan.own or {}).get(key)
            first = "" if own is None else f", first {own:g}" if isinstance(own, int | float) else f", first {own}"
            say(console, f"  {key}: {values.describe()}{first}")


_PLACE = ("dataset", "protocol", "preset")


def _whose(entry: SearchEntry) -> str:
    """Whom the validation trials are of, where the index says it."""
    index, trials = entry.search.context.run_spec.dataset.index, entry.search.context.split.validation
    from kdbench.data.card import SUBJECT

    if SUBJECT not in index.columns:
        return ""
    subjects = sorted(set(index.set_index("trial").loc[list(trials), SUBJECT]))
    return f" of {'subject' if len(subjects) == 1 else 'subjects'} {', '.join(map(str, subjects))}"


def show_end(ended: Sequence[Outcome], entries: Sequence[SearchEntry], console: Console) -> None:
    """A table of the methods that have ended."""
    from rich.table import Table

    from kdbench.text.terminal_table import print_table

    table = Table(title="tuned on the validation part", title_justify="left", title_style="bold")
    table.add_column("method", overflow="fold")
    for column in ("default", "best", "gain", "trials", "pruned", "failed", "time"):
        table.add_column(column, justify="right")
    for outcome in ended:
        if outcome.result is None:
            table.add_row(outcome.entry.name, "failed", *["–"] * 5, duration(outcome.seconds), style="red")
            continue
        report = outcome.result.report
        default, best = report["default"], report["best"]["value"]
        has_default = default is not None and default["value"] is not None
        gain = f"{100 * (best - default['value']):+.2f}" if has_default else "–"
        states = report["states"]
        counts = (report["budget"]["trials"], states["pruned"], states["failed"])
        table.add_row(outcome.entry.name, *scores(outcome), gain, *map(str, counts), duration(report["seconds"]))
    if ended:
        print_table(console, table)
    if missing := len(entries) - len(ended):
        print_prose(console, f"{counted(missing, 'method')} to go")


def _per_cent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"
