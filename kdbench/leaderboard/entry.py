"""Where a submission lies, how it is named by its content, and what it holds."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from kdbench.errors import DataError, UsageError
from kdbench.leaderboard.curves import Curve, curves_of
from kdbench.leaderboard.faults import fault
from kdbench.leaderboard.files import check_depth, read_bytes, read_json
from kdbench.leaderboard.outline import outline, unit
from kdbench.leaderboard.predictions import SubmittedPredictions, read_predictions
from kdbench.leaderboard.schema import ENVIRONMENT, RECIPE, RESULT, SCHEMA_VERSION, Environment, Submission
from kdbench.recipes.schema import Recipe
from kdbench.runs.condensed import Condensed, condensed
from kdbench.runs.overview import WORDS
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun
from kdbench.runs.tested import Tested
from kdbench.util import plain_yaml
from kdbench.util.validation import in_a_line

_LEVELS = 4
"""Folders below `submissions/`: data set, protocol, method, id."""
_DEEPEST_FOLDER = 8
_MOST_FOLDERS = 100_000
_ENVIRONMENTS = TypeAdapter(tuple[Environment, ...])


@dataclass(frozen=True)
class BoardEntry:
    """A submission on the disk.

    Attributes:
        folder: Where it lies.
        result: What its `result.json` says.
        sha256: Hash of the whole content of `result.json`, of which the id is the start.
        has_curves: Whether `result` has the learning curves, which are most of it, and which only its own page shows.
    """

    folder: Path
    result: Submission
    sha256: str
    has_curves: bool = True

    @property
    def options(self) -> Mapping[str, Any]:
        """Knobs of a generated data set."""
        options = self.result.conditions["data"].get("options")
        return options if isinstance(options, Mapping) else {}

    @property
    def predictions(self) -> SubmittedPredictions:
        """Every seed's predictions.

        Raises:
            DataError: The file is missing, broken, or has other columns.
        """
        if isinstance(self._predictions, DataError):
            raise self._predictions
        return self._predictions

    def unpack(self) -> None:
        """Reads the predictions, or why they cannot be read, for whoever asks for them later."""
        _ = self._predictions

    @cached_property
    def _predictions(self) -> SubmittedPredictions | DataError:
        try:
            return read_predictions(self.folder, len(self.result.classes))
        except DataError as error:
            # A table that takes a minute to refuse is not read twice.
            return error

    @cached_property
    def runs(self) -> tuple[StoredRun, ...]:
        """The run of each seed, as far as a submission keeps what its `run.json` said; `scored` has its predictions."""
        result, recipe = self.result, self.written_recipe
        shared = {key: getattr(result, key) for key in ("method", "dataset", "protocol", "preset", "conditions")}
        return tuple(
            StoredRun(
                self.folder,
                shared
                | {"recipe": recipe, "status": FINISHED, **trained.model_dump(include={"seed", "metrics"})}
                | trained.claims.model_dump(include={"teacher", "teachers", "cost"}),
            )
            for trained in result.seeds
        )

    def scored(self, seed: int) -> Condensed:
        """A seed's predictions without their logits; it has to hold every trial once a shuffle."""
        if seed not in self._scored:
            (self._scored[seed],) = condensed([self._tested(seed)])
        return self._scored[seed]

    def outline(self, seed: int) -> np.ndarray:
        """An outline of a seed's logits, by which copies are found (`kdbench.leaderboard.outline`)."""
        if seed not in self._outlines:
            self._outlines[seed] = outline(self.unit(seed))
        return self._outlines[seed]

    def unit(self, seed: int) -> np.ndarray:
        """A seed's logits as a vector of length 1 (`kdbench.leaderboard.outline`)."""
        if seed not in self._units:
            self._units[seed] = unit(self.logits(seed))
        return self._units[seed]

    def logits(self, seed: int) -> np.ndarray:
        """A seed's logits in the order of its trials, the mean of its shuffles, `(N, K)`."""
        mean: np.ndarray = self._tested(seed).logits.mean(axis=0, dtype=np.float32)
        return mean

    def _tested(self, seed: int) -> Tested:
        own = self.predictions.of_seed(seed)
        trials = len(own.trial) // len(np.unique(own.shuffle))
        return Tested(own.trial[:trials], own.label[:trials], own.logits.reshape(-1, trials, own.logits.shape[1]))

    @cached_property
    def _scored(self) -> dict[int, Condensed]:
        return {}

    @cached_property
    def _outlines(self) -> dict[int, np.ndarray]:
        return {}

    @cached_property
    def _units(self) -> dict[int, np.ndarray]:
        return {}

    @cached_property
    def curves(self) -> Sequence[Curve]:
        """The learning curves that its runs report."""
        return curves_of(self.result if self.has_curves else load(self.folder).result)

    def settled(self, shared: dict[bytes, np.ndarray]) -> BoardEntry:
        """The same, of one that stands, without what only its verification needs: thousands fit into memory.

        Args:
            shared: Test trials and labels by their bytes; submissions that have the same hold one array, kept here.
        """
        seeds = [
            seed.model_copy(update={"claims": seed.claims.model_copy(update={"curves": ()})})
            for seed in self.result.seeds
        ]
        light = replace(self, result=self.result.model_copy(update={"seeds": tuple(seeds)}), has_curves=False)
        names = [seed.seed for seed in seeds]
        return light.knowing(
            recipe=self.recipe,
            written_recipe=self.written_recipe,
            settings=self.settings,
            machines=self.machines,
            curves=self.curves,
            _scored={seed: _sharing(self.scored(seed), shared) for seed in names},
            _outlines={seed: self.outline(seed) for seed in names},
        )

    def knowing(self, **known: Any) -> BoardEntry:
        """Itself, with some of its properties known, which then are not read from its files."""
        vars(self).update(known)
        return self

    @cached_property
    def environments(self) -> tuple[Environment, ...]:
        """What the seeds ran on.

        Raises:
            DataError: The file is missing, or not what its schema says.
        """
        content = read_json(self.folder, ENVIRONMENT)
        try:
            return _ENVIRONMENTS.validate_python(content)
        except ValidationError as error:
            told = in_a_line(error, tuple[Environment, ...], content)
            raise fault(f"{ENVIRONMENT} is not what its schema says: {told}") from error

    @cached_property
    def machines(self) -> list[str]:
        """The hardware that the seeds ran on; errors as of `environments`."""
        return list(dict.fromkeys(environment.machine for environment in self.environments))

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe.

        Raises:
            DataError: It is missing, or no resolved recipe.
        """
        try:
            content = plain_yaml.parse(self.recipe_text, RECIPE)
        except UsageError as error:
            raise fault(error.message) from error
        check_depth(content, RECIPE)
        try:
            return Recipe.model_validate(content)
        except ValidationError as error:
            raise fault(f"{RECIPE} is not a resolved recipe: {in_a_line(error, Recipe, content)}") from error

    @cached_property
    def written_recipe(self) -> dict[str, Any]:
        """The resolved recipe as a run's `run.json` has it; errors as of `recipe`."""
        return self.recipe.model_dump(mode="json")

    @cached_property
    def settings(self) -> str:
        """What a recipe sets, as comparable text, without its name and what it says of itself.

        Raises:
            DataError: As `recipe`.
        """
        return settings_of(self.recipe)

    @cached_property
    def recipe_text(self) -> str:
        """The resolved recipe as it was submitted.

        Raises:
            DataError: It is missing or no text.
        """
        try:
            return read_bytes(self.folder, RECIPE).decode()
        except UnicodeDecodeError as error:
            raise fault(f"{RECIPE} is not text: {error}") from error


