"""Reads recordings by what their card says of them: `files:`, and no Python."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.card import Card
from kdbench.data.protocol import Value
from kdbench.data.readers import video_file
from kdbench.data.readers.base import Reader, Recording, Trial, expecting, natural_key, unreadable
from kdbench.data.readers.body import relative
from kdbench.data.readers.files import scan, stream, timing, windows
from kdbench.data.readers.files.labels import label_of
from kdbench.data.readers.files.oddities import Oddities
from kdbench.data.readers.files.stream import Stream
from kdbench.data.readers.files.timing import Extent
from kdbench.data.readers.timeline import centre_frames
from kdbench.data.recorded import Files
from kdbench.data.sources import Sensor
from kdbench.errors import DataError, UsageError
from kdbench.text.wording import counted
from kdbench.types import VIDEO

SIDE = 256
"""Side of a frame that is squeezed to a square, pixels; larger than any preset's."""
_KEPT = 64
Span = tuple[float, float]


class FilesReader(Reader):
    """One's own recordings, as a card's `files:` describes them.

    A trial is what the placeholders of the patterns have the same values in, or a window of it. It need not have a
    file of every source. Streams that share a clock are cut to the span that all of them cover, and those with times
    are evened to the card's rate; the others cover the trial by their share of its length.
    """

    version = 1

    def __init__(self, card: Card, root: Path | None = None, options: Mapping[str, Any] | None = None) -> None:
        if card.files is None:
            raise UsageError(
                f"the card of '{card.name}' has the reader '{card.reader}', which goes by files:, and has no files:",
                hint="Let kdbench write one: kdbench data init FOLDER",
            )
        super().__init__(card, root, options)
        self._files: Files = card.files
        self._odd = Oddities(card)
        self._parsed = functools.lru_cache(maxsize=_KEPT)(self._parse)
        self._lasts = functools.lru_cache(maxsize=None)(self._extent_of_file)

    @classmethod
    def found(cls, card: Card, root: Path) -> tuple[str, ...] | None:
        """See `Reader.found`."""
        if card.files is None or not root.is_dir():
            return None
        there = {name for name, paths in scan.scan(card.files, root).items() if paths and name in card.files.sources}
        return tuple(name for name in card.views if name in there) if there else None

    @classmethod
    def kinds_of_views(cls, card: Card) -> Mapping[str, str]:
        """See `Reader.kinds_of_views`."""
        if card.files is None:
            return {}
        kinds = {"whole": "squeezed_colour", "centre": "centred_colour"}
        return {name: kinds[each.crop] for name, each in card.files.sources.items() if each.is_video}

    @classmethod
    def cuts(cls, card: Card) -> frozenset[str]:
        """See `Reader.cuts`: all by windows, those that share a clock by the time that all of them cover."""
        if card.files is None:
            return frozenset()
        if card.files.windows is not None:
            return frozenset(card.files.sources)
        clocked = [name for name, rule in card.files.sources.items() if rule.clock is not None]
        return frozenset(clocked) if len(clocked) > 1 else frozenset()

    @functools.cached_property
    def by_source(self) -> dict[str, dict[scan.Key, str]]:
        """The file of each source by the placeholders' values."""
        return {name: paths for name, paths in self._scanned.items() if name != scan.ANNOTATIONS}

    @functools.cached_property
    def _scanned(self) -> dict[str, dict[scan.Key, str]]:
        return scan.scan(self._files, self._folder)

    @property
    def _annotations(self) -> dict[scan.Key, str]:
        return self._scanned[scan.ANNOTATIONS]

    @property
    def _folder(self) -> Path:
        if self.root is None:
            raise DataError(
                f"the recordings of '{self.card.name}' are not there",
                hint="Say where they are: files.folder in the card, or --data-dir",
            )
        return self.root

    @functools.cached_property
    def keys(self) -> list[scan.Key]:
        """The recordings that have a file of any source.

        Raises:
            DataError: None has files of two sources, where the card has several.
        """
        keys = dict.fromkeys(key for paths in self.by_source.values() for key in paths)
        several = [key for key in keys if sum(key in paths for paths in self.by_source.values()) > 1]
        if keys and not several and len(self.by_source) > 1:
            examples = [f"{name}: {next(iter(paths.values()))}" for name, paths in self.by_source.items() if paths]
            raise DataError(
                f"no recording in {self._folder} has files of two sources: the names of their files never agree "
                f"({'; '.join(examples)})",
                hint=f"Rename the files, or mend the patterns: every placeholder ({', '.join(self._files.columns)}) "
                "has to have the same value in all files of a recording.",
            )
        return list(keys)

    def trials(self) -> list[Trial]:
        """Every recording that has a file of any source, or every labelled window of it.

        Raises:
            DataError: A file's label is no class, an annotation file is wrong, or nothing is paired.
        """
        cut = self._windows if self._files.windows is not None else self._whole
        return sorted((trial for key in self.keys for trial in cut(key)), key=lambda trial: natural_key(trial.id))

    def _whole(self, key: scan.Key) -> Iterator[Trial]:
        columns: dict[str, Value] = dict(zip(self._files.columns, key, strict=True))
        path = next(paths[key] for paths in self.by_source.values() if key in paths)
        value = columns[str(self._files.label)]
        label = label_of(self.card, self._files.values, value, path)
        yield Trial(self._named(columns), label, columns)

    def _named(self, columns: Mapping[str, Value]) -> str:
        if self._files.trial is not None:
            return self._files.trial.format(**columns)
        return "_".join(map(str, columns.values()))

    def _windows(self, key: scan.Key) -> Iterator[Trial]:
        rule = self._files.windows
        assert rule is not None
        columns: dict[str, Value] = dict(zip(self._files.columns, key, strict=True))
        name = self._named(columns)
        path = self._annotations.get(key)
        if path is None:
            raise DataError(
                f"the recording {name} has no annotations: expected {rule.annotations}",
                hint=f"Write one, with {windows.expected(rule)}; or move the recording elsewhere.",
            )
        content, _ = self.bytes_of(path, name)
        extents = self._extents(key, name).values()
        start, end = max(e.start for e in extents), min(e.end for e in extents)
        entries = windows.annotated(content, rule, end, name, path)
        labels = {entry: label_of(self.card, self._files.values, entry.label, path) for entry in entries}
        if entries and not any(entry.start < end and entry.end > start for entry in entries):
            raise DataError(
                f"the recording {name}: its streams cover {start:.2f} to {end:.2f} s, and its annotations "
                f"{entries[0].start:.2f} to {entries[-1].end:.2f} s: they have no second in common ({path})",
                hint="Annotations count in the clock of the streams; mend offset_s or the time column in the card.",
            )
        for begin, entry in windows.windows(rule, entries, start, end):
            start_ms = round((begin - start) * 1000)
            at: dict[str, Value] = {"recording": name, "start_ms": start_ms}
            yield Trial(f"{name}_{start_ms}ms", labels[entry], {**columns, **at})

    def lacks(self, trial: Trial) -> frozenset[str]:
        """See `Reader.lacks`."""
        key = self._key(trial)
        absent = {name for name, paths in self.by_source.items() if key not in paths}
        return frozenset(f"{VIDEO}:{name}" if name in self.card.views else name for name in absent)

    def remarks(self) -> list[str]:
        """See `Reader.remarks`."""
        return self._odd.lines()

    def files(self, trial: Trial, view: str | None) -> tuple[str, ...]:
        """See `Reader.files`: those that there are, and with windows the annotations."""
        key = self._key(trial)
        wanted = (*self.card.sensors, *(() if view is None else (view,)))
        beside = [self._annotations[key]] if self._files.windows is not None else []
        return tuple(dict.fromkeys([*self._paths(key, wanted), *beside]))

    def skeleton_files(self, trial: Trial, name: str) -> tuple[str, ...]:
        """See `Reader.skeleton_files`; of a sensor too."""
        return tuple(self._paths(self._key(trial), (name,)))

    def _paths(self, key: scan.Key, names: tuple[str, ...]) -> list[str]:
        return [self.by_source[name][key] for name in names if key in self.by_source[name]]

    def _key(self, trial: Trial) -> scan.Key:
        return tuple(trial.columns[name] for name in self._files.columns)

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """See `Reader.read`."""
        span = self._span(trial)
        hashes: dict[str, str] = {}
        sensors = self.card.sensors.items()
        series = {name: self._series(trial, name, sensor, span, hashes) for name, sensor in sensors}
        if view is None:
            return Recording(series, hashes=hashes)
        path = self.by_source[view].get(self._key(trial))
        if path is None:
            return Recording(series, np.zeros((frames, 1, 1, self.card.views[view].channels), np.uint8), hashes)
        content, hashes[path] = self.bytes_of(path, trial.id)
        clip, recorded, seconds = self._clip(trial, view, path, content, frames, span)
        self._odd.see_video(trial.id, view, recorded, seconds)
        if span is not None and self._files.sources[view].clock is not None:
            return Recording(series, clip, hashes, seconds=span[1] - span[0])
        return Recording(series, clip, hashes, recorded, seconds)

    def read_skeleton(self, trial: Trial, name: str) -> Recording:
        """See `Reader.read_skeleton`; relative to `centre`, in lengths of `torso`, where the card names them."""
        hashes: dict[str, str] = {}
        skeleton = self.card.skeletons[name]
        rule = self._files.sources[name]
        span = None if rule.clock is None else self._span(trial)
        values = self._series(trial, name, skeleton.sensor, span, hashes)
        if len(values):
            with expecting("a body that was tracked", trial.id, next(iter(hashes))):
                values = relative(values, *rule.body(skeleton.joints))
        return Recording({name: values}, hashes=hashes)

    def _series(self, trial: Trial, name: str, sensor: Sensor, span: Span | None, hashes: dict[str, str]) -> np.ndarray:
        """One stream of a trial as it goes into the store; notes the file's hash."""
        path = self.by_source[name].get(self._key(trial))
        if path is None:
            return np.zeros((0, len(sensor.axes)), np.float32)
        read, hashes[path] = self._loaded(name, path, trial.id)
        self._odd.see_series(trial.id, name, read)
        has_clock = self._files.sources[name].clock is not None
        if has_clock and span is not None and read.times is not None and len(read.times) > 1:
            return timing.evened(read, sensor.rate_hz, span)
        return timing.steady(read, sensor.rate_hz, self._files.overlap.longest_gap_s)

    def _clip(
        self, trial: Trial, view: str, path: str, content: bytes, frames: int, span: Span | None
    ) -> video_file.DecodedVideo:
        rule = self._files.sources[view]

        def pick(parts: int) -> np.ndarray:
            if span is None or rule.clock is None:
                return centre_frames(parts, frames)
            extent = self._extent(view, path, trial.id)
            return timing.frames_at(span, frames, (extent.start, extent.end), parts)

        with expecting(self._expected(view), trial.id, path):
            if rule.crop == "whole":
                return video_file.decode(content, pick, side=SIDE)
            decoded = video_file.decode(content, pick)
            return decoded._replace(frames=np.ascontiguousarray(video_file.centre_square(decoded.frames)))

    def _span(self, trial: Trial) -> Span | None:
        """The seconds of the clock that a trial covers; None where its streams cover it by their share.

        Raises:
            DataError: Its streams do not agree, and the card allows nothing else.
        """
        if (rule := self._files.windows) is not None:
            extents = self._extents(self._key(trial), trial.id).values()
            begin = max(e.start for e in extents) + int(trial.columns["start_ms"]) / 1000
            return begin, begin + rule.seconds
        extents_of = self._extents(self._key(trial), trial.id)
        if len(extents_of) < 2:
            return None
        try:
            return timing.common(extents_of, self._files.overlap)
        except ValueError as error:
            if self._files.overlap.otherwise == "share":
                self._odd.see_disagreement(trial.id)
                return None
            raise DataError(
                f"trial {trial.id}: {error}; expected streams of one performance",
                hint="Say what lies between their clocks (offset_s), or let such trials be aligned by their length: "
                "files.overlap: {otherwise: share}",
            ) from error

    def _extents(self, key: scan.Key, trial: str) -> dict[str, Extent]:
        """When each stream of a recording that has the clock begins and ends."""
        clocks = [rule.clock for rule in self._files.sources.values() if rule.clock is not None]
        return {
            name: self._extent(name, self.by_source[name][key], trial)
            for name, rule in self._files.sources.items()
            if clocks and rule.clock == clocks[0] and key in self.by_source[name]
        }

    def _extent(self, name: str, path: str, trial: str) -> Extent:
        with expecting(self._expected(name), trial, path):
            return self._lasts(name, path, *self._stamp(path, trial))

    def _extent_of_file(self, name: str, path: str, modified: int, size: int) -> Extent:
        rule = self._files.sources[name]
        if not rule.is_video:
            read, _ = self._parsed(name, path, modified, size)
            if read.times is None or not len(read.times):
                raise ValueError("it has no rows")
            return timing.extent_of(read.times, self._files.overlap.longest_gap_s)
        seconds = video_file.seconds_of(self.bytes_of(path, name)[0])
        if not seconds:
            raise ValueError("its frames have no times, and the card gives it a clock")
        return Extent(rule.offset_s, rule.offset_s + seconds)

    def _expected(self, name: str) -> str:
        """What a file of a source should be, for messages."""
        if name in self.card.views:
            return "a whole video"
        return f"rows of {counted(len(self._sensor(name).axes), 'number')}"

    def _stamp(self, path: str, trial: str) -> tuple[int, int]:
        """Time and size of a file, by which it is known again."""
        try:
            stat = (self._folder / path).stat()
        except OSError as error:
            raise unreadable(error, trial, path) from error
        return stat.st_mtime_ns, stat.st_size

    def _loaded(self, name: str, path: str, trial: str) -> tuple[Stream, str]:
        with expecting(self._expected(name), trial, path):
            return self._parsed(name, path, *self._stamp(path, trial))

    def _parse(self, name: str, path: str, _modified: int, _size: int) -> tuple[Stream, str]:
        sensor = self._sensor(name)
        content, sha256 = self.bytes_of(path, name)
        return stream.read(content, self._files.sources[name], sensor.axes, sensor.rate_hz), sha256

    def _sensor(self, name: str) -> Sensor:
        return self.card.skeletons[name].sensor if name in self.card.skeletons else self.card.sensors[name]
