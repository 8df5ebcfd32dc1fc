"""What a comparison needs of a run's predictions, and where that of many runs is kept between two comparisons.

It is kept under the hash of the file of predictions. That file is hashed whenever its run is read, so what is found
under its hash is of that file and no other: nothing here can be out of date. A run keeps its own when it ends. Without
the file of the keep, or where it cannot be used, everything is read again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench import __version__
from kdbench.errors import DataError
from kdbench.runs.damage import damaged
from kdbench.runs.store import StoredRun, stored_run
from kdbench.runs.tested import PREDICTIONS, Tested, is_as_written, score_together, tested_all
from kdbench.statistics.scores import MAP, contributions
from kdbench.util.beside import beside, has_another_core
from kdbench.util.paths import cache_dir

_FORMAT = f"1 of {__version__}"
"""Changes with what is computed, so that another kdbench takes nothing of this one's."""
_WORTH = 200
"""Fewer runs than that are read as fast as they are found again."""
_MOST = 100_000
_WORTH_HELP = 1500
"""Runs to read from which on a second process pays: it takes a second to start."""
_TO_START = 600
"""Runs that are read while it starts."""
_AT_A_TIME = 50
_SCORED = 64
"""Runs that are scored at once."""
_A_QUERY = 500
_WAIT_SECONDS = 5


@dataclass(frozen=True)
class Condensed:
    """A run's predictions without their logits.

    Attributes:
        trials: Trial ids, sorted, `(N,)`.
        labels: True classes `(N,)`.
        predicted: Predicted classes `(S, N)`; S > 1 shuffles where batch mates change a prediction.
        precision: What each trial contributes to the mAP, `(N,)`, averaged over shuffles.
    """

    trials: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    precision: np.ndarray


def condensed(ones: Sequence[Tested]) -> list[Condensed]:
    """Leaves the logits out of the predictions of some runs."""
    score_together(ones, [MAP])
    return [Condensed(one.trials, one.labels, one.predicted.astype(np.int32), one.scores[MAP]) for one in ones]


def scores_of(ones: Sequence[Condensed], metric: str) -> np.ndarray:
    """What each trial contributes to a metric, averaged over shuffles; the mean over the trials is the metric.

    Args:
        ones: R runs that were tested on the same N trials.
        metric: One of `METRICS`.

    Returns:
        `(R, N)`.
    """
    if metric == MAP:
        return np.stack([one.precision for one in ones])
    values = np.empty((len(ones), len(ones[0].trials)))
    for place, some in _alike(ones):
        values[place] = contributions(np.stack([one.predicted for one in some]), some[0].labels, metric).mean(axis=1)
    return values


def _alike(ones: Sequence[Condensed]) -> Iterator[tuple[list[int], list[Condensed]]]:
    """Runs with equally many shuffles, some at a time, and their places."""
    by_shuffles: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(ones):
        by_shuffles[len(one.predicted)].append(place)
    for places in by_shuffles.values():
        for begin in range(0, len(places), _SCORED):
            part = places[begin : begin + _SCORED]
            yield part, [ones[place] for place in part]


