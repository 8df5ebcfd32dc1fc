"""`kdbench data`: list, download, prepare, verify, preview, pack and clean data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion, data_own
from kdbench.cli.console import console_for
from kdbench.errors import DataError, Interrupted, KdbenchError, UsageError
from kdbench.text.wording import counted, inflected

if TYPE_CHECKING:
    from kdbench.data.store.dataset import Dataset

SUMMARY = "List, describe, download, prepare, verify, preview, pack or clean data sets; bring in one's own."

app = typer.Typer(add_completion=False, no_args_is_help=True, help=SUMMARY)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name of `kdbench data list`, or a card's YAML file.", autocompletion=completion.datasets
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder that contains NAME/; searched first.")]
Video = Annotated[
    str | None, typer.Option(help="The video: rgb, depth, skeleton or none; by default the best that is there.")
]
Preset = Annotated[str, typer.Option(help="Frame size and number of frames as in this preset: paper, small or smoke.")]
FrameSize = Annotated[int | None, typer.Option(help="Height and width of a frame, in pixels.", min=8)]
Frames = Annotated[int | None, typer.Option(help="Number of frames of a clip.", min=1)]
Exclude = Annotated[bool, typer.Option("--exclude-broken", help="Leave out trials with missing or broken files.")]
Jobs = Annotated[int | None, typer.Option(help="Number of threads; one per core by default.", min=1)]
Option = Annotated[
    list[str] | None, typer.Option("--option", help="An option of a generated data set: KEY=VALUE; repeatable.")
]


@app.command("list")
def list_datasets(data_dir: DataDir = None) -> None:
    """List every data set: where its recordings are, and what is prepared."""
    from rich.table import Table
    from rich.text import Text

    from kdbench.data.card import load_card
    from kdbench.data.store import layout, source
    from kdbench.registry import registry
    from kdbench.text.terminal_table import print_table

    console = console_for(soft_wrap=True)
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"the data folder {data_dir} does not exist", hint="Make it first, or name another.")
    stores = layout.stores()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("data set", "title", "recordings", "prepared"):
        table.add_column(heading, overflow="fold")
    for name in registry("dataset").names():
        try:
            card = load_card(name)
            recordings = source.find(card, data_dir)
        except KdbenchError as error:
            table.add_row(Text(name, style="bold"), "", Text(error.message, style="red"), "")
            continue
        if recordings is None:
            place = Text("missing", style="yellow")
        else:
            kind = "packed, " if recordings.packed else ""
            place = Text(f"{recordings.place} ({kind}{', '.join(recordings.views) or 'sensors'})")
        prepared = [_described(folder, meta) for folder, meta in stores if meta.key["dataset"] == name]
        table.add_row(Text(name, style="bold"), card.title, place, "\n".join(prepared) or Text("no", style="dim"))
    print_table(console, table)
    console.print(f"Prepared data are in {layout.prepared_dir()}", style="dim", highlight=False)


@app.command()
def download(
    name: Name,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this folder of the data set, such as Inertial; repeatable. All by default."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for NAME/; by default where it already is, else in the cache folder."),
    ] = None,
) -> None:
    """Download the recordings, check their size and hash, and unpack them; resumable."""
    from kdbench.data.card import load_card
    from kdbench.data.download.download import download as get

    card = load_card(name)
    console = console_for(soft_wrap=True)
    for fetched in get(card, data_dir, only=only or ()):
        what = f"{counted(fetched.files, 'file')}" if fetched.files else "was there already"
        console.print(f"[bold]{fetched.folder}[/]: {what}")
        if fetched.differing:
            console.print(
                f"[yellow]{counted(len(fetched.differing), 'file')} "
                f"{inflected(len(fetched.differing), 'differs', 'differ')} from the manifest[/], though "
                "the archive is "
                f"the right one: kdbench data verify {card.typed}"
            )
    console.print(card.licence, style="dim")


@app.command()
def prepare(
    name: Name,
    video: Video = None,
    preset: Preset = "small",
    frame_size: FrameSize = None,
    frames: Frames = None,
    data_dir: DataDir = None,
    exclude_broken: Exclude = False,
    jobs: Jobs = None,
    option: Option = None,
) -> None:
    """Prepare the memory-mapped arrays that runs read; resumable. A run does this by itself."""
    data = _open(name, video, preset, frame_size, frames, data_dir, option, exclude_broken=exclude_broken, jobs=jobs)
    console = console_for(soft_wrap=True)
    size = sum(path.stat().st_size for path in data.folder.iterdir() if path.is_file())
    size_of_frames = f"{counted(data.frames or 0, 'frame')} of {data.frame_size}²"
    seen = f"{data.view} ({data.view_reason}), {size_of_frames}" if data.view else "sensors"
    console.print(f"[bold]{data.card.name}[/]: {counted(len(data), 'trial')}, {seen}, {size / 2**20:.0f} MiB")
    if data.packed:
        console.print(f"from a packed copy: {_coding(data.packed)}")
    if data.excluded:
        console.print(f"[yellow]{counted(len(data.excluded), 'trial')} excluded[/]: {', '.join(data.excluded)}")
    console.print(f"fingerprint {data.fingerprint}\n{data.folder}", style="dim")


@app.command()
def verify(name: Name, data_dir: DataDir = None) -> None:
    """Compare recordings with the manifest and prepared data with their hashes; exit code 3 if they differ."""
    from kdbench.data.card import load_card
    from kdbench.data.store import layout, source
    from kdbench.data.store.verify import verify as check

    card = load_card(name)
    recordings = source.find(card, data_dir)
    stores = [(folder, meta) for folder, meta in layout.stores() if meta.key["dataset"] == card.name]
    if recordings is None and not stores:
        raise source.missing(card, data_dir)
    report = check(card, recordings, stores)
    console = console_for(soft_wrap=True)
    if recordings is None:
        console.print("recordings: not there")
    elif recordings.root is not None:
        console.print(f"recordings in {recordings.root}: {counted(report.checked, 'file')} checked")
        for absent, count in report.absent.items():
            console.print(f"  {absent}/ is not there ({counted(count, 'file')})", style="dim")
        if report.unlisted:
            console.print(
                f"  {counted(report.unlisted, 'file')} not in the manifest, so nothing is known of "
                f"{inflected(report.unlisted, 'it', 'them')}",
                style="dim",
            )
    problems = [f"{path}: {why}" for path, why in report.differing.items()]
    problems += [f"{path}: missing" for path in report.missing]
    for folder, wrong in report.stores.items():
        console.print(f"prepared {folder.name}: {'sound' if not wrong else 'damaged'}")
        problems += [f"{folder.name}: {line}" for line in wrong]
    if not report.sound:
        # An error's message is cut where it grows too long; every file has to be named.
        for problem in problems:
            typer.echo(f"  {problem}", err=True)
        raise DataError(
            f"{counted(len(problems), 'problem')} with '{card.name}', listed above",
            hint="Get those files again, or go on without their trials: --exclude-broken. "
            "Delete the damaged folder of prepared data; it is made again.",
        )
    console.print("[green]everything is as it should be[/]")


app.command()(data_own.who)
app.command()(data_own.init)


@app.command()
def preview(
    name: Name,
    trial: Annotated[
        list[str] | None, typer.Option(help="A trial to show; repeatable. By default a selection.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The PNG file; NAME-preview.png by default.")] = None,
    count: Annotated[int, typer.Option(help="Number of trials in the selection.", min=1, max=20)] = 3,
    video: Video = None,
    preset: Preset = "small",
    data_dir: DataDir = None,
    exclude_broken: Exclude = False,
    option: Option = None,
) -> None:
    """Draw trials: frames, the sensor curves below them, and the GAF image of each sensor."""
    from kdbench.plotting.contact_sheet import contact_sheet, spread
    from kdbench.util import files

    data = _open(name, video, preset, None, None, data_dir, option, exclude_broken=exclude_broken)
    path = out or Path(f"{data.card.name}-preview.png")
    content = contact_sheet(data, trial or spread(data, count))
    with files.whole(path) as file:
        file.write(content)
    console_for(soft_wrap=True).print(str(path), highlight=False)


@app.command()
def pack(
    name: Name,
    max_mib: Annotated[float, typer.Option(help="Largest size of the copy, in MiB.", min=1)],
    out: Annotated[Path, typer.Option(help="Folder for NAME/; on the other machine it is the --data-dir.")],
    video: Video = None,
    preset: Preset = "paper",
    frame_size: FrameSize = None,
    frames: Frames = None,
    data_dir: DataDir = None,
    exclude_broken: Exclude = False,
    jobs: Jobs = None,
    option: Option = None,
) -> None:
    """Write a compact copy for another machine: exact sensors, and frames compressed to fit the size."""
    from kdbench.data.store.pack import pack as write
    from kdbench.data.store.packed import FILE, PackedReader

    data = _open(name, video, preset, frame_size, frames, data_dir, option, exclude_broken=exclude_broken, jobs=jobs)
    folder = write(data, out, max_mib=max_mib, jobs=jobs)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    coding = PackedReader(data.card, folder).coding
    console = console_for(soft_wrap=True)
    console.print(
        f"[bold]{folder / FILE}[/]: {counted(len(data), 'trial')} in {size / 2**20:.1f} MiB, {_coding(coding)}"
    )
    console.print(f"Use it with --data-dir {out}, or KDBENCH_DATA={out}.\n{data.card.licence}", style="dim")


@app.command()
def clean(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only the prepared data of this data set.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove prepared data, after asking; recordings stay. Runs prepare again what they need."""
    import sys

    from rich.table import Table
    from rich.text import Text

    from kdbench.data.store import clean as cleaning
    from kdbench.text.terminal_table import print_table

    console = console_for(soft_wrap=True)
    dataset = None
    if name is not None:
        from kdbench.data.card import load_card

        dataset = load_card(name).name
    stores = cleaning.prepared_stores(dataset)
    if not stores:
        console.print("nothing is prepared" + (f" of {dataset}" if dataset else ""))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("data set", "prepared", "folder"):
        table.add_column(heading, overflow="fold")
    for store in stores:
        size = f"{store.bytes / 2**20:.0f} MiB"
        what = _described(store.folder, store.meta) if store.meta else f"interrupted, {size}"
        gone = "" if store.remakable else " — its recordings are gone: it cannot be made again"
        table.add_row(Text(store.dataset, style="bold"), Text.assemble(what, (gone, "yellow")), store.folder.name)
    print_table(console, table)
    total = sum(store.bytes for store in stores) / 2**20
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{total:.0f} MiB would be removed, and nobody can be asked", hint="Say --yes")
        try:
            agreed = typer.confirm(f"Remove {counted(len(stores), 'folder')}, {total:.0f} MiB?")
        except typer.Abort as error:
            raise Interrupted("interrupted; nothing is removed") from error
        if not agreed:
            console.print("nothing is removed")
            return
    removed = [store for store in stores if cleaning.remove(store)]
    for store in stores:
        if store not in removed:
            console.print(f"[yellow]{store.folder.name} is being prepared by another process, and stays[/]")
    freed = sum(store.bytes for store in removed) / 2**20
    console.print(f"removed {counted(len(removed), 'folder')}, {freed:.0f} MiB, from {stores[0].folder.parent}")


