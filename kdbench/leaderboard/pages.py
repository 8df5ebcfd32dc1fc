"""The page of each submission; one that an earlier site has, made of the same, is taken from there."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError
from kdbench.leaderboard.entry import settings_of, slug
from kdbench.leaderboard.files import read_bytes
from kdbench.leaderboard.keep import Keep
from kdbench.leaderboard.picture import plain
from kdbench.leaderboard.schema import PICTURE
from kdbench.leaderboard.tables import BoardRow, BoardTable
from kdbench.leaderboard.templates import page, write_text
from kdbench.leaderboard.trials import known_sha256
from kdbench.plotting import svg
from kdbench.recipes.resolve import resolve
from kdbench.recipes.shipped import aliases, behind
from kdbench.recipes.track import Track, track_of
from kdbench.registry import registry
from kdbench.runs.unlabelled import for_track
from kdbench.util.own_code import own_code

if TYPE_CHECKING:
    from jinja2 import Environment

_LARGEST = 64 * 2**20


class MethodPages:
    """Writes the pages of submissions.

    Args:
        environment: The templates.
        out: The new site's folder.
        docs: What every page links.
        keep: Where the hashes of pages are kept.
        earlier: An earlier site; a page of it is taken where it is, by its hash, what was made of the same.
    """

    def __init__(self, environment: Environment, out: Path, docs: str | None, keep: Keep, earlier: Path) -> None:
        self._environment, self._out, self._docs, self._keep, self._earlier = environment, out, docs, keep, earlier
        self._methods = frozenset((*registry("method").names(), *aliases()))

    def write(self, row: BoardRow, table: BoardTable) -> None:
        """Writes the page of a submission, and its recipe beside it."""
        result, folder = row.entry.result, self._out / row.href
        recipe_file = f"{slug(result.method)}.yaml"
        known = result.method in self._methods
        shipped = _shipped(result.method, result.preset, track_of(result.conditions)) if known else None
        needs_recipe = shipped != row.entry.settings
        own = {
            "command": command(row, f"./{recipe_file}" if needs_recipe else result.method),
            "needs_recipe": needs_recipe,
            "recipe_file": recipe_file,
        }
        key = self._key(row, own)
        folder.mkdir(parents=True)
        data = self._found(row, key)
        if data is None:
            data = self._made(row, table, own).encode()
            self._keep.add_page(key, hashlib.sha256(data).hexdigest())
        (folder / "index.html").write_bytes(data)
        write_text(folder / recipe_file, row.entry.recipe_text)

    def _key(self, row: BoardRow, own: Mapping[str, Any]) -> str:
        """Hash of all that a page is made of."""
        entry, result = row.entry, row.entry.result
        record = None if row.verification is None else row.verification.model_dump(mode="json")
        known = known_sha256(result.dataset, result.protocol, entry.options)
        # Through its own hash and those of its files, the content stands for the whole submission.
        content = [own_code(), entry.sha256, row.label, str(row.tier), record, known, self._docs, own]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _found(self, row: BoardRow, key: str) -> bytes | None:
        sha256 = self._keep.page(key)
        if sha256 is None:
            return None
        try:
            with (self._earlier / row.href / "index.html").open("rb") as file:
                data = file.read(_LARGEST)
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _made(self, row: BoardRow, table: BoardTable, own: Mapping[str, Any]) -> str:
        return page(
            self._environment,
            "method.html.j2",
            root="../" * len(Path(row.href).parts),
            row=row,
            conditions=json.dumps(table.conditions, indent=2, ensure_ascii=False),
            curves=svg.curves(row.entry),
            squares=svg.squares(row.entry),
            picture=_picture(row),
            **own,
        )


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
        **_track_options(track_of(result.conditions)),
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
    """The shipped recipe of that name in a track, as comparable text; None where it cannot be had in this track."""
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
