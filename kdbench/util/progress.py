"""What a person sees while a run goes on: bars in a terminal, lines elsewhere."""

from __future__ import annotations

import builtins
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from kdbench.text.terminal import print_prose
from kdbench.text.wording import counted

WIDEST_BAR, SHORT_BAR = 24, 8
_DOT = " · "
_CUT = " …"


class Reporter:
    """Receives the events of a run and shows nothing; what shows them overrides these."""

    def message(self, text: str) -> None:
        """One line of information."""

    def warn(self, text: str) -> None:
        """One line that the user should see again at the end."""

    def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
        """A training of `epochs` of `steps` over `trials` starts, or goes on after `done` epochs."""

    def step(self, count: int) -> None:
        """A step over `count` trials is done."""

    def end_epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done; its line of `metrics.jsonl`."""

    def end_phase(self) -> None:
        """The training is done, or was stopped."""


def is_interactive() -> bool:
    """Whether a person sits before this process's Python: in a notebook, or at a prompt."""
    return hasattr(sys, "ps1") or "get_ipython" in vars(builtins)


def reporter_for(console: Console) -> Reporter:
    """Bars where the console is a terminal, plain lines where it is not."""
    return BarReporter(console) if console.is_terminal else LineReporter(console)


class _Clock:
    """Trials per second and time left, from what this process has done itself."""

    def __init__(self, epochs: int, done: int, trials: int) -> None:
        self.left = (epochs - done) * trials
        self.seen = 0
        self.started = time.perf_counter()

    def add(self, count: int) -> None:
        self.seen += count

    @property
    def rate(self) -> float:
        return self.seen / max(1e-9, time.perf_counter() - self.started)

    @property
    def time_left(self) -> str:
        return duration((self.left - self.seen) / self.rate) if self.seen else "–"


