"""What a person sees of a grid: its plan, a live table while it runs (lines where there is no terminal), its end."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, Self

from kdbench.grid.left import TimeLeft
from kdbench.grid.state import DONE, FAILED, INTERRUPTED, LOGS, OOM, ORDER, TIMEOUT, TO_DO
from kdbench.text.terminal import print_prose
from kdbench.text.terminal_table import print_table
from kdbench.text.wording import counted, ranges
from kdbench.util.progress import duration, fitted_line

if TYPE_CHECKING:
    from rich.console import Console, Group

    from kdbench.grid.estimate import Estimate
    from kdbench.grid.plan import GridPlan, PlannedRun
    from kdbench.grid.running import Running

STYLES = {DONE: "green", TO_DO: "", INTERRUPTED: "yellow", FAILED: "bold red", OOM: "bold red", TIMEOUT: "yellow"}
_MIB = 2**20
_COLUMNS = ("method", "data set", "protocol", "preset")
_GAP = 2
"""Spaces between two columns."""
_MOST_NAMES = 3
"""Names that a sentence holds at most; of more, it gives their number."""


class GridView:
    """Receives the events of a grid and shows nothing; what shows them overrides these."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The grid has ended."""

    def warn(self, text: str) -> None:
        """One line of warning."""

    def started(self, planned: PlannedRun) -> None:
        """A run has started."""

    def ended(self, planned: PlannedRun, seconds: float, log: Path) -> None:
        """A run has ended; its state says how."""

    def waits(self, planned: PlannedRun) -> None:
        """A run that had started turned out to be made by another process, which is waited for."""

    def tick(self, running: Sequence[Running]) -> None:
        """Some time has passed."""


class LineView(GridView):
    """A line where a run starts, and one where it ends.

    Args:
        console: Where they go.
        plan: The grid.
        jobs: Cells at a time, for the time that is left.
    """

    def __init__(self, console: Console, plan: GridPlan, jobs: int) -> None:
        self.console = console
        self._total = len(plan.runs)
        self._ended = self._total - len(plan.to_make())
        self._began = time.monotonic()
        self._left = TimeLeft(plan, jobs)
        self._logs = plan.root / LOGS

    def __enter__(self) -> Self:
        self._print(f"logs: {self._logs}", "dim")
        return self

    def warn(self, text: str) -> None:
        """Prints the line."""
        self._print(f"warning: {text}", "yellow")

    def started(self, planned: PlannedRun) -> None:
        """Prints the line."""
        self._left.started(planned)
        going_on = "" if planned.state.status == TO_DO else f" (again: {planned.state.status})"
        self._print(f"started: {planned.label}{going_on}")

    def ended(self, planned: PlannedRun, seconds: float, log: Path) -> None:
        """Prints the line, with the accuracy, or the reason and the log."""
        self._ended += 1
        self._left.ended(planned, seconds)
        state = planned.state
        outcome = f"accuracy {100 * state.accuracy:.2f} %" if state.accuracy is not None else f"{state.message} ({log})"
        text = f"{state.status}: {self.named(planned)} in {duration(seconds)} · {outcome}{self.after_end()}"
        self._print(text, STYLES.get(state.status, ""))

    def waits(self, planned: PlannedRun) -> None:
        """Prints the line."""
        self._left.waits(planned)
        self._print(f"waiting: {self.named(planned)}: another process makes it")

    def named(self, planned: PlannedRun) -> str:
        """What a run is called."""
        return planned.label

    def after_end(self) -> str:
        """What the line of an end closes with: how far the grid is."""
        return f" · {self._ended} of {self._total} · {self._clock()}"

    def _clock(self) -> str:
        """How long the grid has been under way, and how long it still takes."""
        passed, left = duration(time.monotonic() - self._began), self._left.seconds
        return f"{passed} elapsed" + (f", about {duration(left)} left" if left and left >= 1 else "")

    def _print(self, text: str, style: str = "") -> None:
        print_prose(self.console, text, style)


