"""What every data set promises: parts that share nothing, a label for every trial, streams of one performance."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdbench.data.card import load_card
from kdbench.data.readers.base import Reader, Recording, Trial, check
from kdbench.data.splits import Split, protocol_names, rule_of, split
from kdbench.data.store import source, trial_file
from kdbench.data.store.progress import note
from kdbench.data.store.source import Source
from kdbench.data.store.verify import verify
from kdbench.errors import DataError
from kdbench.registry import registry
from kdbench.semantic_spaces.table import read_table
from kdbench.testing.base import CheckSuite, Failed, Skipped, checks_in
from kdbench.testing.demands import nothing_drawn
from kdbench.text.wording import counted, inflected, some
from kdbench.types import VIDEO

FRAMES = 4
SEEDS = (0, 1)
LARGEST_RATIO = 2.0
"""By which a trial's video may be longer or shorter than its sensors, beside the data set's own median."""
LEAST_CORRELATION = 0.5
STEADY = 0.02
"""Trials whose lengths differ by less than this share tell nothing."""
VOUCHED_TRIALS = 24
SHOWN = 3
TEST, VALIDATION = "test", "validation"


class DatasetCase:
    """One data set.

    Args:
        name: Its registered name, or the path of its card.
        component: Not used: a data set goes by its card.
        data_dir: A folder that holds the data set's folder; searched first.
        options: Changes of a generated data set's options.
        exclude_broken: Leave out trials whose files are missing or broken, as a run does that is told to.
        trials: How many recordings are read with their video, spread over all of them. By default all where only that
            tells whether the files are whole, and some where they are in a manifest, packed or generated.
    """

    def __init__(
        self,
        name: str,
        component: Any = None,  # noqa: ARG002
        *,
        data_dir: Path | str | None = None,
        options: Mapping[str, Any] | None = None,
        exclude_broken: bool = False,
        trials: int | None = None,
    ) -> None:
        self.name = name
        self.data_dir = None if data_dir is None else Path(data_dir)
        self.options = options
        self.exclude_broken = exclude_broken
        self.unreadable: dict[str, str] = {}
        """What is wrong with a recording that cannot be read, by trial."""
        card = load_card(name)
        self._reader: Reader = registry("dataset").get(card.reader)(card, None, options)
        # A generated data set has the card of its sizes.
        self.card = self._reader.card
        self.count = trials

    @functools.cached_property
    def source(self) -> Source:
        """Where the recordings are.

        Raises:
            Skipped: They are not there.
        """
        recordings = source.find(load_card(self.name), self.data_dir, self.options)
        if recordings is None:
            hint = source.missing(self.card, self.data_dir).hint or ""
            raise Skipped(f"the recordings of '{self.card.name}' are not there\n{hint.partition(chr(10))[0]}")
        return recordings

    @functools.cached_property
    def trials(self) -> list[Trial]:
        """Every trial; of the recordings where the card does not say."""
        return self._reader.trials() if self.card.trials is not None else self.source.reader.trials()

    @functools.cached_property
    def index(self) -> pd.DataFrame:
        """One row per trial: id, label and columns; without those that are left out."""
        kept = self.trials
        if self.exclude_broken and (self.lacking or self.series is not None):
            kept = [trial for trial in kept if trial.id not in self.lacking and trial.id not in self.unreadable]
        if not kept:
            raise Skipped("no trial has all of its files")
        return pd.DataFrame([{"trial": trial.id, "label": trial.label, **trial.columns} for trial in kept])

    @functools.cached_property
    def lacking(self) -> dict[str, list[str]]:
        """Files that are missing, by trial; of each view that is there at all."""
        root = self.source.root
        if root is None or self.source.packed is not None:
            return {}
        views = (None, *self.source.views)
        wanted = {
            trial.id: {p for view in views for p in self.source.reader.files(trial, view)} for trial in self.trials
        }
        absent = {path for path in set().union(*wanted.values()) if not (root / path).is_file()}
        return {trial: sorted(paths & absent) for trial, paths in wanted.items() if paths & absent}

    @functools.cached_property
    def whole(self) -> list[Trial]:
        """The trials that have all of their files.

        Raises:
            Skipped: None has.
        """
        whole = [trial for trial in self.trials if trial.id not in self.lacking]
        if not whole:
            raise Skipped(
                f"none of the {counted(len(self.trials), 'trial')} has all of its files: {_listed(self.lacking)}"
            )
        return whole

    @property
    def some(self) -> list[Trial]:
        """The whole trials that are read with their video, spread over all of them."""
        vouched = self.card.manifest is not None or self.source.root is None or self.source.packed is not None
        count = self.count or (VOUCHED_TRIALS if vouched else len(self.whole))
        chosen = np.linspace(0, len(self.whole) - 1, min(count, len(self.whole))).astype(int)
        return [self.whole[position] for position in chosen]

    def splits(self) -> Iterator[tuple[str, str, Split]]:
        """Every protocol by name, with and without a validation part, at several seeds; with words for messages."""
        for name in protocol_names(self.card):
            for validation, seed in ((False, 0), *((True, seed) for seed in SEEDS)):
                words = f"protocol '{name}'" + (f" with a validation part (seed {seed})" if validation else "")
                yield name, words, split(self.card, self.index, name, validation=validation, seed=seed)

    @functools.cached_property
    def recordings(self) -> dict[str, dict[str, Recording]]:
        """The chosen trials as read, by view and id; sensors alone where there is no view."""
        return {
            str(view): {trial.id: read for trial in self.some if (read := self._tried(trial, view)) is not None}
            for view in self.source.views or (None,)
        }

    @functools.cached_property
    def series(self) -> dict[str, str]:
        """Hash of every whole trial's series, by id; every one is read, and those that cannot be are left out."""
        with ThreadPoolExecutor() as pool:
            read = zip(self.whole, pool.map(lambda trial: self._tried(trial, None), self.whole), strict=True)
            return {trial.id: trial_file.series_sha256(one.series) for trial, one in read if one is not None}

    def _tried(self, trial: Trial, view: str | None) -> Recording | None:
        """One trial as read; None where it is broken, which `unreadable` then tells."""
        try:
            return self.read(trial, view)
        except DataError as error:
            self.unreadable[trial.id] = error.message
            return None

    def lacks(self, trial: str, view: str) -> bool:
        """Whether a trial was recorded without a view."""
        (one,) = (each for each in self.whole if each.id == trial)
        return f"{VIDEO}:{view}" in self.source.reader.lacks(one)

    def read(self, trial: Trial, view: str | None) -> Recording:
        """One trial as read, held against the card."""
        recording = self.source.reader.read(trial, view, FRAMES)
        check(recording, self.source.card, trial.id, view, FRAMES, self.source.reader.lacks(trial))
        return recording


