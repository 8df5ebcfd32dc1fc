"""`kdbench stream`: what an exported student says of what comes in, as it comes in."""

from __future__ import annotations

import contextlib
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import options
from kdbench.cli.columns import columns_of
from kdbench.cli.console import console_for, say
from kdbench.errors import UsageError
from kdbench.text.wording import counted, inflected

if TYPE_CHECKING:
    from kdbench.students.report import Windows
    from kdbench.students.stream import Stream, Watched
    from kdbench.students.student import Student


def stream(
    export: Annotated[Path, typer.Argument(help="The folder of an export, as `kdbench export` makes it.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="A recording, or a camera: its number or its device. Of a student that sees several sources: "
            "SOURCE=FILE for each of them; repeatable.",
        ),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Show it as a page too, on this machine alone.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Port of the page; any free one by default.", min=0, max=65535)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for windows.csv, with a row a window as it comes, and timeline.png.")
    ] = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds of a window; the median recording of the training part by default.")
    ] = None,
    stride: Annotated[float | None, typer.Option(help="Seconds between windows; a quarter of one by default.")] = None,
    smoothing: Annotated[
        float | None, typer.Option(help="Weight of the newest window in the average; 1 does not smooth.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            help="How fast a file is played: 1 as recorded, 0 as fast as can be. By default 1 for a terminal or a "
            "page, else 0.",
            min=0,
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Samples or frames a second, where a file does not say so itself.")
    ] = None,
    any_rate: Annotated[bool, typer.Option("--any-rate", help="Play recordings of another rate too.")] = False,
    columns: options.Columns = None,
    time_column: options.TimeColumn = None,
    factor: options.Factor = None,
    int8: Annotated[bool, typer.Option("--int8", help="The network in 8 bits, which the export may have.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
) -> None:
    """Watch a recording or a camera with an exported student: sliding windows, smoothed, without the future.

    Ctrl-C ends it, and writes the report of what was seen until then.
    """
    if not inputs:
        raise UsageError(
            "nothing comes in", hint="Name a recording or a camera: kdbench stream EXPORT --input recording.npy"
        )
    if port is not None and not web:
        raise UsageError("--port has no effect without --web", hint="Add --web, or leave --port out.")
    from kdbench.students.feeds import feeds_of
    from kdbench.students.load import load_student
    from kdbench.students.recordings import is_camera
    from kdbench.students.stream import Stream

    if speed is not None and any(is_camera(word) for word in inputs):
        raise UsageError("--speed has no effect on a camera", hint="Leave it out.")
    _check_report(report)
    student = load_student(export, threads=threads, int8=int8)
    watching = Stream(student, window=window, stride=stride, smoothing=smoothing)
    console = console_for()
    _tell_other_settings(watching)
    pace = speed if speed is not None else float(console.is_terminal or web)
    read_as = columns_of(student, columns, time_column, factor)
    feeds = feeds_of(student, inputs, speed=pace, rate_hz=rate, any_rate=any_rate, columns=read_as)
    told = _Told()
    with contextlib.ExitStack() as open_until_the_end:
        page = open_until_the_end.enter_context(_page(student, port or 0)) if web else None
        rows = open_until_the_end.enter_context(_rows(report, student)) if report is not None else None
        if page is not None:
            say(console, f"page: {page.address} (Ctrl-C ends it)")
            sys.stdout.flush()
        try:
            with _view(console, student) as show:
                for each in watching.watch(feeds):
                    for text in told.add(each):
                        typer.echo(f"warning: {text}", err=True)
                    show(each)
                    if rows is not None:
                        rows.add(each)
                    if page is not None:
                        page.add(each)
            if page is not None:
                page.end("the recording is over")
                while True:
                    time.sleep(0.5)
        except KeyboardInterrupt:
            say(console, "stopped")
        finally:
            if page is not None:
                page.end("stopped")
            told.sum_up(console, watching)
            if report is not None and rows is not None:
                _report(console, report, watching, rows)


class _Told:
    """What is kept of windows that were shown: of hours, no more than the sum needs."""

    def __init__(self) -> None:
        self._latencies = array("d")
        self._notes, self._holds_hz, self._dropped = 0, 0.0, 0

    def add(self, each: Watched) -> tuple[str, ...]:
        """Counts a window, and gives the notes that are new."""
        new = each.notes[self._notes :]
        self._latencies.append(each.latency_ms)
        self._notes, self._holds_hz, self._dropped = len(each.notes), each.holds_hz, each.dropped
        return new

    def sum_up(self, console: Any, watching: Stream) -> None:
        """Tells how many there were and how long they took."""
        if not self._latencies:
            return
        import numpy as np

        rates = ", ".join(f"{entry.source} {entry.rate_hz:g}" for entry in watching.student.export.inputs)
        say(
            console,
            f"{counted(len(self._latencies), 'window')} of {watching.window:.2f} s every {watching.stride:.2f} s: "
            f"median {np.median(self._latencies):.1f} ms, longest {max(self._latencies):.1f} ms; "
            f"holds {self._holds_hz:.0f} a second ({rates} come in)",
        )
        if self._dropped:
            typer.echo(
                f"warning: {counted(self._dropped, 'frame')} came while the computer was busy and "
                f"{inflected(self._dropped, 'was')} left out; a longer --stride leaves it more time",
                err=True,
            )


def _rows(report: Path, student: Student) -> contextlib.closing[Windows]:
    from kdbench.students.report import Windows

    return contextlib.closing(Windows(report, student.classes))


def _page(student: Student, port: int) -> Any:
    from kdbench.students.web import Page

    return Page(student, port)


def _check_report(report: Path | None) -> None:
    """What a report lacks is said before anything is watched."""
    if report is None:
        return
    if report.exists() and not report.is_dir():
        raise UsageError(f"{report} is a file", hint="Name a folder: --report FOLDER")
    import matplotlib.figure  # noqa: F401


def _tell_other_settings(watching: Stream) -> None:
    """What was measured was measured with other windows, or nothing was."""
    from kdbench.students.stream import spread

    causal = watching.student.export.causal
    if causal is None:
        shown = "; ".join(spread(entry) for entry in watching.student.export.inputs)
        typer.echo(
            f"note: what windows cost this student was not measured ({shown}): kdbench export RUN --causal", err=True
        )
        return
    measured = (causal.window_seconds, causal.stride_seconds, causal.smoothing)
    if (watching.window, watching.stride, watching.smoothing) != measured:
        typer.echo(
            f"note: what a stream costs was measured with windows of {measured[0]:g} s every {measured[1]:g} s and "
            f"smoothing {measured[2]:g}",
            err=True,
        )


@contextlib.contextmanager
def _view(console: Any, student: Student) -> Iterator[Any]:
    """What shows each window: a table that renews itself in a terminal, else a line each."""
    if not console.is_terminal:
        yield lambda each: say(console, line_of(student, each))
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        yield lambda each: live.update(_table(student, each), refresh=True)


def line_of(student: Student, each: Watched) -> str:
    """A window in one line."""
    span = f"{each.start:6.2f} to {each.end:6.2f} s"
    if each.probabilities is None or each.smoothed is None:
        return f"{span}  {each.missing}"
    place = int(each.smoothed.argmax())
    return (
        f"{span}  {student.classes[place]}  {100 * each.smoothed[place]:.1f} %  {each.latency_ms:.1f} ms, "
        f"holds {each.holds_hz:.0f} a second"
    )


def _table(student: Student, each: Watched) -> Any:
    from rich.table import Table

    from kdbench.text.terminal import printable

    table = Table(title=f"{each.start:.1f} to {each.end:.1f} s", title_justify="left", min_width=50)
    table.add_column("class", overflow="fold")
    table.add_column("%", justify="right")
    table.add_column("", min_width=20)
    if each.smoothed is None:
        table.add_row(each.missing or "", "", "")
    else:
        for place in (-each.smoothed).argsort(kind="stable")[:5].tolist():
            share = float(each.smoothed[place])
            table.add_row(printable(student.classes[place]), f"{100 * share:.1f}", "█" * round(20 * share))
    table.caption = f"{each.latency_ms:.1f} ms a window, holds {each.holds_hz:.0f} frames or samples a second"
    return table


def _report(console: Any, folder: Path, watching: Stream, rows: Windows) -> None:
    from kdbench.students import report

    say(console, f"windows: {rows.path}")
    title = f"windows of {watching.window:.2f} s every {watching.stride:.2f} s, smoothing {watching.smoothing:g}"
    if (picture := report.write_timeline(folder, watching.student.classes, title)) is not None:
        say(console, f"timeline: {picture}")
