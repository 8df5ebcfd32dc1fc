"""Makes the site: static pages, each complete in itself, that open from the disk and ask nobody for anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.comparison.reference import references
from kdbench.data.card import Card
from kdbench.data.splits import rule_of
from kdbench.errors import DataError, UsageError
from kdbench.leaderboard import downloads
from kdbench.leaderboard.entry import found
from kdbench.leaderboard.keep import Keep
from kdbench.leaderboard.pages import MethodPages
from kdbench.leaderboard.staging import move_in, staged
from kdbench.leaderboard.tables import BoardProtocol, protocols
from kdbench.leaderboard.templates import environment_of, page, write_text
from kdbench.leaderboard.trials import card_of
from kdbench.leaderboard.verify import verify
from kdbench.util.collecting import without_collecting
from kdbench.util.files import unwritable

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = ".kdbench-site"
"""Lies in every site, so that a build replaces nothing else."""
_LISTED = 20


@dataclass(frozen=True)
class Site:
    """What was built.

    Attributes:
        folder: Where it lies.
        submissions: How many it shows.
        tables: In how many tables.
        kept: How many of the submissions stood before, and have not changed since.
    """

    folder: Path
    submissions: int
    tables: int
    kept: int


def build(board: Path, out: Path, *, docs: str | None = None, recheck: bool = False) -> Site:
    """Verifies a board and makes its site.

    Args:
        board: The board.
        out: The site's folder; an earlier site there is replaced, whole or not at all.
        docs: Where the documentation lies, as a path from `out`, which every page then links.
        recheck: Check submissions too that stood before and have not changed since (`kdbench.leaderboard.keep`).

    Raises:
        DataError: A submission does not verify; every problem is listed.
        UsageError: `out` holds something else than a site, or `docs` is no path from there.
        RunFailed: The disk is full, or the folder cannot be written.
    """
    if docs is not None and re.match(r"[a-zA-Z][\w+.-]*:|/|\\", docs):
        raise UsageError(f"{docs} is no path from the site's folder", hint="For example: --docs ../index.html")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise UsageError(f"{out} is there and is not a site", hint="Choose another folder: --out DIR")
    with Keep() as keep:
        return _build(board, out, docs, keep, recheck=recheck)


def _build(board: Path, out: Path, docs: str | None, keep: Keep, *, recheck: bool) -> Site:
    checked = verify(found(board), keep, recheck=recheck)
    wrong = [f"- {submission.folder}: {problem}" for submission in checked for problem in submission.problems]
    if wrong:
        more = [f"- and {len(wrong) - _LISTED} more"] if len(wrong) > _LISTED else []
        raise DataError(
            "the board does not verify:\n" + "\n".join([*wrong[:_LISTED], *more]),
            hint=f"See everything: kdbench leaderboard verify --board {board}",
        )
    with without_collecting():
        groups = protocols(checked)
    place = out.absolute()
    try:
        with staged(place.parent, place.name) as aside:
            _write(groups, aside / "site", docs, keep, place)
            move_in(aside / "site", place, left=aside)
    except OSError as error:
        raise unwritable(error, out) from error
    known = sum(submission.kept for submission in checked)
    return Site(out, len(checked), sum(len(group.tables) for group in groups), known)


def _write(groups: Sequence[BoardProtocol], out: Path, docs: str | None, keep: Keep, earlier: Path) -> None:
    environment = environment_of(docs)
    out.mkdir(parents=True)
    (out / MARK).touch()
    write_text(out / "index.html", page(environment, "index.html.j2", root="", protocols=groups))
    cards = list({group.dataset: _card(group) for group in groups}.values())
    rows = [row for group in groups for row in group.rows]
    write_text(out / "kdbench.bib", downloads.bibtex(rows, cards))
    methods = MethodPages(environment, out, docs, keep, earlier)
    for group in groups:
        with without_collecting():
            _protocol(environment, group, out)
        for table in group.tables:
            for row in table.rows:
                methods.write(row, table)


def _protocol(environment: Environment, group: BoardProtocol, out: Path) -> None:
    folder, root = out / group.folder, "../" * len(group.folder.parts)
    card = _card(group)
    text = page(
        environment,
        "protocol.html.j2",
        root=root,
        protocol=group,
        card=card,
        title=rule_of(card, group.name).title,
        presets=list(dict.fromkeys(row.entry.result.preset for row in group.rows)),
        references=references(group.dataset),
    )
    write_text(folder / "index.html", text)
    records = downloads.records(group)
    write_text(folder / "table.csv", downloads.csv(records))
    write_text(folder / "table.json", downloads.as_json(group, records))
    write_text(folder / "table.tex", downloads.latex(group))


def _card(group: BoardProtocol) -> Card:
    return card_of(group.dataset, group.rows[0].entry.options)
