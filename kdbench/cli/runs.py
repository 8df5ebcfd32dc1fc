"""`kdbench runs`: the runs of a folder, listed, shown one by one, sent to MLflow, and removed."""

from __future__ import annotations

import csv
import datetime
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion
from kdbench.cli.console import console_for, say
from kdbench.cli.tracks import OnlyLabels, check_labels
from kdbench.errors import RunFailed, UsageError, unknown
from kdbench.runs.naming import label_of
from kdbench.runs.overview import COLUMNS, settings_text
from kdbench.text.terminal import print_prose, printable
from kdbench.text.wording import counted
from kdbench.util.paths import runs_folder

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.runs.overview import RunRow

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show, send and remove the runs of a folder.")
FORMATS = ("text", "json", "csv")
_ALIKE = ("dataset", "protocol", "preset", "track")
_RIGHT = ("seed", "accuracy", "size")
_SPARE = ("size", "age")
"""Columns that a narrow terminal does without, in this order."""
_SHORTEST_NAME = 8
_STYLES = {"finished": "", "running": "cyan", "interrupted": "yellow", "failed": "bold red", "damaged": "bold red"}
Out = Annotated[Path | None, typer.Option(help="Folder of the runs; $KDBENCH_HOME or ./runs by default.")]


@app.command("list")
def list_runs(
    dataset: Annotated[
        str | None, typer.Option(help="Only runs on this data set.", autocompletion=completion.datasets)
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Only runs of this method.", autocompletion=completion.methods)
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Only runs with this teacher.", autocompletion=completion.teachers)
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Only runs under this protocol.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Only runs of this size.", autocompletion=completion.presets)
    ] = None,
    labels: OnlyLabels = None,
    seed: Annotated[int | None, typer.Option(help="Only runs with this seed.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only these: finished, running, interrupted, failed or damaged.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Only these: a name, folder or method; * stands for anything.")
    ] = None,
    output: Annotated[str, typer.Option("--format", help="text, json or csv.")] = "text",
    out: Out = None,
) -> None:
    """List runs, each with the settings that differ from the recipe as kdbench ships it."""
    from kdbench.cli.runs_wanted import wanted
    from kdbench.recipes import shipped
    from kdbench.runs.overview import is_meant, overview

    if output not in FORMATS:
        raise unknown("format", output, FORMATS, hint="Name one of them, or leave --format out for the terminal's.")
    check_labels(labels)
    root = runs_folder(out)
    if method is not None and (pair := shipped.behind(method)):
        method, teacher = pair.method, teacher or pair.teacher
    asked: dict[str, str | int | None] = {"dataset": dataset, "method": method, "teacher": teacher, "status": status}
    asked |= {"protocol": protocol, "preset": preset, "labels": labels, "seed": seed}
    rows = [row for row in wanted(overview(root), asked) if name is None or is_meant(row, name)]
    if output == "json":
        typer.echo(json.dumps([row.plain() for row in rows], indent=2, ensure_ascii=False))
    elif output == "csv":
        typer.echo(_csv(rows), nl=False)
    else:
        _show(rows, root, console_for())


@app.command("show")
def show_run(
    run: Annotated[
        str, typer.Argument(help="A run's folder, id, name, or the beginning of these.", autocompletion=completion.runs)
    ],
    output: Annotated[str, typer.Option("--format", help="text, or json: what run.json says.")] = "text",
    out: Out = None,
) -> None:
    """Show one run: its result, its settings, its conditions and its folder."""
    import yaml

    from kdbench.runs.overview import DAMAGED, overview
    from kdbench.runs.removal import meant
    from kdbench.runs.store import stored_run

    if output not in FORMATS[:2]:
        raise unknown("format", output, FORMATS[:2], hint="Leave --format out for the terminal's.")
    # The folder of a run says where it lies.
    given = Path(run) if out is None and len(Path(run).parts) > 1 else None
    root = given.resolve().parent if given is not None and (given / "run.json").is_file() else runs_folder(out)
    rows = meant([run], overview(root), root)
    if len(rows) > 1:
        listed = "\n".join(f"  {row.folder.name}" for row in rows[:8])
        raise UsageError(f"'{run}' stands for {counted(len(rows), 'run')}:\n{listed}", hint="Write more of one.")
    row = rows[0]
    if row.status == DAMAGED and not (row.folder / "run.json").is_file():
        raise UsageError(f"{row.folder} holds no result: {row.message}", hint=f"Remove it: kdbench runs rm {row.id}")
    result = stored_run(row.folder).result
    if output == "json":
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    console = console_for()
    if row.status == "finished":
        from kdbench.cli.run import show
        from kdbench.runs.run import RunResult

        show(RunResult(row.folder, dict(result), reused=True), console)
    else:
        of = ", ".join(filter(None, (row.protocol, row.preset, row.track, f"seed {row.seed}")))
        named = f"{row.name}: " if row.name else ""
        say(console, f"{named}{row.title} on {row.dataset}, {of}", "bold")
        say(console, f"{row.status}{f': {row.message}' if row.message else ''}", _STYLES[row.status])
        for warning in result.get("warnings") or []:
            say(console, f"warning: {warning}", "yellow")
        say(console, f"folder:   {row.folder}")
    print_prose(console, f"\nsettings: {_settings(row)}")
    text = yaml.safe_dump(dict(result["conditions"]), sort_keys=False, allow_unicode=True, default_flow_style=None)
    say(console, f"\nconditions:\n{text.rstrip()}")


