"""The runs of a folder as a person looks after them: what each is, how it stands, and what it takes."""

from __future__ import annotations

import datetime
import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kdbench.errors import DataError, KdbenchError
from kdbench.recipes.pairs import pair_of, title_of
from kdbench.recipes.shipped import former_name
from kdbench.recipes.track import labels_of, words_of
from kdbench.runs.locks import is_locked
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun, stored_runs
from kdbench.runs.tested import check_stored

DAMAGED = "damaged"
STATUSES = (FINISHED, "running", "interrupted", "failed", DAMAGED)
SEARCHES, TEACHERS = "searches", "teachers"
WORDS = ("summary", "source", "name")
"""Keys of a recipe that change no number."""
TRACK = "track"
"""The key of a recipe that is a condition and no setting of the method."""
COLUMNS = (
    "folder",
    "id",
    "name",
    "method",
    "teacher",
    "tuned",
    "settings",
    "dataset",
    "protocol",
    "preset",
    "track",
    "seed",
    "status",
    "accuracy",
    "written",
    "bytes",
    "message",
)
"""What a run is as plain data."""


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        folder: Where it lies.
        id: The end of its folder's name, by which commands know it, too.
        name: What the user called it; empty where nothing was said.
        method: The method.
        teacher: Its teacher; empty without one.
        settings: What it has otherwise than the recipe as kdbench ships it, by dotted key; None where there is none.
        dataset: Name of the data set.
        protocol: The split.
        preset: The size.
        seed: The seed; None for a run whose `run.json` cannot be read.
        status: One of `STATUSES`.
        accuracy: Of the reported network; None unless it is finished.
        made: When it ended, or was last written.
        size_bytes: What its folder takes, its teacher apart.
        message: Why it failed, or what is damaged.
        is_oracle: Whether the test part chose the epoch that is reported on it.
        track: Its track in words; empty for the whole training part.
        is_tuned: Whether a search chose its settings.
        labels: Those that its student sees, as the option `--labels` says it; empty where that is not known.
    """

    folder: Path
    id: str
    name: str
    method: str
    teacher: str
    settings: Mapping[str, Any] | None
    dataset: str
    protocol: str
    preset: str
    seed: int | None
    status: str
    accuracy: float | None
    made: datetime.datetime
    size_bytes: int
    message: str
    is_oracle: bool = False
    track: str = ""
    is_tuned: bool = False
    labels: str = ""

    @property
    def title(self) -> str:
        """The method with its teacher, in one line; see `title_of`."""
        return title_of(self.method, self.teacher or None)

    def plain(self) -> dict[str, Any]:
        """As plain data, for JSON and CSV."""
        values = (
            self.folder.name,
            self.id,
            self.name or None,
            self.method or None,
            self.teacher or None,
            self.is_tuned,
            None if self.settings is None else dict(self.settings),
            self.dataset or None,
            self.protocol or None,
            self.preset or None,
            self.track or None,
            self.seed,
            self.status,
            self.accuracy,
            self.made.isoformat(timespec="seconds"),
            self.size_bytes,
            self.message or None,
        )
        return dict(zip(COLUMNS, values, strict=True))


def overview(root: Path) -> list[RunRow]:
    """Every run of a folder, sorted by folder.

    Those that cannot be read are `damaged`, and so are finished ones whose predictions give other metrics.

    Args:
        root: The folder of runs; one that does not exist holds none.
    """
    runs, broken = stored_runs(root)
    rows = [_row(run) for run in runs] + [_damaged(damaged.folder, damaged.why) for damaged in broken]
    rows += [_damaged(folder, "it holds no run.json") for folder in _unnamed(root)]
    return sorted(rows, key=lambda row: row.folder.name)


def names_of(row: RunRow) -> tuple[str, ...]:
    """What a run may be called by."""
    former = former_name(row.method, row.teacher)
    return tuple(filter(None, (row.folder.name, row.id, row.name, row.method, row.title, former)))


def is_meant(row: RunRow, pattern: str) -> bool:
    """Whether a name or a pattern with `*`, `?` or `[…]` means a run; see `names_of`."""
    return any(name == pattern or fnmatchcase(name, pattern) for name in names_of(row))


def is_oracle(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe, as `run.json` holds it, lets the test part choose the epoch that is reported on it."""
    selection = recipe.get("selection")
    return isinstance(selection, Mapping) and selection.get("rule") == "best-test"