def _open(
    name: str,
    video: str | None,
    preset: str,
    frame_size: int | None,
    frames: int | None,
    data_dir: Path | None,
    option: list[str] | None,
    *,
    exclude_broken: bool,
    jobs: int | None = None,
) -> Dataset:
    from kdbench.data.store.open import open_dataset
    from kdbench.data.store.source import AUTO
    from kdbench.recipes.changes import parse_overrides
    from kdbench.recipes.resolve import resolve

    sizes = resolve("student_only", preset).data
    return open_dataset(
        name,
        data_dir=data_dir,
        video=None if video == "none" else video or AUTO,
        frame_size=frame_size or sizes.frame_size,
        frames=frames or sizes.frames,
        exclude_broken=exclude_broken,
        jobs=jobs,
        options=parse_overrides(option or []),
    )


def _described(folder: Path, meta: Any) -> str:
    key = meta.key
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 2**20
    what = f"{key['view']}, {counted(key['frames'], 'frame')} of {key['frame_size']}²" if key["view"] else "sensors"
    without = f", without {counted(len(meta.excluded), 'trial')}" if meta.excluded else ""
    return f"{what}{' (packed)' if meta.packed else ''}{without}, {size:.0f} MiB"


def _coding(coding: Any) -> str:
    return (
        f"{coding['view']}, {counted(coding['frames'], 'frame')} of {coding['side']}², {coding['format']} quality "
        f"{coding['quality']}, {coding['psnr_db']} dB"
    )
