"""`kdbench leaderboard`: make submissions, verify them, and build and show the site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kdbench.errors import DataError, UsageError
from kdbench.text.wording import counted, inflected

SUMMARY = "Submit results, verify them, build the site of all."

app = typer.Typer(add_completion=False, no_args_is_help=True, help=SUMMARY)

Board = Annotated[Path | None, typer.Option(help="The board's folder (default: ./leaderboard).")]
Site = Annotated[Path, typer.Option("--site", help="The site's folder.")]


@app.command()
def add(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Finished runs, one for each seed: folders, ids or a name.")
    ],
    board: Annotated[
        Path | None,
        typer.Option(
            "--to", "--board", metavar="FOLDER", help="The board's folder, made if needed (default: ./leaderboard)."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who submits it, shown on the board (default: nobody).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs (default: $KDBENCH_HOME or ./runs).")] = None,
) -> None:
    """Make a submission of finished runs: one method, one set of conditions, every seed from 0 on.

    It lies in FOLDER/submissions, and its folder is printed. A Grad-CAM picture comes along where `kdbench explain`
    made one of a run.
    """
    from kdbench.leaderboard.add import add as submit
    from kdbench.leaderboard.schema import PICTURE

    place = board or Path("leaderboard")
    new = not place.is_dir()
    folder = submit(runs, place, by=by, root=out)
    typer.echo(f"{folder}")
    if new:
        typer.echo(f"{place.absolute()} is a new board. See it: kdbench leaderboard build --board {place}", err=True)
    if not (folder / PICTURE).is_file():
        typer.echo(f"without a Grad-CAM picture, since no run was explained: kdbench explain {runs[0]}", err=True)


@app.command()
def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH...]", help="Submissions, or folders of some (default: all).")
    ] = None,
    board: Board = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Train the named submissions again, from nothing, and compare.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --rerun: who trains them again; kept in the record.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="With --rerun: the largest difference of accuracy at a seed.", min=0, max=0.1)
    ] = 0.02,
    out: Annotated[
        Path | None, typer.Option(help="With --rerun: an empty folder that keeps the runs (default: they are removed).")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="With --rerun: where the data sets lie.")] = None,
) -> None:
    """Score submissions again from their predictions, on the trials that the data set's card names.

    Says everything that is wrong, with exit code 3. Copies of other submissions are found among those that are checked
    together, so check a whole board before you trust one.
    """
    from kdbench.leaderboard.entry import below, board_folder, found
    from kdbench.leaderboard.verify import verify as check_all

    if rerun and not paths:
        raise UsageError(
            "--rerun trains for hours", hint="Name the submissions: kdbench leaderboard verify PATH --rerun --by NAME"
        )
    if rerun and by is None:
        raise UsageError("--rerun needs the name of whoever trains again", hint='Add it: --by "YOUR NAME"')
    given = {"--by": by, "--out": out, "--data-dir": data_dir}
    if not rerun and (unused := [name for name, value in given.items() if value is not None]):
        raise UsageError(f"{' and '.join(unused)} need --rerun", hint="Without it nothing is trained.")
    folders = list(below(paths)) if paths else found(board_folder(board))
    if rerun and by is not None:
        if out is not None and len(folders) > 1:
            raise UsageError(
                f"--out keeps the runs of one submission, and these are {len(folders)}", hint="Name one, or leave it."
            )
        _rerun(folders, by, tolerance, out, data_dir)
    if sys.stderr.isatty():
        typer.echo(f"checking {counted(len(folders), 'submission')}", err=True)
    checked = check_all(folders)
    for submission in checked:
        state = "refused" if submission.problems else str(submission.tier)
        typer.echo(f"{state:<10} {'/'.join(submission.folder.absolute().parts[-4:])}")
        for problem in submission.problems:
            typer.echo(f"  - {problem}")
    wrong = [submission for submission in checked if submission.problems]
    right = len(checked) - len(wrong)
    typer.echo(f"{right} of {counted(len(checked), 'submission')} {inflected(right, 'stands', 'stand')}")
    if wrong:
        count = sum(len(submission.problems) for submission in wrong)
        raise DataError(
            f"{counted(count, 'problem')} in {len(wrong)} of {counted(len(checked), 'submission')}, listed above",
            hint="Mend or remove these folders, then repeat the command.",
        )


def _rerun(folders: list[Path], by: str, tolerance: float, out: Path | None, data_dir: Path | None) -> None:
    from kdbench.leaderboard.entry import load
    from kdbench.leaderboard.rerun import rerun
    from kdbench.leaderboard.tier import own_rerun
    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.util.progress import reporter_for

    for folder in folders:
        repeated = rerun(folder, out, by=by, tolerance=tolerance, data_dir=data_dir, reporter=reporter_for(Console()))
        for seed, again in repeated.seeds.items():
            typer.echo(
                f"seed {seed}: {100 * again.then:.2f} % then, {100 * again.now:.2f} % now, "
                f"{100 * again.same:.1f} % of the predictions alike"
            )
        if own_rerun(load(folder), repeated):
            typer.echo(f"{by} submitted it too: recorded, and no verification by others")


@app.command()
def build(
    board: Board = None,
    out: Annotated[Path, typer.Option(help="The site's folder; an earlier site there is replaced.")] = Path("site"),
    docs: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A page that every page links: a path from the site's folder."),
    ] = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Verify also what stood before and has not changed since, by its hashes.")
    ] = False,
) -> None:
    """Verify the board and make a static site of it, which opens from the disk.

    A submission that stood in an earlier build here is not scored again while all of its files, kdbench and the data
    set's card are what they were, by their hashes; `kdbench leaderboard verify` scores every one.
    """
    from kdbench.leaderboard.build import build as make
    from kdbench.leaderboard.entry import board_folder

    site = make(board_folder(board), out, docs=docs, recheck=recheck)
    typer.echo(
        f"{counted(site.submissions, 'submission')} in {counted(site.tables, 'table')}: {site.folder / 'index.html'}"
    )
    if site.kept:
        typer.echo(
            f"{site.kept} of them stood before and {inflected(site.kept, 'is', 'are')} "
            "unchanged, so not scored again; to score them: --recheck",
            err=True,
        )


@app.command()
def serve(
    site: Site = Path("site"),
    port: Annotated[int, typer.Option(help="Where it listens; 0 takes any free port.", min=0, max=65535)] = 8000,
    host: Annotated[
        str, typer.Option(help="The address that it is bound to; another than this machine's shows it to others.")
    ] = "127.0.0.1",
) -> None:
    """Show a built site at an address of this machine, until Ctrl-C."""
    from kdbench.leaderboard.serve import server

    with server(site, port, host) as running:
        typer.echo(f"http://{host}:{running.server_address[1]}/index.html (Ctrl-C stops it)")
        running.serve_forever()