def labels_every_trial(case: DatasetCase) -> None:
    """Trials have ids of their own and a label of the card; every class has trials and a name of its own."""
    ids, names = [trial.id for trial in case.trials], case.card.class_names
    if not ids:
        raise Failed("it has no trials")
    if repeated := _repeated(ids):
        raise Failed(f"several trials are called {_some(repeated)}")
    if repeated := _repeated(names):
        raise Failed(f"several classes are called {_some(repeated)}")
    wrong = [trial.id for trial in case.trials if not 0 <= trial.label < len(names)]
    if wrong:
        raise Failed(f"the label of {_some(wrong)} is none of 0 … {len(names) - 1}")
    empty = [name for label, name in enumerate(names) if label not in set(case.index["label"])]
    if empty:
        raise Failed(f"no trial shows {_some(empty)}")


def protocols_do_not_leak(case: DatasetCase) -> None:
    """No trial, and no value that a protocol keeps apart, is in two parts of it."""
    by_trial = case.index.set_index("trial")
    for protocol, words, parts in case.splits():
        declared = rule_of(case.card, protocol).disjoint
        named = [column for column in _named_apart(case, protocol) if column not in declared]
        for (first, a), (second, b) in itertools.combinations(parts.parts().items(), 2):
            if shared := sorted(set(a) & set(b)):
                raise Failed(f"{words}: {_some(shared)} is in {first} and in {second}")
            # A name such as cross_scene speaks of the test part; what training holds out of itself, the rule says.
            for column in (*declared, *(named if TEST in {first, second} else ())):
                common = set(by_trial.loc[list(a), column]) & set(by_trial.loc[list(b), column])
                if common:
                    raise Failed(f"{words}: {column} {_some(sorted(common))} is in {first} and in {second}")