class LiveView(LineView):
    """A table of what runs, below the lines of what has ended."""

    def __init__(self, console: Console, plan: GridPlan, jobs: int) -> None:
        super().__init__(console, plan, jobs)
        from rich.live import Live

        specs = [planned.run_spec for planned in plan.runs]
        self._several_datasets = len({spec.dataset.card.name for spec in specs}) > 1
        self._several_protocols = len({spec.protocol for spec in specs}) > 1
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, planned: PlannedRun) -> None:
        """The table tells."""
        self._left.started(planned)

    def tick(self, running: Sequence[Running]) -> None:
        """Draws the table."""
        self._live.update(self.drawn(running))

    def drawn(self, running: Sequence[Running]) -> Group:
        """What runs: each run with its time and the last line of its log."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, style="dim")
        names = [self.named(place.planned) for place in running]
        times = [duration(place.seconds) for place in running]
        taken = max(map(len, names), default=0) + max(map(len, times), default=0) + 2 * _GAP
        for place, name, passed in zip(running, names, times, strict=True):
            last_line = fitted_line(_last(place.job.printed()), self.console.width - taken)
            table.add_row(Text(name), passed, Text(last_line))
        summary = f"{self._ended} of {self._total} finished, {len(running)} running · {self._clock()}"
        return Group(table, Text(summary, style="bold"))

    def after_end(self) -> str:
        """Nothing: the table tells."""
        return ""

    def named(self, planned: PlannedRun) -> str:
        """Method and seed; data set and protocol only where the grid has several."""
        spec = planned.run_spec
        parts = [planned.request.name or spec.title]
        parts += [spec.dataset.card.name] * self._several_datasets + [spec.protocol] * self._several_protocols
        return " · ".join([*parts, f"seed {spec.seed}"])


def view_for(console: Console, plan: GridPlan, jobs: int) -> GridView:
    """A live table where the console is a terminal, plain lines where it is not."""
    return (LiveView if console.is_terminal else LineView)(console, plan, jobs)


def show_plan(plan: GridPlan, cost: Estimate, *, jobs: int, console: Console) -> None:
    """Prints what a grid would do: how its runs stand, which teachers they share, and what it costs."""

    def say(text: str, style: str = "") -> None:
        print_prose(console, text, style)

    _print_table(plan, console)
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts().items())
    say(f"{counted(len(plan.runs), 'run')}: {counts}", "bold")
    for track in sorted({planned.run_spec.recipe.track.words for planned in plan.runs} - {""}):
        say(f"track: {track}")
    shared, missing = plan.teachers(), plan.teachers_to_make()
    if shared:
        users = len({planned.folder for sharing in shared.values() for planned in sharing})
        there = len(shared) - len(missing)
        say(
            f"{counted(len(shared), 'teacher')}, used by {counted(users, 'run')}: {len(missing)} to train, "
            f"{there} already trained or not needed"
        )
    if unprepared := {
        planned.run_spec.dataset.card.name for planned in plan.runs if planned.run_spec.dataset.folder == Path()
    }:
        say(f"prepared by the first run: {', '.join(sorted(unprepared))}", "dim")
    if plan.to_make():
        say(_cost_line(cost, jobs))
        if cost.unknown and cost.seconds is not None:
            rest = len(cost.unknown) - _MOST_NAMES
            more = f" and {rest} more" if rest > 0 else ""
            named = ", ".join(cost.unknown[:_MOST_NAMES])
            say(f"Not included, since no earlier run is like them: {named}{more}", "dim")
    else:
        say(_next(plan), "cyan")
    _show_trouble(plan, say)


def _cost_line(cost: Estimate, jobs: int) -> str:
    """What the runs that are not done will take, in a sentence."""
    if cost.seconds is None or cost.disk_bytes is None:
        return (
            "Estimated training time and disk space: unknown, since no finished run in this folder has this data set "
            "and preset; each run says how long it will take when it starts."
        )
    text = f"Estimated training time {duration(cost.seconds)}"
    if jobs > 1:
        text += f" (at best {duration(cost.seconds / jobs)} with --jobs {jobs})"
    text += f", plus start-up per run; disk space {max(1, round(cost.disk_bytes / _MIB))} MiB"
    text += f"; taken from {counted(cost.runs, 'finished run')}"
    if cost.from_others:
        text += f"; {_without_earlier(cost.from_others)} with these settings"
    return f"{text}."


def _without_earlier(methods: Sequence[str]) -> str:
    """Which methods have no earlier run: by their names where these are few."""
    if len(methods) > _MOST_NAMES:
        return f"{counted(len(methods), 'method')} without an earlier run"
    return f"no earlier run of {' or '.join(methods)}"


def show_end(plan: GridPlan, command: str, console: Console) -> None:
    """Prints how every run stands, what went wrong, and the command that tries that again."""

    def say(text: str, style: str = "") -> None:
        print_prose(console, text, style)

    _print_table(plan, console)
    say(
        f"{counted(len(plan.runs), 'run')}: " + ", ".join(f"{n} {status}" for status, n in plan.counts().items()),
        "bold",
    )
    say(f"folder: {plan.root}")
    _show_trouble(plan, say)
    if plan.to_make():
        say(f"Try again what is not done: {command}", "cyan")
    else:
        say(_next(plan), "cyan")


def _next(plan: GridPlan) -> str:
    systems = " --systems" if plan.systems else ""
    return f"Compare them: kdbench compare{systems} --out {shlex.quote(str(plan.root))}"


def _show_trouble(plan: GridPlan, say: Any) -> None:
    for planned in plan.runs:
        if planned.state.status not in (DONE, TO_DO):
            say(
                f"{planned.state.status}: {planned.label}: {planned.state.message}",
                STYLES.get(planned.state.status, ""),
            )


def _print_table(plan: GridPlan, console: Console) -> None:
    """Prints what all runs have in common, then a row for each method: its seeds by how they stand, its accuracy."""
    from rich.markup import escape
    from rich.table import Table

    rows: dict[tuple[str, ...], list[PlannedRun]] = {}
    for planned in plan.runs:
        spec = planned.run_spec
        place = (planned.request.name or spec.title, spec.dataset.card.name, spec.protocol, spec.preset)
        rows.setdefault(place, []).append(planned)
    columns = list(zip(*rows, strict=True))
    own = [place for place, values in enumerate(columns) if place == 0 or len(set(values)) > 1]
    common = [values[0] for place, values in enumerate(columns) if place not in own]
    if common:
        print_prose(console, " · ".join(common), "bold")
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column in (*(_COLUMNS[place] for place in own), "seeds", "accuracy"):
        table.add_column(column, justify="right" if column == "accuracy" else "left")
    for names, runs in rows.items():
        table.add_row(*(escape(names[planned]) for planned in own), escape(_seeds(runs)), _spread(runs))
    print_table(console, table)


def _seeds(runs: Iterable[PlannedRun]) -> str:
    by_status: dict[str, list[int]] = {}
    for planned in runs:
        by_status.setdefault(planned.state.status, []).append(planned.run_spec.seed)
    return " · ".join(f"{status} {ranges(by_status[status])}" for status in ORDER if status in by_status)


def _spread(runs: Iterable[PlannedRun]) -> str:
    values = [100 * planned.state.accuracy for planned in runs if planned.state.accuracy is not None]
    # Nothing has a mean where no run is done.
    with contextlib.suppress(ValueError):
        return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
    return ""


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "starting"
    # The folder is the last line of a run, whose copy in MLflow may still be written.
    return "writing the result" if lines[-1].startswith("folder:") else lines[-1]
