"""`kdbench leaderboard`: make submissions, verify them, and build and show the site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.errors import DataError, UsageError
from kdbench.wording import counted, inflected

SUMMARY = "Submit results, verify them, build the site of all."

app = typer.Typer(add_completion=False, no_args_is_help=True, help=SUMMARY)

Board = Annotated[Path | None, typer.Option(help="The board's folder; ./leaderboard by default.")]
Site = Annotated[Path, typer.Option("--site", help="The site's folder.")]


@app.command()
def add(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs, one for each seed.")],
    board: Board = None,
) -> None:
    """Makes a submission of finished runs: one method, one set of conditions, every seed from 0 on.

    A Grad-CAM picture comes along where `kdbench explain` made one of a run.
    """
    from kdbench.board.add import add as submit
    from kdbench.board.entry import board_folder
    from kdbench.board.schema import PICTURE

    folder = submit(runs, board_folder(board))
    typer.echo(f"{folder}")
    if not (folder / PICTURE).is_file():
        typer.echo(f"without a Grad-CAM picture, since no run was explained: kdbench explain {runs[0]}", err=True)


@app.command()
def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH...]", help="Submissions, or folders of some; all by default.")
    ] = None,
    board: Board = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Train the named submissions again, and compare.")] = False,
    tolerance: Annotated[
        float, typer.Option(help="With --rerun: the largest difference of accuracy at a seed.", min=0, max=1)
    ] = 0.02,
    out: Annotated[Path | None, typer.Option(help="With --rerun: folder of the runs; ./runs by default.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="With --rerun: where the data sets lie.")] = None,
) -> None:
    """Scores submissions again from their predictions, on the trials that the data set's card names.

    Says everything that is wrong, with exit code 3.
    """
    from kdbench.board.entry import below, board_folder, found
    from kdbench.board.verify import verify as check_all

    if rerun and not paths:
        raise UsageError(
            "--rerun trains for hours", hint="Name the submissions: kdbench leaderboard verify PATH --rerun"
        )
    folders = list(below(paths)) if paths else found(board_folder(board))
    if rerun:
        _rerun(folders, tolerance, out, data_dir)
    checked = check_all(folders)
    for each in checked:
        state = "refused" if each.problems else str(each.tier)
        typer.echo(f"{state:<10} {'/'.join(each.folder.absolute().parts[-4:])}")
        for problem in each.problems:
            typer.echo(f"  - {problem}")
    wrong = [each for each in checked if each.problems]
    right = len(checked) - len(wrong)
    typer.echo(f"{right} of {counted(len(checked), 'submission')} {inflected(right, 'stands', 'stand')}")
    if wrong:
        count = sum(len(each.problems) for each in wrong)
        raise DataError(
            f"{counted(count, 'problem')} in {len(wrong)} of {counted(len(checked), 'submission')}, listed above"
        )


def _rerun(folders: list[Path], tolerance: float, out: Path | None, data_dir: Path | None) -> None:
    from rich.console import Console

    from kdbench.board.rerun import rerun
    from kdbench.engine.progress import reporter_for
    from kdbench.resources import runs_folder

    for folder in folders:
        held = rerun(folder, runs_folder(out), tolerance=tolerance, data_dir=data_dir, reporter=reporter_for(Console()))
        for seed, again in held.seeds.items():
            typer.echo(
                f"seed {seed}: {100 * again.then:.2f} % then, {100 * again.now:.2f} % now, "
                f"{100 * again.same:.1f} % of the predictions alike"
            )


@app.command()
def build(
    board: Board = None,
    out: Annotated[Path, typer.Option(help="The site's folder; an earlier site there is replaced.")] = Path("site"),
) -> None:
    """Verifies the board and makes one static site of it, which opens from the disk."""
    from kdbench.board.build import build as make
    from kdbench.board.entry import board_folder

    site = make(board_folder(board), out)
    typer.echo(
        f"{counted(site.submissions, 'submission')} in {counted(site.tables, 'table')}: {site.folder / 'index.html'}"
    )


@app.command()
def serve(
    site: Site = Path("site"),
    port: Annotated[int, typer.Option(help="Where it listens; 0 takes any free port.", min=0, max=65535)] = 8000,
) -> None:
    """Shows a built site at an address of this machine, until Ctrl-C."""
    from kdbench.board.serve import HOST, server

    with server(site, port) as running:
        typer.echo(f"http://{HOST}:{running.server_address[1]}/index.html (Ctrl-C stops it)")
        running.serve_forever()