def parts_share_no_recording(case: DatasetCase) -> None:
    """No recording of the sensors is in two parts under two names, as where several cameras see one performance.

    A protocol that declares `sensors_leak` may test on recordings that train.
    """
    same: dict[str, list[str]] = {}
    wholly_without = {trial.id for trial in case.whole if case.card.sensors.keys() <= case.source.reader.lacks(trial)}
    for trial, sha256 in case.series.items():
        if trial in wholly_without:
            continue
        same.setdefault(sha256, []).append(trial)
    several = [trials for trials in same.values() if len(trials) > 1]
    for protocol, words, parts in case.splits() if several else ():
        where = {trial: name for name, trials in parts.parts().items() for trial in trials}
        if rule_of(case.card, protocol).sensors_leak:
            where = {trial: name for trial, name in where.items() if name != TEST}
        for trials in several:
            placed = {trial: where[trial] for trial in trials if trial in where}
            if len(names := sorted(set(placed.values()))) > 1:
                raise Failed(f"{words}: {_some(placed)} are one recording, and are in {' and in '.join(names)}")


def parts_know_every_class(case: DatasetCase) -> None:
    """Every part of every protocol shows every class but, at test and in validation, exactly those declared absent."""
    labels = case.index.set_index("trial")["label"]
    for protocol, words, parts in case.splits():
        rule = rule_of(case.card, protocol)
        absent = {TEST: case.card.absent_labels(rule), VALIDATION: case.card.absent_labels(rule.validation)}
        for name, trials in parts.parts().items():
            seen, excused = set(labels.loc[list(trials)]), absent.get(name, frozenset())
            names = case.card.class_names
            if lacking := [text for label, text in enumerate(names) if label not in seen | excused]:
                raise Failed(f"{words}: its {name} part never shows {_some(lacking)}")
            if shown := [names[label] for label in sorted(seen & excused)]:
                raise Failed(f"{words}: its {name} part shows {_some(shown)}, which it declares absent")


def label_vectors_cover_the_classes(case: DatasetCase) -> None:
    """The table of label vectors that the card names has every class."""
    if case.card.label_vectors is None:
        raise Skipped("the card names no table of label vectors")
    table = read_table(case.card.folder / f"label_vectors_{case.card.label_vectors}.csv")
    lacking = [name for name in case.card.class_names if name not in table]
    if lacking:
        raise Failed(f"the label vectors '{case.card.label_vectors}' lack {_some(lacking)}")


def files_are_sound(case: DatasetCase) -> None:
    """No file is missing, and every file is the one in the manifest."""
    if case.source.root is None:
        raise Skipped("it is generated: it has no files")
    report = verify(case.card, case.source, [], shown=False)
    wrong = [f"{path}: {problem}" for path, problem in report.differing.items()]
    lost = {path for paths in case.lacking.values() for path in paths}
    wrong += [f"{path} is missing" for path in report.missing if path not in lost]
    if case.lacking and not case.exclude_broken:
        raise Failed(
            f"{counted(len(case.lacking), 'trial')} of {len(case.trials)} "
            f"{inflected(len(case.lacking), 'lacks', 'lack')} files: {_listed(case.lacking)}\nSee them all: kdbench "
            f"data verify {case.name}. Check the others alone: kdbench check {case.name} --exclude-broken"
        )
    if wrong:
        raise Failed(
            f"{counted(len(wrong), 'file')} {inflected(len(wrong), 'is')} not sound: {_some(wrong)}\nSee them "
            f"all: kdbench data verify {case.name}"
        )


def recordings_can_be_read(case: DatasetCase) -> None:
    """Sensors of every trial, and videos of some, can be read and are what the card says."""
    series, views = case.series, case.recordings
    for line in case.source.reader.remarks():
        note(f"Warning: {line}", shown=True)
    if case.unreadable and not case.exclude_broken:
        raise Failed(f"{counted(len(case.unreadable), 'trial')} cannot be read: {_some(case.unreadable.values())}")
    if not series:
        raise Failed("no recording can be read")
    for view, recordings in views.items():
        for trial, recording in recordings.items():
            if recording.clip is not None and recording.clip.std() == 0 and not case.lacks(trial, view):
                raise Failed(f"trial {trial}: every pixel of the {view} video is the same")