class LineReporter(Reporter):
    """A plain log, one line per epoch at most every few seconds."""

    def __init__(self, console: Console, *, every_seconds: float = 10.0) -> None:
        self._console = console
        self._every = every_seconds
        self._said = 0.0
        self._epochs = 0
        self._clock = _Clock(1, 0, 1)

    def message(self, text: str) -> None:
        """Prints the line."""
        print_prose(self._console, text)

    def warn(self, text: str) -> None:
        """Prints the line, marked."""
        self.message(f"warning: {text}")

    def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
        """Says what is trained, and from where it goes on."""
        self._epochs, self._clock = epochs, _Clock(epochs, done, trials)
        going_on = f", going on after epoch {done}" if done else ""
        self.message(
            f"{phase}: {counted(epochs, 'epoch')} of {counted(steps, 'step')} over {counted(trials, 'trial')}{going_on}"
        )

    def step(self, count: int) -> None:
        """Counts."""
        self._clock.add(count)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Prints the epoch, if the last line is old enough or it is the last."""
        now = time.perf_counter()
        if record["epoch"] == self._epochs or now - self._said >= self._every:
            self._said = now
            self.message(f"{describe(record, self._epochs)} · {self._clock.time_left} left")


def fitted(needed: Sequence[str], wished: Sequence[str], width: int) -> str:
    """What is needed, then of what is wished as much as there is room for, each whole.

    Args:
        needed: Always there.
        wished: The more important first; the first that has no room ends it.
        width: The room, in characters.
    """
    parts = list(needed)
    for text in wished:
        if len(_DOT.join([*parts, text])) > width:
            break
        parts.append(text)
    return _DOT.join(parts)


class CountColumn(ProgressColumn):
    """How many items are done, for how long, and how long the rest takes: `3/512, 0:01 elapsed, 2:49 left`."""

    def render(self, task: Task) -> Text:
        """The words beside a bar."""
        total = round(task.total or 0)
        count = f"{round(task.completed):>{len(str(total))}}/{total}"
        return Text(f"{count}, {clock(task.elapsed)} elapsed, {clock(task.time_remaining)} left")


class LeftColumn(ProgressColumn):
    """How long the rest takes: `2:49 left`."""

    def render(self, task: Task) -> Text:
        """The words beside a bar."""
        return Text(f"{clock(task.time_remaining)} left")


class _Bar(ProgressColumn):
    """A bar that takes the room which the words leave, up to `WIDEST_BAR`."""

    def __init__(self, reporter: BarReporter) -> None:
        self._reporter = reporter
        super().__init__()

    def render(self, task: Task) -> ProgressBar | Text:
        """The bar; nothing where there is no room."""
        # Once for both columns: the clock goes on between them.
        info = task.fields["said"] = self._reporter.info(task)
        width = min(WIDEST_BAR, self._reporter.room(task) - len(info))
        if width < 1:
            return Text()
        return ProgressBar(total=task.total, completed=task.completed, width=width)


class BarReporter(Reporter):
    """A bar over the steps of a phase, with the last epoch's accuracy, and its terms where they have room."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._epochs = 0
        self._clock = _Clock(1, 0, 1)
        self._latest: dict[str, Any] | None = None

    def message(self, text: str) -> None:
        """Prints the line above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def warn(self, text: str) -> None:
        """Prints the line above the bar, marked."""
        self._console.print(f"warning: {text}", style="yellow", markup=False, highlight=False)

    def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
        """Opens the bar."""
        self._epochs, self._clock = epochs, _Clock(epochs, done, trials)
        self._latest = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            _Bar(self),
            TextColumn("{task.fields[said]}", markup=False),
            console=self._console,
            transient=False,
        )
        self._progress.start()
        self._phase = phase
        self._task = self._progress.add_task("", total=epochs * steps, completed=done * steps, said="")
        self._show_epoch(done + 1)

    def step(self, count: int) -> None:
        """Moves the bar."""
        self._clock.add(count)
        if self._progress is not None:
            self._progress.update(self._task, advance=1)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Shows the epoch's terms beside the bar."""
        self._latest = record
        self._show_epoch(record["epoch"] + 1)

    def room(self, task: Task) -> int:
        """Characters for the bar and the words: the spinner, the epoch and the spaces between them have theirs."""
        return self._console.width - 4 - len(task.description)

    def info(self, task: Task) -> str:
        """The words beside the bar, with room for a short bar."""
        needed, wished = [f"{self._clock.time_left} left"], []
        if self._latest is not None:
            accuracies = _accuracies(self._latest)
            needed += accuracies[:1]
            wished += accuracies[1:]
        wished.append(f"{self._clock.rate:.0f} trials/s")
        if self._latest is not None:
            wished += _terms(self._latest)
        return fitted(needed, wished, self.room(task) - SHORT_BAR)

    def _show_epoch(self, epoch: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description=f"{self._phase} {min(epoch, self._epochs)}/{self._epochs}")

    def end_phase(self) -> None:
        """Closes the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def describe(record: dict[str, Any], epochs: int) -> str:
    """One line on an epoch: its terms, accuracy, and rate."""
    return _DOT.join(
        [
            f"{record['phase']} {record['epoch']}/{epochs}",
            " ".join(_terms(record)),
            *_accuracies(record),
            f"{record['samples_per_second']:.0f} trials/s",
        ]
    )


def words_of(record: dict[str, Any]) -> str:
    """An epoch's accuracy and terms in a line."""
    return _DOT.join([*_accuracies(record), " ".join(_terms(record))])


def fitted_line(line: str, width: int) -> str:
    """A line of `LineReporter` in the room that there is: of an epoch, its place and the time left before the rest.

    Args:
        line: The line; what it says is parted by ` · `.
        width: The room, in characters.
    """
    first, *rest = line.split(_DOT)
    if len(line) <= width or not rest:
        return textwrap.shorten(line, max(width, len(_CUT)), placeholder=_CUT)
    *between, last = rest
    # The first between them is that of the loss terms, which is the longest and matters least.
    return fitted([first, last], [*between[1:], *between[:1]], width)


def _terms(record: dict[str, Any]) -> list[str]:
    # A term of weight 0 that is not finite has no value.
    return [f"{name} {'–' if value is None else f'{value:.3g}'}" for name, value in record["terms"].items()]


def _accuracies(record: dict[str, Any]) -> list[str]:
    """Accuracy on the training part, where trials have labels, then on those parts that were tried."""
    words = [] if record["accuracy"] is None else [f"train {100 * record['accuracy']:.1f} %"]
    if record["validation"]:
        words.append(f"validation {100 * record['validation']['accuracy']:.1f} %")
    if record.get("test"):
        words.append(f"test (oracle) {100 * record['test']['accuracy']:.1f} %")
    return words


def clock(seconds: float | None) -> str:
    """A duration as a clock has it, `0:01` or `1:02:03`; a dash where it is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """A duration as people say it: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