class Keep:
    """What is known of the predictions of some runs; a context, at whose end what was read anew is kept.

    Args:
        runs: The runs that will be read.
        path: The file; by default in the user's cache folder.
    """

    def __init__(self, runs: Iterable[StoredRun], path: Path | None = None) -> None:
        self._path = path or cache_dir() / "predictions.db"
        self._runs = [run for run in runs if is_as_written(run)]
        self._hashes = {id(run): str(run.result["files"][PREDICTIONS]) for run in self._runs}
        self._known: dict[str, Condensed] = {}
        self._new: dict[str, Condensed] = {}
        self._read: dict[int, Condensed] = {}

    def __enter__(self) -> Keep:
        if len(self._hashes) >= _WORTH:
            self._find(self._runs)
            missing = [run for run in self._runs if self._hashes[id(run)] not in self._known]
            if len(missing) >= _WORTH_HELP and has_another_core():
                self._read_with_help(missing)
        return self

    def __exit__(self, *_: object) -> None:
        if len(self._hashes) >= _WORTH:
            with contextlib.suppress(OSError, sqlite3.Error):
                self.write()

    def write(self) -> None:
        """Keeps what was read anew.

        Raises:
            OSError: The folder of the file cannot be made.
            sqlite3.Error: The file cannot be written.
        """
        if self._new:
            with self._opened() as store:
                _add(store, self._new)
            self._new = {}

    def _find(self, runs: Iterable[StoredRun]) -> None:
        with contextlib.suppress(OSError, sqlite3.Error, ValueError), self._opened() as store:
            self._known |= dict(_found(store, list({self._hashes[id(run)] for run in runs})))

    def _read_with_help(self, missing: Sequence[StoredRun]) -> None:
        """Reads a part of many runs, while another process reads and keeps the others; what it leaves is read later."""
        own = (len(missing) + _TO_START) // 2
        theirs = missing[own:]
        told = {"folders": [str(run.folder.absolute()) for run in theirs], "path": str(self._path.absolute())}
        with beside("kdbench.runs.condensed:keep_these", told):
            for begin in range(0, own, _AT_A_TIME):
                some = missing[begin : min(begin + _AT_A_TIME, own)]
                for run, one in zip(some, self.read_all(some), strict=True):
                    if isinstance(one, Condensed):
                        self._read[id(run)] = one
        self._find(theirs)

    def read(self, run: StoredRun) -> Condensed:
        """A run's predictions, held to its metrics.

        Raises:
            DataError: As of `kdbench.runs.tested.tested`.
        """
        (one,) = self.read_all([run])
        if isinstance(one, DataError):
            raise one
        return one

    def read_all(self, runs: Sequence[StoredRun]) -> list[Condensed | DataError]:
        """As `read`, of several runs, which are scored together; an error stands in the place of a run that has one."""
        answers = {place: kept for place, run in enumerate(runs) if (kept := self._found(run)) is not None}
        new = [place for place in range(len(runs)) if place not in answers]
        whole: dict[int, Tested] = {}
        for place, one in zip(new, tested_all([runs[place] for place in new]), strict=True):
            if isinstance(one, DataError):
                answers[place] = one
            else:
                whole[place] = one
        for place, short in zip(whole, condensed(list(whole.values())), strict=True):
            answers[place] = short
            if (sha256 := self._hashes.get(id(runs[place]))) is not None:
                self._new[sha256] = short
        return [answers[place] for place in range(len(runs))]

    def _found(self, run: StoredRun) -> Condensed | DataError | None:
        """What is kept of a run, whose file is the one that it was kept of; None where nothing is."""
        if id(run) in self._read:
            return self._read[id(run)]
        known = self._known.get(self._hashes.get(id(run), ""))
        if known is None:
            return None
        try:
            # Its hash is looked at here.
            here = run.file(PREDICTIONS).is_file()
        except DataError as error:
            return error
        return known if here else damaged(f"{PREDICTIONS} cannot be read: it is missing")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS)) as store, store:
            store.execute("CREATE TABLE IF NOT EXISTS format (name TEXT)")
            if store.execute("SELECT name FROM format").fetchall() != [(_FORMAT,)]:
                store.execute("DELETE FROM format")
                store.execute("INSERT INTO format VALUES (?)", (_FORMAT,))
                store.execute("DROP TABLE IF EXISTS trials")
                store.execute("DROP TABLE IF EXISTS runs")
            store.execute("CREATE TABLE IF NOT EXISTS trials (id INTEGER PRIMARY KEY, ids TEXT UNIQUE)")
            store.execute(
                "CREATE TABLE IF NOT EXISTS runs "
                "(sha256 TEXT PRIMARY KEY, trials INTEGER, labels BLOB, predicted BLOB, precision BLOB)"
            )
            yield store


def keep_these(told: Mapping[str, Any]) -> None:
    """Reads and keeps the predictions of runs; what a second process does (`Keep`).

    Args:
        told: `folders`, those of the runs; `path`, the file of the keep.
    """
    runs = []
    for folder in told["folders"]:
        with contextlib.suppress(DataError):
            runs.append(stored_run(Path(folder)))
    keep = Keep(runs, Path(told["path"]))
    for begin in range(0, len(runs), _AT_A_TIME):
        keep.read_all(runs[begin : begin + _AT_A_TIME])
    keep.write()


def keep_ended(folder: Path, result: Mapping[str, Any]) -> None:
    """Keeps the predictions of a run that has just ended, so that no comparison has to read them.

    Where that cannot be, a comparison reads them.

    Args:
        folder: Where its files lie.
        result: What its `run.json` says.
    """
    run = StoredRun(folder, result)
    keep = Keep([run])
    with contextlib.suppress(DataError, OSError, sqlite3.Error):
        keep.read(run)
        keep.write()


def _found(store: sqlite3.Connection, hashes: Sequence[str]) -> Iterator[tuple[str, Condensed]]:
    trials = {number: np.asarray(json.loads(ids), dtype=str) for number, ids in store.execute("SELECT * FROM trials")}
    for begin in range(0, len(hashes), _A_QUERY):
        some = hashes[begin : begin + _A_QUERY]
        marks = ", ".join("?" * len(some))
        for sha256, of, labels, predicted, precision in store.execute(
            f"SELECT sha256, trials, labels, predicted, precision FROM runs WHERE sha256 IN ({marks})", some
        ):
            names, classes = trials[of], np.frombuffer(predicted, np.int32)
            yield (
                sha256,
                Condensed(
                    names,
                    np.frombuffer(labels, np.int64),
                    classes.reshape(-1, len(names)),
                    np.frombuffer(precision, np.float64),
                ),
            )


def _add(store: sqlite3.Connection, new: Mapping[str, Condensed]) -> None:
    numbers: dict[str, int] = {}
    for sha256, one in new.items():
        ids = json.dumps(one.trials.tolist())
        if ids not in numbers:
            store.execute("INSERT OR IGNORE INTO trials (ids) VALUES (?)", (ids,))
            (numbers[ids],) = store.execute("SELECT id FROM trials WHERE ids = ?", (ids,)).fetchone()
        arrays = (one.labels.astype(np.int64), one.predicted.astype(np.int32), one.precision.astype(np.float64))
        store.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
            (sha256, numbers[ids], *(array.tobytes() for array in arrays)),
        )
    # The oldest go first.
    store.execute("DELETE FROM runs WHERE rowid <= (SELECT max(rowid) FROM runs) - ?", (_MOST,))