def _sharing(one: Condensed, shared: dict[bytes, np.ndarray]) -> Condensed:
    trials, labels = (shared.setdefault(array.tobytes(), array) for array in (one.trials, one.labels))
    return replace(one, trials=trials, labels=labels)


def settings_of(recipe: Recipe) -> str:
    """A recipe as text that is equal for recipes of the same numbers."""
    return json.dumps(recipe.model_dump(mode="json", exclude=set(WORDS)), sort_keys=True)


def place(result: Submission) -> Path:
    """Folder of a submission below `submissions/`."""
    return Path(slug(result.dataset), slug(result.protocol), slug(result.method), result.id)


def slug(text: str) -> str:
    """A name as one folder's name, whatever it holds."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:80] or "_"


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a `result.json`: a hash of everything in it but the id."""
    return id_of(content_sha256(content))


def id_of(sha256: str) -> str:
    """The id of a content that has this hash."""
    return sha256[:12]


def content_sha256(content: Mapping[str, Any]) -> str:
    """The whole hash of which an id is the start: two contents with one id can be made, with one hash they cannot."""
    rest = {key: value for key, value in content.items() if key != "id"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def board_folder(given: Path | None) -> Path:
    """The board: what was given, or `./leaderboard`.

    Raises:
        UsageError: There is no such folder.
    """
    folder = given or Path("leaderboard")
    if not folder.is_dir():
        raise UsageError(f"there is no board in {folder}", hint="Name its folder: --board FOLDER")
    return folder


def found(board: Path) -> list[Path]:
    """Folders of all submissions of a board, sorted.

    One is whatever holds a `result.json`, whatever lies at the depth of a submission, and every link, which is
    followed nowhere. Names that begin with a dot are what an unfinished `add` left.

    Raises:
        UsageError: There are more folders than any board has.
    """
    return sorted(_walk(board / "submissions", everything=True))


def _walk(top: Path, *, everything: bool) -> Iterator[Path]:
    """Folders that hold a `result.json`; with `everything`, whatever else may be meant as a submission too."""
    folders, seen = [(top, 0)], 0
    while folders:
        here, depth = folders.pop()
        seen += 1
        if seen > _MOST_FOLDERS:
            raise UsageError(
                f"{top} holds more than {_MOST_FOLDERS} folders, which no board does",
                hint="Name the folder of a board, or of one submission.",
            )
        try:
            items = [item for item in os.scandir(here) if not item.name.startswith(".")]
        except OSError:
            # One that is not there holds nothing; one that may not be read is named when it is loaded.
            if depth and everything:
                yield here
            continue
        if any(item.name == RESULT for item in items) or (everything and items and depth == _LEVELS):
            yield here
        for item in items:
            if item.is_symlink():
                if everything and depth < _LEVELS:
                    yield Path(item.path)
            elif item.is_dir(follow_symlinks=False) and depth < _DEEPEST_FOLDER:
                folders.append((Path(item.path), depth + 1))


def below(paths: list[Path]) -> Iterator[Path]:
    """The submissions that some paths name: each is one, or holds some.

    Raises:
        UsageError: A path holds none.
    """
    for path in paths:
        folders = [path] if os.path.lexists(path / RESULT) else sorted(_walk(path, everything=False))
        if not folders:
            raise UsageError(
                f"there is no submission in {path}: none of its folders holds a {RESULT}",
                hint="Make one of finished runs: kdbench leaderboard add RUN…",
            )
        yield from folders


def is_linked(folder: Path) -> bool:
    """Whether a submission's folder is a link or lies in one, which could lead out of the board, or to another's."""
    return any(path.is_symlink() for path in (folder, *folder.parents[:3]))


def load(folder: Path) -> BoardEntry:
    """Reads a submission's `result.json`.

    Raises:
        DataError: It is missing, of another version, or not what the schema says; every fault is listed. Or its folder
            is a link.
    """
    if is_linked(folder):
        raise fault("its folder is a link, or lies in one")
    content = read_json(folder, RESULT)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise fault(f"{RESULT} has schema version {version!r}, and this kdbench reads {SCHEMA_VERSION}")
    try:
        return BoardEntry(folder, Submission.model_validate(content), content_sha256(content))
    except ValidationError as error:
        told = in_a_line(error, Submission, content)
        raise fault(f"{RESULT} is not what its schema says: {told}") from error