@app.command("rm")
def remove_runs(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, ids or names of runs; * stands for anything.", autocompletion=completion.runs),
    ] = None,
    teachers: Annotated[
        bool, typer.Option("--teachers", help="Also remove teachers that no run uses any longer.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    out: Out = None,
) -> None:
    """Remove runs, and say how much space that frees. Runs in progress, and folders that are not runs, are kept."""
    from rich.filesize import decimal

    from kdbench.runs.overview import overview
    from kdbench.runs.removal import meant, remove, unused_teachers

    if not runs and not teachers:
        raise UsageError("which runs? none is named", hint="See them: kdbench runs list; unused teachers: --teachers")
    root = runs_folder(out)
    console = console_for()
    doomed = meant(runs or [], overview(root), root)
    going = [row.folder for row in doomed]
    unused = unused_teachers(root, going) if teachers else []
    if not doomed and not unused:
        say(console, "nothing to remove: every teacher is used")
        return
    for folder in [*going, *(teacher.folder for teacher in unused)]:
        say(console, str(folder.relative_to(root)))
    what = " and ".join([counted(len(doomed), "run")] * bool(doomed) + [counted(len(unused), "teacher")] * bool(unused))
    size = decimal(sum(row.size_bytes for row in doomed) + sum(teacher.size_bytes for teacher in unused))
    if not yes:
        try:
            agreed = typer.confirm(f"Remove {what}, {size}?")
        except typer.Abort:
            raise UsageError(
                "nothing is removed without an answer", hint="Add --yes to remove without asking."
            ) from None
        if not agreed:
            say(console, "nothing is removed")
            return
    gone = list(remove([*going, *(teacher.folder for teacher in unused)], root))
    say(console, f"removed {what}, {size}, from {root}" if gone else "nothing is removed")


@app.command("send")
def send_runs(
    runs: Annotated[
        list[str],
        typer.Argument(help="Folders, ids or names of runs; * stands for anything.", autocompletion=completion.runs),
    ],
    out: Out = None,
) -> None:
    """Send runs to MLflow: all of them that it lacks, as their folders have it. What is there already stays."""
    from kdbench.runs.mirror import send
    from kdbench.runs.mirror_store import ADDRESS, OFF, is_wanted, tracking_uri
    from kdbench.runs.overview import overview
    from kdbench.runs.removal import meant
    from kdbench.text.redaction import redacted_words

    if not is_wanted():
        raise UsageError(f"MLflow is switched off by ${OFF}", hint=f"Switch it on: unset {OFF}")
    root = runs_folder(out)
    console = console_for()
    # A run of a search lies deeper than a listing goes, and is meant by its folder.
    deep = [path for word in runs if (path := Path(word)).is_dir() and path.resolve().parent != root.resolve()]
    words = [word for word in runs if Path(word) not in deep]
    folders = [*deep, *(row.folder for row in (meant(words, overview(root), root) if words else ()))]
    lacking = 0
    for folder in folders:
        number = send(folder, _root_of(folder, root), lambda line: print_prose(console, line, "yellow"))
        lacking += number is None
        say(console, f"{folder.name}: {'not sent' if number is None else f'is run {number} of MLflow'}")
    if lacking:
        place = redacted_words([tracking_uri(root)])[0]
        raise RunFailed(
            f"{counted(lacking, 'run')} of {len(folders)} could not be sent to {place}",
            hint=f"Start the server there, or name another one: export {ADDRESS}=…; then repeat the same command.",
        )


def _root_of(folder: Path, root: Path) -> Path:
    """The folder of runs that a run belongs to: above the searches, where it is one of theirs."""
    above = [parent.parent for parent in folder.resolve().parents if parent.name == "searches"]
    return above[0] if above else root if folder.resolve().parent == root.resolve() else folder.resolve().parent


def _csv(rows: Sequence[RunRow]) -> str:
    records = [row.plain() for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in records:
        settings = row["settings"]
        writer.writerow(row | {"settings": "" if settings is None else json.dumps(settings, ensure_ascii=False)})
    return file.getvalue()


def _show(rows: Sequence[RunRow], root: Path, console: Console) -> None:
    """A line per run; what all have in common stands above, settings below, so that a terminal's width is enough."""
    from rich.filesize import decimal

    from kdbench.runs.overview import DAMAGED

    if not rows:
        say(console, f"no such run in {root}")
        return
    sound = [row for row in rows if row.method]
    if sound:
        common = [key for key in _ALIKE if len({getattr(row, key) for row in sound}) == 1]
        shared = _shared(sound)
        print_prose(
            console, " · ".join([str(root), *filter(None, (str(getattr(sound[0], key)) for key in common))]), "bold"
        )
        if shared:
            print_prose(console, f"all with {settings_text(shared)}", "dim")
        own = [key for key in _ALIKE if key not in common]
        _show_table(sound, own, shared, console)
    for row in rows:
        if row.status == DAMAGED:
            print_prose(console, f"{row.status}: {row.folder.name}: {row.message}", _STYLES[row.status])
    whole = decimal(sum(row.size_bytes for row in rows))
    say(console, f"{counted(len(rows), 'run')}, {whole}; one of them: kdbench runs show ID", "dim")


def _show_table(rows: Sequence[RunRow], own: Sequence[str], shared: Mapping[str, Any], console: Console) -> None:
    from rich.filesize import decimal

    now = datetime.datetime.now(datetime.UTC)
    columns = {
        "id": [row.id for row in rows],
        "name": [row.name for row in rows],
        "method": [label_of(row.method, tuned=row.is_tuned) for row in rows],
        "teacher": [row.teacher for row in rows],
        **{"data set" if key == "dataset" else key: [str(getattr(row, key)) for row in rows] for key in own},
        "seed": [str(row.seed) for row in rows],
        "status": [row.status for row in rows],
        "accuracy": [_accuracy(row) for row in rows],
        "age": [_age(now - row.made) for row in rows],
        "size": [decimal(row.size_bytes) for row in rows],
    }
    table = {title: list(map(printable, cells)) for title, cells in columns.items() if any(cells)}
    widths = {title: max(map(len, (title, *cells))) for title, cells in table.items()}

    below: dict[str, list[str]] = {}
    left_out = []
    if console.is_terminal:

        def over() -> int:
            return sum(widths[key] + 2 for key in table) - 2 - console.width

        if over() > 0:
            # Only a run that is not finished has no accuracy.
            del table["status"]
            table["accuracy"] = [_accuracy(row) or row.status for row in rows]
            widths["accuracy"] = max(map(len, ("accuracy", *table["accuracy"])))
        if over() > 0 and "teacher" in table:
            del table["teacher"]
            table["method"] = [printable(label_of(row.title, tuned=row.is_tuned)) for row in rows]
            widths["method"] = max(map(len, ("method", *table["method"])))
        for title in _SPARE:
            if over() > 0:
                left_out.append(title)
                del table[title]
        if over() > 0 and "name" in table:
            below["name"] = table["name"]
            widths["name"] = max(_SHORTEST_NAME, widths["name"] - over())
            table["name"] = [textwrap.shorten(name, widths["name"], placeholder=" ...") for name in table["name"]]
        for title in ("track", "preset", "protocol", "data set", "name", "seed"):
            if title in table and over() > 0:
                below.setdefault(title, table[title])
                del table[title]

    def line(cells: Mapping[str, str]) -> str:
        padded = (cells[key].rjust(widths[key]) if key in _RIGHT else cells[key].ljust(widths[key]) for key in table)
        return "  ".join(padded).rstrip()

    say(console, line({title: title for title in table}), "dim")
    for place, row in enumerate(rows):
        shown = {title: cells[place] for title, cells in table.items()}
        text = line(shown)
        settings = settings_text({key: entry for key, entry in (row.settings or {}).items() if key not in shared})
        aside = f"  [{printable(settings)}]" if settings else ""
        if not console.is_terminal or len(text + aside) <= console.width:
            text += aside
            aside = ""
        say(console, text, _STYLES[row.status])
        moved = [
            f"{title} {entry[place]}" for title, entry in below.items() if entry[place] not in ("", shown.get(title))
        ]
        more = " · ".join([*moved, *filter(None, [aside.strip()])])
        if more:
            indent = " " * min(widths["id"] + 2, console.width // 4)
            wrapped = textwrap.wrap(
                more,
                console.width,
                initial_indent=indent,
                subsequent_indent=f"{indent} ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            say(console, "\n".join(wrapped), "dim")
    if left_out:
        print_prose(
            console,
            f"Left out at {console.width} columns: {' and '.join(left_out)}. A wider terminal or --format csv shows "
            f"{'it' if len(left_out) == 1 else 'them'}.",
            "dim",
        )


def _accuracy(row: RunRow) -> str:
    return "" if row.accuracy is None else f"{'(oracle) ' * row.is_oracle}{100 * row.accuracy:.2f}"


def _shared(rows: Sequence[RunRow]) -> dict[str, Any]:
    """The settings in which all runs differ alike from their recipes."""
    first, *rest = (row.settings or {} for row in rows)
    return {key: value for key, value in first.items() if rest and all((key, value) in other.items() for other in rest)}


def _settings(row: RunRow) -> str:
    if row.settings is None:
        return "this kdbench ships no such recipe to compare them with"
    return settings_text(row.settings) or "those of the recipe"


def _age(passed: datetime.timedelta) -> str:
    seconds = max(0, int(passed.total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