def differing(recipe: Mapping[str, Any], base: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings that a recipe has otherwise than another one, by dotted key; None for one that it lacks.

    The track is none of them: it is no part of the method, and tables name it apart.
    """
    for key in dict.fromkeys([*recipe, *base]):
        mine, other = recipe.get(key), base.get(key)
        if mine == other or (not prefix and key in (*WORDS, TRACK)):
            continue
        if isinstance(mine, Mapping) and mine and isinstance(other, Mapping | None):
            yield from differing(mine, other or {}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", mine


def short(key: str) -> str:
    """A setting as its neighbours let one write it: the student's are plain, a loss's need not say that it is one."""
    return key.removeprefix("student.").replace("losses.", "")


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings for a person: `st.weight=0.5, train.epochs=3, no ce`."""
    return ", ".join(_word(key, value) for key, value in settings.items())


def bytes_of(folder: Path) -> int:
    """What a folder takes."""
    total, folders = 0, [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_symlink() or entry.is_file():
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _word(key: str, value: Any) -> str:
    if value is None:
        return f"no {short(key)}"
    return f"{short(key)}={value_text(value)}"


def value_text(value: Any) -> str:
    """A value as YAML would have it in a line: `0.5`, `{schedule: linear, start: 0}`, `[1, 2]`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {value_text(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(run: StoredRun) -> RunRow:
    result = run.result
    status = run.status
    # A process that was killed leaves `running` behind, and no lock.
    if status == "running" and not is_locked(run.folder):
        status = "interrupted"
    message = str(result.get("message") or "")
    if status == FINISHED:
        try:
            check_stored(run)
        except DataError as error:
            status, message = DAMAGED, error.message
    return RunRow(
        folder=run.folder,
        id=_id(run.folder),
        name=str(result.get("name") or ""),
        method=run.method,
        teacher=run.teacher or "",
        settings=_settings(result),
        dataset=str(result["dataset"]),
        protocol=str(result["protocol"]),
        preset=str(result["preset"]),
        seed=run.seed,
        status=status,
        accuracy=float(run.metrics["accuracy"]) if status == FINISHED else None,
        made=_ended(result) or _written(run.folder),
        size_bytes=bytes_of(run.folder),
        message=message,
        is_oracle=is_oracle(result["recipe"]),
        track=words_of(result["conditions"]),
        is_tuned=bool(result.get("tuning")),
        labels=labels_of(result["conditions"]),
    )


def _damaged(folder: Path, why: str) -> RunRow:
    return RunRow(
        folder, _id(folder), "", "", "", None, "", "", "", None, DAMAGED, None, _written(folder), bytes_of(folder), why
    )


def _settings(result: Mapping[str, Any]) -> dict[str, Any] | None:
    base = base_of(result)
    return None if base is None else dict(differing(result["recipe"], base))


def base_of(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The recipe of a result's method as this kdbench has it, in the result's track; None where it has none.

    Args:
        result: What a `run.json` says.
    """
    # As text: the arguments of a cached function have to be hashable.
    track = json.dumps(result["recipe"].get(TRACK) or {}, sort_keys=True)
    return shipped_recipe(pair_of(result), str(result["preset"]), track)


@functools.lru_cache(maxsize=256)
def shipped_recipe(pair: tuple[str, str | None], preset: str, track: str = "{}") -> Mapping[str, Any] | None:
    """The recipe of a method as this kdbench has it, as `run.json` holds recipes; None where it has none.

    Args:
        pair: Names of the method and of the teacher; None for the method's own.
        preset: The size.
        track: The track's settings, as JSON.
    """
    from kdbench.recipes import shipped
    from kdbench.recipes.resolve import resolve

    try:
        method, teacher = pair
        if shipped.path_of(method) is None:
            return None
        recipe = resolve(method, preset, {TRACK: json.loads(track)} if json.loads(track) else {}, teacher=teacher)
        if recipe.track.is_transfer_alone:
            from kdbench.runs.unlabelled import for_track

            recipe, _ = for_track(recipe)
    except KdbenchError:
        return None
    return recipe.model_dump(mode="json")


def _unnamed(root: Path) -> list[Path]:
    """Folders in which a run began and left no `run.json`."""
    return [
        path.parent
        for path in Path(root).glob("*/.lock")
        if path.parent.name not in (SEARCHES, TEACHERS) and not (path.parent / "run.json").exists()
    ]


def _id(folder: Path) -> str:
    return folder.name.rpartition("-")[2]


def _ended(result: Mapping[str, Any]) -> datetime.datetime | None:
    """When a run ended, as it says itself: a new name writes its file again."""
    try:
        ended = datetime.datetime.fromisoformat(str(result.get("finished")))
    except ValueError:
        return None
    return ended if ended.tzinfo else ended.replace(tzinfo=datetime.UTC)


def _written(folder: Path) -> datetime.datetime:
    path = folder / "run.json"
    seconds = (path if path.exists() else folder).stat().st_mtime
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
