"""`kdbench predict`: what an exported student says of recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli import options
from kdbench.cli.columns import columns_of
from kdbench.errors import DataError, UsageError, unknown
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from kdbench.students.prediction import Prediction
    from kdbench.students.student import Student


def predict(
    export: Annotated[Path, typer.Argument(help="The folder of an export, as `kdbench export` makes it.")],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Recordings: .csv, .npy, .mat, or a video file. Of a student that sees several sources: SOURCE=FILE "
            "for each of them.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with the probability of every class.")] = False,
    top: Annotated[int, typer.Option(help="So many classes of each recording.", min=1)] = 3,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="The probability of this class too; repeatable.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Samples or frames a second, where a file does not say so itself.")
    ] = None,
    any_rate: Annotated[
        bool, typer.Option("--any-rate", help="Predict recordings of another rate too, by their relative time.")
    ] = False,
    columns: options.Columns = None,
    time_column: options.TimeColumn = None,
    factor: options.Factor = None,
    int8: Annotated[bool, typer.Option("--int8", help="The network in 8 bits, which the export may have.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
) -> None:
    """Predict recordings with an exported student: a table, or JSON. Needs neither data set nor torch.

    A recording is one action from its beginning to its end. Those that cannot be predicted are listed behind the
    answers for the others, and the exit code is 3.
    """
    from kdbench.students.load import load_student

    if as_json and classes:
        raise UsageError(
            "--json holds the probability of every class, so --class has no effect beside it",
            hint="Leave one of them out.",
        )
    student = load_student(export, threads=threads, int8=int8)
    for name in classes or ():
        if name not in student.classes:
            raise unknown(
                "class of this student", name, student.classes, hint=f"Its classes are in {export / 'export.json'}."
            )
    recordings = recordings_of(student, files)
    read_as = columns_of(student, columns, time_column, factor)
    said: dict[str, Prediction] = {}
    failed: dict[str, DataError] = {}
    for name, recording in recordings.items():
        try:
            said[name] = student.predict(recording, rate_hz=rate, any_rate=any_rate, columns=read_as)
        except DataError as error:
            failed[name] = error
            continue
        for text in said[name].notes:
            typer.echo(f"warning: {name}: {text}", err=True)
    if as_json and (said or len(failed) > 1):
        typer.echo(json.dumps(_plain(said, failed), indent=1, ensure_ascii=False))
    elif said:
        _show(said, min(top, len(student.classes)), classes or [])
    if failed:
        raise _all_of(failed, len(recordings))


def _all_of(failed: dict[str, DataError], asked: int) -> DataError:
    """One error for all recordings that cannot be predicted."""
    if asked == 1:
        (only,) = failed.values()
        return only
    lines = ["- " + str(error).replace("\n", "\n  ") for error in failed.values()]
    what = f"{len(failed)} of {counted(asked, 'recording')} cannot be predicted"
    return DataError("\n".join([what, *lines]), hint="Mend these, and name them again.")


def recordings_of(student: Student, words: list[str]) -> dict[str, dict[str, str]]:
    """The recordings that are named: the file of each source, by the words that name the recording.

    Args:
        student: Sees one source, or several.
        words: A FILE each; or SOURCE=FILE, the n-th of each source together.

    Raises:
        UsageError: A source is unknown, or some sources have more files than others.
    """
    if len(student.sources) == 1:
        (source,) = student.sources
        return {word: {source: word.removeprefix(f"{source}=")} for word in words}
    files: dict[str, list[str]] = {source: [] for source in student.sources}
    for word in words:
        source, equals, file = word.partition("=")
        if not equals:
            raise UsageError(
                f"this student sees {' and '.join(student.sources)}, and {word} does not say which of them it is",
                hint=f"For example: {' '.join(f'{source}=FILE' for source in student.sources)}",
            )
        if source not in files:
            raise unknown(
                "source of this student",
                source,
                files,
                hint="For example: " + " ".join(f"{source}=FILE" for source in files),
            )
        files[source].append(file)
    counts = {source: len(given) for source, given in files.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of the {source}" for source, count in counts.items())
        raise UsageError(
            f"a recording needs a file of every source, and there are {listed}", hint="Name as many files of each."
        )
    parts = [dict(zip(files, each, strict=True)) for each in zip(*files.values(), strict=True)]
    return {" ".join(each.values()): each for each in parts}


def _plain(said: dict[str, Prediction], failed: dict[str, DataError]) -> dict[str, object]:
    return {
        "predictions": [
            {
                "recording": name,
                "label": each.label,
                "probability": round(each.confidence, 6),
                "probabilities": {
                    label: round(float(share), 6) for label, share in zip(each.classes, each.probabilities, strict=True)
                },
                "notes": list(each.notes),
            }
            for name, each in said.items()
        ],
        "failed": [{"recording": name, "error": str(error)} for name, error in failed.items()],
    }


def _show(said: dict[str, Prediction], top: int, classes: list[str]) -> None:
    from rich.table import Table

    from kdbench.cli.console import console_for

    table = Table()
    table.add_column("recording", overflow="fold")
    for place in range(top):
        table.add_column("class" if place == 0 else f"{place + 1}.", overflow="fold")
        table.add_column("%", justify="right")
    for name in classes:
        table.add_column(f"{name}, %", justify="right", overflow="fold")
    for name, each in said.items():
        shares = [text for label, share in each.top(top) for text in (label, f"{100 * share:.1f}")]
        table.add_row(name, *shares, *(f"{100 * each.probability_of(label):.1f}" for label in classes))
    console_for().print(table)
