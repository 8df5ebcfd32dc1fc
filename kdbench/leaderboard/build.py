"""Makes the site: static pages, each complete in itself, that open from the disk and ask nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import __version__
from kdbench.comparison.reference import references
from kdbench.data.card import Card
from kdbench.data.splits import rule_of
from kdbench.errors import DataError, KdbenchError, UsageError
from kdbench.leaderboard import downloads
from kdbench.leaderboard.entry import found, settings_of, slug
from kdbench.leaderboard.files import read_bytes
from kdbench.leaderboard.picture import plain
from kdbench.leaderboard.schema import PICTURE
from kdbench.leaderboard.staging import move_in, staged
from kdbench.leaderboard.tables import BoardProtocol, BoardRow, BoardTable, protocols, sees
from kdbench.leaderboard.tier import Tier
from kdbench.leaderboard.trials import card_of
from kdbench.leaderboard.verdicts import pair_cell, signed
from kdbench.leaderboard.verify import verify
from kdbench.plotting import svg
from kdbench.recipes.resolve import resolve
from kdbench.recipes.shipped import aliases, behind
from kdbench.recipes.track import Track, words_of
from kdbench.registry import registry
from kdbench.runs.unlabelled import for_track
from kdbench.text.wording import counted
from kdbench.util import paths
from kdbench.util.files import unwritable
from kdbench.util.templates import templates

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = ".kdbench-site"
"""Lies in every site, so that a build replaces nothing else."""
_LISTED = 20


@dataclass(frozen=True)
class Site:
    """What was built."""

    folder: Path
    submissions: int
    tables: int


def build(board: Path, out: Path, *, docs: str | None = None) -> Site:
    """Verifies a board and makes its site.

    Args:
        board: The board.
        out: The site's folder; an earlier site there is replaced, whole or not at all.
        docs: Where the documentation lies, as a path from `out`, which every page then links.

    Raises:
        DataError: A submission does not verify; every problem is listed.
        UsageError: `out` holds something else than a site, or `docs` is no path from there.
        RunFailed: The disk is full, or the folder cannot be written.
    """
    if docs is not None and re.match(r"[a-zA-Z][\w+.-]*:|/|\\", docs):
        raise UsageError(f"{docs} is no path from the site's folder", hint="For example: --docs ../index.html")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise UsageError(f"{out} is there and is not a site", hint="Choose another folder: --out DIR")
    checked = verify(found(board))
    wrong = [f"- {submission.folder}: {problem}" for submission in checked for problem in submission.problems]
    if wrong:
        more = [f"- and {len(wrong) - _LISTED} more"] if len(wrong) > _LISTED else []
        raise DataError(
            "the board does not verify:\n" + "\n".join([*wrong[:_LISTED], *more]),
            hint=f"See everything: kdbench leaderboard verify --board {board}",
        )
    groups = protocols(checked)
    place = out.absolute()
    try:
        with staged(place.parent, place.name) as aside:
            _write(groups, aside / "site", docs)
            move_in(aside / "site", place, left=aside)
    except OSError as error:
        raise unwritable(error, out) from error
    return Site(out, len(checked), sum(len(group.tables) for group in groups))


def policy(style: str, script: str) -> str:
    """The content-security policy of every page: its own style and script by their hashes, embedded pictures, no more.

    Hashes instead of `'self'`, which a page that is opened from the disk cannot rely on.
    """
    return (
        f"default-src 'none'; script-src '{_hashed(script)}'; style-src '{_hashed(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _environment(docs: str | None) -> Environment:
    from markupsafe import Markup

    folder = paths.folder("leaderboard") / "site"
    palette, board, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("palette.css", "board.css", "board.js")
    )
    style = palette + board
    environment = templates(folder)
    environment.globals |= {
        # Our own files; nothing of a submission is ever marked as safe.
        "style": Markup(style),
        "script": Markup(script),
        "policy": policy(style, script),
        "version": __version__,
        "docs": docs,
        "area": svg,
        "scatter": svg.scatter,
        "pair_cell": pair_cell,
        "sees": sees,
        "signed": signed,
        "tiers": list(Tier),
        "counted": counted,
        "track_words": words_of,
    }
    return environment


def _write(groups: Sequence[BoardProtocol], out: Path, docs: str | None) -> None:
    environment = _environment(docs)
    out.mkdir(parents=True)
    (out / MARK).touch()
    _page(environment, "index.html.j2", out / "index.html", root="", protocols=groups)
    cards = list({group.dataset: _card(group) for group in groups}.values())
    rows = [row for group in groups for row in group.rows]
    _text(out / "kdbench.bib", downloads.bibtex(rows, cards))
    for group in groups:
        _protocol(environment, group, out)


def _protocol(environment: Environment, group: BoardProtocol, out: Path) -> None:
    folder, root = out / group.folder, "../" * len(group.folder.parts)
    card = _card(group)
    _page(
        environment,
        "protocol.html.j2",
        folder / "index.html",
        root=root,
        protocol=group,
        card=card,
        title=rule_of(card, group.name).title,
        presets=list(dict.fromkeys(row.entry.result.preset for row in group.rows)),
        references=references(group.dataset),
    )
    made = (("table.csv", downloads.csv), ("table.json", downloads.as_json), ("table.tex", downloads.latex))
    for name, make in made:
        _text(folder / name, make(group))
    for table in group.tables:
        for row in table.rows:
            _method(environment, row, table, out)


def _card(group: BoardProtocol) -> Card:
    return card_of(group.dataset, group.rows[0].entry.options)


def _method(environment: Environment, row: BoardRow, table: BoardTable, out: Path) -> None:
    result, folder = row.entry.result, out / row.href
    recipe_file = f"{slug(result.method)}.yaml"
    shipped = _shipped(result.method, result.preset, row.entry.recipe.track)
    needs_recipe = shipped != row.entry.settings
    _page(
        environment,
        "method.html.j2",
        folder / "index.html",
        root="../" * len(Path(row.href).parts),
        row=row,
        command=command(row, f"./{recipe_file}" if needs_recipe else result.method),
        needs_recipe=needs_recipe,
        recipe_file=recipe_file,
        conditions=json.dumps(table.conditions, indent=2, ensure_ascii=False),
        curves=svg.curves(row.entry),
        squares=svg.squares(row.entry),
        picture=_picture(row),
    )
    _text(folder / recipe_file, row.entry.recipe_text)


def command(row: BoardRow, method: str) -> str:
    """The one command that runs a submission again.

    Args:
        row: The submission.
        method: What to give as the method.
    """
    result = row.entry.result
    name, teacher = behind(method) or (method, None)
    parts: Mapping[str, Any] = {
        "method": name,
        "teacher": teacher,
        "dataset": result.dataset,
        "protocol": result.protocol,
        "preset": result.preset,
        "video": result.conditions.get("view"),
        "seeds": len(result.seeds),
        **_track_options(row.entry.recipe.track),
    }
    options = [f"--{key} {shlex.quote(str(value))}" for key, value in parts.items() if value is not None]
    return " ".join(["kdbench run", *options])


def _track_options(track: Track) -> dict[str, Any]:
    """The options that choose a track; the share of a batch is the recipe's."""
    default = Track()
    options = {"labels": track.labels, "teacher-labels": track.teacher_labels, "pairs": track.pairs}
    return {key: value for key, value in options.items() if value != getattr(default, key.replace("-", "_"))}


@lru_cache(maxsize=256)
def _shipped(method: str, preset: str, track: Track) -> str | None:
    """The shipped recipe of that name in a track, as comparable text; None where none is shipped."""
    if method not in (*registry("method").names(), *aliases()):
        return None
    try:
        recipe, _ = for_track(resolve(method, preset, {"track": track.model_dump()}))
        return settings_of(recipe)
    except KdbenchError:
        return None


def _picture(row: BoardRow) -> str | None:
    """The Grad-CAM picture as a data address; None where the submission brings none."""
    if PICTURE not in row.entry.result.files:
        return None
    data = plain(read_bytes(row.entry.folder, PICTURE))
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _page(environment: Environment, template: str, path: Path, **values: Any) -> None:
    _text(path, environment.get_template(template).render(**values))


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
