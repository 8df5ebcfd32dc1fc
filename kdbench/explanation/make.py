"""Explaining a run: its parts one by one, each kept until what it depends on changes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kdbench.errors import DataError, UsageError, unknown
from kdbench.explanation import ON_REQUEST, PARTS, ExplanationPart
from kdbench.explanation.actions import choose_classes
from kdbench.explanation.page import write_page
from kdbench.explanation.reopen import teacher_weights
from kdbench.explanation.scores import AGAIN
from kdbench.explanation.section import NotShown, Section
from kdbench.explanation.study import Study
from kdbench.recipes.track import is_transfer_alone
from kdbench.runs.find import find_run
from kdbench.runs.store import StoredRun
from kdbench.text.wording import counted
from kdbench.util.files import sha256_of
from kdbench.util.paths import runs_folder
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json, write_json

FORMAT = 3
"""Version of `explain.json`, and of what the parts draw; raised whenever one of them changes."""
FOLDER = "explain"
DRAWS = 3
_EVERY = PARTS | ON_REQUEST


@dataclass(kw_only=True)
class _Kept(Section):
    """A part as `explain.json` keeps it."""

    title: str
    key: str
    seconds: float
    missing: str | None


@dataclass(frozen=True)
class Explanation:
    """An explained run.

    Attributes:
        folder: `explain` in the run's folder.
        record: What its `explain.json` says.
        made: The parts that were made now.
        kept: The parts that were there.
        missing: The parts that this run cannot have, with the reasons.
    """

    folder: Path
    record: dict[str, Any]
    made: tuple[str, ...]
    kept: tuple[str, ...]
    missing: dict[str, str]

    @property
    def page(self) -> Path:
        """The page to look at."""
        return self.folder / "index.html"


def explain(
    run: str | Path,
    *,
    against: str | Path | None = None,
    only: Sequence[str] = (),
    trials: Sequence[str] = (),
    draws: int = DRAWS,
    one_per_class: int | None = None,
    classes: Sequence[str] = (),
    dataset: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Explanation:
    """Shows what a finished run has learnt; what `kdbench explain` does. Nothing is trained.

    What is there and still true is kept, so an interrupted call goes on and a repeated one is quick.

    Args:
        run: Its folder, or a beginning of its name that no other run has.
        against: Another run of the same trials and conditions, for the trials that differ.
        only: Names of the parts (`kdbench.explanation.PARTS`); all by default.
        trials: Trials that are looked at besides the best and the worst.
        draws: Random draws of each corruption.
        one_per_class: Makes one part alone: a sheet of Grad-CAM with one clip each of the first so many classes.
        classes: The same of these classes, by name.
        dataset: Path of the data set's card, where its name does not lead to it.
        data_dir: Where the data sets lie.
        device: `auto`, `cpu` or `cuda`.
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        fresh: Make the parts again even where they are there.
        reporter: Shows the progress; silent by default.

    Raises:
        UsageError: No such run, part, trial or class, a run that cannot be set against this one, or options that
            exclude each other.
        DataError: The data, or files of the run, are missing, broken, or not the run's.
        RunFailed: The pictures cannot be written.
    """
    if draws < 1:
        raise UsageError(f"{counted(draws, 'draw')} of each corruption, expected at least 1", hint="Leave --draws out.")
    asked = one_per_class is not None or bool(classes)
    if asked:
        _check_alone(one_per_class, classes, only=only, trials=trials, against=against)
    for name in only:
        if name not in PARTS:
            raise unknown("part of an explanation", name, PARTS, hint="Leave --only out for all of them.")
    root, reporter = runs_folder(out), reporter or Reporter()
    stored = find_run(run, root)
    other = find_run(against, root) if against is not None else None
    folder = stored.folder / FOLDER
    study = Study(
        run=stored,
        folder=folder,
        against=other,
        chosen=tuple(dict.fromkeys(trials)),
        draws=draws,
        dataset=dataset,
        data_dir=data_dir,
        device=device,
        reporter=reporter,
    )
    _check(study)
    if asked:
        study.actions = choose_classes(study, one_per_class, classes)
    record = _record(folder, stored)
    made, kept = [], []
    for name in ON_REQUEST if asked else [name for name in PARTS if not only or name in only]:
        key = _key(study, _EVERY[name])
        if not fresh and _is_there(record["parts"].get(name), key, folder):
            kept.append(name)
            continue
        reporter.message(_EVERY[name].title)
        record["parts"][name] = _make(study, _EVERY[name], key)
        made.append(name)
        # Written after each part, so that an interrupted call goes on behind it.
        record["parts"] = {name: record["parts"][name] for name in _EVERY if name in record["parts"]}
        write_json(folder / "explain.json", record)
        # Read back, so that the page shows the same now and when it is made from the file later.
        record = read_json(folder / "explain.json")
    write_page(folder / "index.html", record)
    missing = {name: part["missing"] for name, part in record["parts"].items() if part["missing"]}
    return Explanation(folder, record, tuple(made), tuple(kept), missing)


def _check_alone(count: int | None, classes: Sequence[str], **others: object) -> None:
    """What has no effect on the sheet of classes is refused beside it.

    Raises:
        UsageError: An option excludes another.
    """
    if count is not None and classes:
        raise UsageError(
            "--one-per-class and --class exclude each other", hint="Name the classes with --class, or give a number."
        )
    option = "--one-per-class" if count is not None else "--class"
    names = {"only": "--only", "trials": "--trial", "against": "--against"}
    for name, value in others.items():
        if value:
            raise UsageError(
                f"{option} makes one part alone, on which {names[name]} has no effect",
                hint=f"Call kdbench explain once more with {names[name]}: the page holds both.",
            )


def _check(study: Study) -> None:
    """What is wrong with the run or the request is said before anything is made."""
    if not study.run.result.get("view"):
        raise DataError(f"{study.run.folder / 'run.json'} lacks view", hint=AGAIN)
    if is_transfer_alone(study.run.conditions):
        raise UsageError(
            f"{study.run.folder.name} saw no label: its numbers are those of a probe of the embedding, and what is "
            "explained are class scores",
            hint="Explain a run of the same method with labels, for example --labels 1.",
        )
    if who := study.run.conditions.get("predicts"):
        raise UsageError(
            f"{study.run.folder.name} predicts by two networks ({who}), and one network is explained",
            hint="Explain a run of the same method without predicts: --set predicts=null",
        )
    _ = study.scores
    for trial in study.chosen:
        study.row(trial)
    if study.against is not None:
        if study.against.folder.resolve() == study.run.folder.resolve():
            raise UsageError(f"{study.run.folder.name} is set against itself", hint="Name another run with --against.")
        study.other_scores()


def _make(study: Study, part: ExplanationPart, key: str) -> dict[str, Any]:
    module, _, function = part.target.partition(":")
    began, missing = time.perf_counter(), None
    try:
        section: Section = getattr(importlib.import_module(module), function)(study)
    except NotShown as error:
        section, missing = Section(), str(error)
    seconds = round(time.perf_counter() - began, 2)
    kept = _Kept(**vars(section), title=part.title, key=key, seconds=seconds, missing=missing)
    return dataclasses.asdict(kept)


def _record(folder: Path, run: StoredRun) -> dict[str, Any]:
    record = None
    # A damaged one is made again.
    with contextlib.suppress(DataError):
        if (folder / "explain.json").is_file():
            record = read_json(folder / "explain.json")
    parts = _whole_parts(record)
    facts = {key: run.result[key] for key in ("method", "dataset", "protocol", "preset", "seed")}
    facts |= {
        "part": run.conditions["part"],
        "sees": ", ".join(run.conditions["test_modalities"]),
        "accuracy": f"{100 * run.metrics['accuracy']:.2f} %",
    }
    return {"format": FORMAT, "run": run.folder.name, "facts": facts, "parts": parts}


def _whole_parts(record: Any) -> dict[str, Any]:
    """The parts of an earlier `explain.json` that can be shown; a damaged or an older one holds none."""
    if not isinstance(record, dict) or record.get("format") != FORMAT or not isinstance(record.get("parts"), dict):
        return {}
    parts = {name: _whole(part) for name, part in record["parts"].items() if name in _EVERY}
    return {name: part for name, part in parts.items() if part is not None}


def _whole(part: Any) -> dict[str, Any] | None:
    try:
        return dataclasses.asdict(TypeAdapter(_Kept).validate_json(json.dumps(part), strict=True))
    except ValidationError:
        return None


def _is_there(part: dict[str, Any] | None, key: str, folder: Path) -> bool:
    # What was missing may be there by now.
    if part is None or part["key"] != key or part["missing"]:
        return False
    return all((folder / picture["file"]).is_file() for picture in part["pictures"])


def _key(study: Study, part: ExplanationPart) -> str:
    """Hash of what a part depends on: the run's predictions and weights, and the options that it reads."""
    values: dict[str, Any] = {"format": FORMAT, "part": part.target}
    values["files"] = _files(study.run)
    for name in part.reads:
        value = getattr(study, name)
        values[name] = [value.folder.name, _files(value)] if isinstance(value, StoredRun) else value
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _files(run: StoredRun) -> list[str | None]:
    paths = [run.folder / "predictions.parquet", run.folder / "student.safetensors", teacher_weights(run)]
    return [sha256_of(path) if path is not None and path.is_file() else None for path in paths]
