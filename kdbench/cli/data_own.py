"""`kdbench data who` and `kdbench data init`: one's own recordings."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion
from kdbench.cli.console import console_for
from kdbench.errors import DataError, Interrupted, UsageError
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.data.draft.card import Draft
    from kdbench.data.draft.doubts import Answers, Doubt


def who(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name of `kdbench data list`, or a card's YAML file.",
            autocompletion=completion.datasets,
        ),
    ],
    data_dir: Annotated[Path | None, typer.Option(help="Folder that contains NAME/; searched first.")] = None,
    trials: Annotated[bool, typer.Option("--trials", help="A line for each trial instead of each subject.")] = False,
) -> None:
    """Show who has what: how many trials of each subject were recorded with each source."""
    from rich.table import Table
    from rich.text import Text

    from kdbench.data.card import load_card
    from kdbench.data.roster import roster
    from kdbench.data.store import source
    from kdbench.text.terminal_table import print_table

    card = load_card(name)
    recordings = source.find(card, data_dir)
    if recordings is None:
        raise source.missing(card, data_dir)
    found = roster(recordings, by_trial=trials)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(found.by)
    for heading in ("trials", *found.sources, "all sources"):
        table.add_column(heading, justify="right")
    for row in (*found.rows, found.total):
        counts = [row.trials, *row.having.values(), row.whole]
        style = "bold" if row is found.total else ""
        cells = [Text(str(count), style="yellow" if count < row.trials else style) for count in counts]
        table.add_row(Text(row.name, style=style), *cells)
    print_table(console_for(soft_wrap=True), table)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the recordings.")],
    name: Annotated[str | None, typer.Option(help="What the data set is called; by default as the folder.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="A word of a file's path that says who performs, such as anna.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="A word of a file's path that says what is done, such as walk.")
    ] = None,
    rate: Annotated[
        list[str] | None, typer.Option(help="Samples a second where files have no times: SOURCE=HZ; repeatable.")
    ] = None,
    unit: Annotated[list[str] | None, typer.Option(help="Unit of a sensor: SOURCE=UNIT; repeatable.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; take what looks likeliest.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the card that is there.")] = False,
    preview: Annotated[bool, typer.Option(help="Draw some trials beside the card.")] = True,
) -> None:
    """Look at a folder of recordings, and write a card for it."""
    from kdbench.data.draft.card import CARD, draft
    from kdbench.data.draft.doubts import Answers

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="Name the folder that holds the recordings.")
    path = folder / CARD
    if path.exists() and not force:
        raise UsageError(
            f"{path} is there already",
            hint=f"Edit it, or write it anew: --force. See what it finds: kdbench data who {shlex.quote(str(path))}",
        )
    rates = {source: _number(source, value) for source, value in _pairs("--rate", rate).items()}
    answers = Answers(name, subject, label, rates, _pairs("--unit", unit))
    made = draft(folder, answers)
    if made.doubts and not yes:
        made = draft(folder, _asked(made.doubts, answers))
    unknown = [doubt for doubt in made.doubts if doubt.guess is None and doubt.key.startswith("rate ")]
    if unknown:
        source = unknown[0].key.removeprefix("rate ")
        raise UsageError(
            f"the files of the {source} have no times, and nothing says how many samples a second it has",
            hint=f"Say it: --rate {source}=50",
        )
    _write(path, made)
    console = console_for(soft_wrap=True)
    _show(console, path, made)
    if preview:
        _preview(console, path)
    typed = shlex.quote(str(path))
    console.print("\nNext:", style="bold")
    for command, why in (
        (f"kdbench data who {typed}", "who has what"),
        (f"kdbench check {typed}", "whether the recordings are what the card says"),
        (f"kdbench run --method {_method(made)} --dataset {typed} --preset small", "a first run"),
    ):
        console.print(f"  {command}    # {why}", highlight=False, markup=False)


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        source, equals, value = text.partition("=")
        if not equals or not source or not value:
            example = "50" if option == "--rate" else "g"
            raise UsageError(
                f"{option} {text}: expected SOURCE=VALUE", hint=f"Such as {option} accelerometer={example}"
            )
        pairs[source] = value
    return pairs


def _number(source: str, value: str) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e9:
        raise UsageError(
            f"--rate {source}={value}: expected samples a second, a number above 0", hint=f"Such as --rate {source}=50"
        )
    return rate


def _asked(doubts: tuple[Doubt, ...], answers: Answers) -> Answers:
    """What the user says to each doubt."""
    strays = [doubt for doubt in doubts if doubt.advice]
    if not sys.stdin.isatty():
        if len(strays) == len(doubts) == 1:
            raise UsageError(strays[0].question, hint=f"{strays[0].advice}. Or leave them out: --yes")
        listed = "".join(f"\n  {_in_full(doubt)}" for doubt in doubts)
        raise UsageError(
            f"the files leave {counted(len(doubts), 'question')} open, and nobody can be asked:{listed}",
            hint="Take what looks likeliest: --yes. Or answer: --subject WORD, --label WORD, --rate SOURCE=HZ, "
            "--unit SOURCE=UNIT",
        )
    for doubt in doubts:
        try:
            if doubt in strays:
                if not typer.confirm(f"{_in_full(doubt)}\nGo on without them?", default=False):
                    raise UsageError("no card is written", hint=f"{doubt.advice}.")
                continue
            text = str(typer.prompt(doubt.question, default=doubt.guess or ""))
        except typer.Abort as error:
            raise Interrupted("interrupted; no card is written") from error
        kind, _, source = doubt.key.partition(" ")
        if not text:
            continue
        if kind == "rate":
            answers = dataclasses.replace(answers, rates={**answers.rates, source: _number(source, text)})
        elif kind == "unit":
            answers = dataclasses.replace(answers, units={**answers.units, source: text})
        elif kind == "subject":
            answers = dataclasses.replace(answers, subject=text)
        else:
            answers = dataclasses.replace(answers, label=text)
    return answers


def _in_full(doubt: Doubt) -> str:
    return f"{doubt.question}. {doubt.advice}." if doubt.advice else doubt.question


def _write(path: Path, made: Draft) -> None:
    """Writes the card, once it is known to be one."""
    from kdbench.data.card import Card
    from kdbench.util import files, plain_yaml
    from kdbench.util.validation import checked

    checked(Card, made.content, "the card that was guessed", hint="Write it by hand: see docs/own-data.md")
    head = "# Written by `kdbench data init`; every line is a guess that may be mended.\n"
    with files.whole(path) as file:
        file.write((head + plain_yaml.dump(made.content, width=110, default_flow_style=None)).encode())


def _show(console: Console, path: Path, made: Draft) -> None:
    from rich.table import Table
    from rich.text import Text

    from kdbench.text.terminal_table import print_table

    console.print(f"[bold]{path}[/]", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("source", "files", "what is in them"):
        table.add_column(heading, overflow="fold")
    files = made.content["files"]
    for name, stream in files["sources"].items():
        table.add_row(Text(name, style="bold"), Text(stream["path"]), Text(_in_words(made.content, name)))
    if windows := files.get("windows"):
        about = f"labels of {windows['seconds']:g} s windows, one every {windows['stride_s']:g} s"
        about += ", each until the next" if "moments" in windows else ""
        table.add_row(Text("annotations", style="bold"), Text(windows["annotations"]), about)
    print_table(console, table)
    classes = [entry["short"] for entry in made.content["classes"]]
    console.print(f"{counted(len(classes), 'class')}: {', '.join(classes)}", markup=False, highlight=False)
    for name, rule in made.content["protocols"].items():
        console.print(f"protocol {name}: {rule['title']}", markup=False, highlight=False)
    for doubt in made.doubts:
        what, text = ("left out", _in_full(doubt)) if doubt.advice else ("guessed", f"{doubt.question} {_guess(doubt)}")
        console.print(Text.assemble((what, "yellow"), f": {text}"), highlight=False)
    if made.passed_over:
        some = ", ".join(made.passed_over[:3]) + ("…" if len(made.passed_over) > 3 else "")
        console.print(f"passed over {counted(len(made.passed_over), 'file')}: {some}", markup=False, highlight=False)


def _guess(doubt: Doubt) -> str:
    return doubt.guess or ("None: all are by one person" if doubt.key == "subject" else "nothing")


def _in_words(content: dict[str, Any], name: str) -> str:
    """What a source is, in a line."""
    stream = content["files"]["sources"][name]
    if name in content.get("views", {}):
        view = content["views"][name]
        return f"{view['width']}×{view['height']} at {view['rate_hz']:g} frames a second"
    if name in content.get("skeletons", {}):
        skeleton = content["skeletons"][name]
        return f"{counted(len(skeleton['joints']), 'joint')} at {skeleton['rate_hz']:g} Hz"
    sensor = content["sensors"][name]
    timed = f", times in '{stream['time']['column']}'" if "time" in stream else ", no times"
    unit = "" if sensor["unit"] == "1" else f" in {sensor['unit']}"
    return f"{', '.join(sensor['axes'])}{unit} at {sensor['rate_hz']:g} Hz{timed}"


def _preview(console: Console, path: Path) -> None:
    """Draws some trials beside the card; what keeps it from that is told, and the card stays."""
    from kdbench.data.draft.card import PREVIEW
    from kdbench.data.store.open import open_dataset
    from kdbench.plotting.contact_sheet import contact_sheet, spread
    from kdbench.util import files

    picture = path.with_name(PREVIEW)
    try:
        data = open_dataset(str(path))
        content = contact_sheet(data, spread(data, 3))
    except DataError as error:
        console.print(f"[yellow]no preview[/]: {error.message}", highlight=False)
        return
    with files.whole(picture) as file:
        file.write(content)
    console.print(f"{picture}: some trials, to be looked at", markup=False, highlight=False)


def _method(made: Draft) -> str:
    """A method that the recordings suit."""
    if made.content.get("views"):
        return "kd --teacher raw"
    return "student_only_sensor" if "accelerometer" in made.content["sensors"] else "teacher_only --teacher raw"