def trials_are_paired_in_time(case: DatasetCase) -> None:
    """The streams of a trial last equally long, as those of one performance do."""
    if case.card.files is not None and case.card.files.overlap.otherwise == "share":
        raise Skipped("the card has streams aligned by their share of a trial's length, however long each lasts")
    lengths = _lengths(case)
    if not lengths:
        raise Skipped("no two streams of a trial have a known length")
    for (first, second), pairs in lengths.items():
        trials, a, b = zip(*pairs, strict=True)
        ratios = np.log(np.array(b) / np.array(a))
        off = np.abs(ratios - np.median(ratios))
        if np.max(off) > np.log(LARGEST_RATIO):
            worst = int(np.argmax(off))
            raise Failed(
                f"trial {trials[worst]}: {first} lasts {a[worst]:.1f} s and {second} {b[worst]:.1f} s, "
                f"where {second} lasts {np.exp(np.median(ratios)):.2f} times as long elsewhere"
            )
        if len(trials) < 8 or min(np.std(np.log(a)), np.std(np.log(b))) < STEADY:
            continue
        correlation = float(np.corrcoef(np.log(a), np.log(b))[0, 1])
        if correlation < LEAST_CORRELATION:
            raise Failed(
                f"the lengths of {first} and {second} have a correlation of {correlation:.2f} over "
                f"{counted(len(trials), 'trial')}: they seem to be of unlike performances"
            )


def reading_is_deterministic(case: DatasetCase) -> None:
    """A trial read twice is the same, and no global source of random numbers is drawn from."""
    view = case.source.views[0] if case.source.views else None
    with nothing_drawn("reading"):
        chosen = next((trial for trial in case.whole if case._tried(trial, view) is not None), None)
        if chosen is None:
            raise Skipped("no recording can be read")
        first, second = (case.read(chosen, view) for _ in range(2))
    same = trial_file.series_sha256(first.series) == trial_file.series_sha256(second.series)
    if not same or trial_file.clip_sha256(first.clip) != trial_file.clip_sha256(second.clip):
        raise Failed(f"trial {chosen.id}, read twice, is not the same")


SUITE = CheckSuite(DatasetCase, gates=(labels_every_trial,), checks=checks_in(__name__))


def _named_apart(case: DatasetCase, protocol: str) -> list[str]:
    """The column that a protocol keeps apart by its name, like `cross_subject` or `loso_3`."""
    named = "subject" if protocol.startswith("loso") else protocol.removeprefix("cross_")
    return [named] if protocol.startswith(("loso", "cross_")) and named in case.index.columns else []


def _lengths(case: DatasetCase) -> dict[tuple[str, str], list[tuple[str, float, float]]]:
    """Trial and seconds of the first sensor and of each other stream, by the pair's names."""
    compared: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    sensors = case.card.sensors
    first, *others = sensors
    for view, recordings in case.recordings.items():
        for trial, recording in recordings.items():
            seconds = {name: len(values) / sensors[name].rate_hz for name, values in recording.series.items()}
            for other in others if seconds[first] else ():
                if not seconds[other]:
                    continue
                pairs = compared.setdefault((f"the {first}", f"the {other}"), [])
                pairs.append((trial, seconds[first], seconds[other]))
            lasts = recording.seconds
            if lasts is None and recording.recorded is not None:
                lasts = recording.recorded / case.card.views[view].rate_hz
            if lasts is not None and seconds[first]:
                compared.setdefault((f"the {first}", f"the {view} video"), []).append((trial, seconds[first], lasts))
    return compared


def _listed(lacking: Mapping[str, list[str]]) -> str:
    """How many files lack in each folder, and some of the trials."""
    counts = Counter(str(Path(path).parent) for paths in lacking.values() for path in paths)
    folders = [f"{count} in {folder}/" for folder, count in sorted(counts.items())]
    return f"{_some(folders)} ({_some(lacking)})"


def _repeated(values: Any) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _some(values: Any) -> str:
    return some(list(values), SHOWN)
