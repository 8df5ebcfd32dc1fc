"""A first card for a folder: what was guessed, what is in doubt, and the card as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.draft import contents, naming
from kdbench.data.draft.contents import Contents
from kdbench.data.draft.doubts import STRAYS, Answers, Doubt, placeholders
from kdbench.data.draft.looking import Looked, look_at
from kdbench.data.draft.naming import ACTION, Group
from kdbench.data.draft.pairing import Paired, paired
from kdbench.data.draft.protocols import protocols_for
from kdbench.data.readers.files.labels import plain
from kdbench.data.readers.files.scan import files_below
from kdbench.data.recorded import VIDEOS
from kdbench.errors import DataError, UsageError
from kdbench.text.wording import counted

CARD, PREVIEW = "card.yaml", "preview.png"
"""What is written beside the recordings."""
WINDOW_S, STRIDE_S = 2.0, 1.0
_UNITS_OF_GRAVITY = {"m/s²", "g"}
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_SPELLINGS = (("acc", "accelerometer"), ("gyr", "gyroscope"), ("mag", "magnetometer"), ("skel", "skeleton"))


@dataclass(frozen=True)
class Draft:
    """A card in the making.

    Attributes:
        content: What the card says, as plain values.
        doubts: What is not certain.
        passed_over: Files that fit no source.
    """

    content: dict[str, Any]
    doubts: tuple[Doubt, ...]
    passed_over: tuple[str, ...]


def draft(folder: Path, answers: Answers) -> Draft:
    """Guesses a card.

    Args:
        folder: The folder of the recordings.
        answers: What is known beside.

    Raises:
        DataError: It holds no recordings, or none whose names tell what they are of.
        UsageError: An answer names a word that no path has, or a source that there is not.
    """
    paths = list(files_below(folder))
    found = _found(look_at(folder, naming.groups_of(paths)), answers)
    sources, labelled = [each.group for each in found.sources], found.annotations
    if not sources:
        hint = "Name files after who did what, for example anna/wave_1.csv and anna/wave_1.mp4."
        if packed := next((path for path in paths if path.lower().endswith(_PACKED)), None):
            hint = f"Unpack archives first, such as {packed}, each into a folder of its name."
        raise DataError(
            f"{folder} holds no recordings whose names tell them apart ({counted(len(paths), 'file')})", hint=hint
        )
    doubts = [Doubt(f"{STRAYS} {each.suffix}", each.said, None, each.advice) for each in found.strays]
    names = placeholders(sources, answers, doubts, windows=bool(labelled))
    described: dict[str, dict[str, Any]] = {"sensors": {}, "skeletons": {}, "views": {}}
    streams: dict[str, dict[str, Any]] = {}
    for each in found.sources:
        _describe(each, names, described, streams, answers, doubts)
    for key in (*answers.rates, *answers.units):
        if key not in streams:
            raise UsageError(
                f"there is no source '{key}', expected one of {', '.join(streams)}",
                hint="Sources are called as the card that is guessed calls them; see it without this option.",
            )
    _share_a_clock(streams, found.sources, windows=bool(labelled))
    files: dict[str, Any] = {"folder": ".", "sources": streams}
    if labelled:
        labels = [label for text in labelled[0].texts for label in text.labels]
        pattern = labelled[0].group.pattern(names)
        files["windows"] = {"seconds": WINDOW_S, "stride_s": STRIDE_S, "annotations": pattern}
        if labelled[0].are_moments:
            files["windows"]["moments"] = {"label": "text", "time": {"column": "seconds_elapsed"}}
    else:
        place = names.index(ACTION)
        labels = [value for group in sources for value in group.values(group.variable[place])]
        files["label"] = ACTION
    classes, spelt = _classes(labels)
    if spelt:
        files["values"] = spelt
    taken = {path for each in (*found.sources, *labelled) for path in each.group.files}
    content = {
        "name": _word(answers.name or folder.resolve().name) or "own",
        "title": (answers.name or folder.resolve().name).replace("_", " "),
        "version": "1",
        "reader": "files",
        "licence": "Recordings of one's own.",
        "files": files,
        **{key: entries for key, entries in described.items() if entries},
        "protocols": protocols_for(sources, names, windows=bool(labelled)),
        "classes": classes,
    }
    passed = tuple(path for path in paths if path not in taken and Path(path).name not in (CARD, PREVIEW))
    return Draft(content, tuple(doubts), passed)


def _found(looked: Sequence[Looked], answers: Answers) -> Paired:
    """What a folder holds; moments are annotations where nothing else tells what is done."""
    found = paired(looked)
    named = [value for each in found.sources for place in each.group.variable for value in each.group.values(place)]
    if found.annotations or answers.label is not None or any(map(naming.is_action, named)):
        return found
    marked = paired([each.with_moments() for each in looked])
    labels = {label.casefold() for each in marked.annotations for text in each.texts for label in text.labels}
    return marked if len(labels) > 1 else found


def _describe(
    looked: Looked,
    names: Sequence[str],
    described: Mapping[str, dict[str, Any]],
    streams: dict[str, dict[str, Any]],
    answers: Answers,
    doubts: list[Doubt],
) -> None:
    """Adds the sources of a group to the card."""
    group, first = looked.group, looked.contents[0]
    pattern = group.pattern(names)
    if group.suffix in VIDEOS:
        plain = re.fullmatch(r"|video|camera|cam|colou?r|rgb", group.stream)
        called = _free("rgb" if plain else group.stream, streams)
        described["views"][called] = {**first, "rate_hz": first["rate_hz"] or 30.0}
        streams[called] = {"path": pattern}
        return
    parts = first.parts if isinstance(first, Contents) else (_of_array(first),)
    rates = [text.rate_hz for text in looked.texts if text.rate_hz]
    for part in parts:
        called = _free(_source_name(group, part, several=len(parts) > 1), streams)
        rate = answers.rates.get(called) or (float(np.median(rates)) if rates else None)
        if rate is None:
            doubts.append(Doubt(f"rate {called}", f"How many samples a second has the {called}?", None))
        stream: dict[str, Any] = {"path": pattern}
        if part.columns is not None:
            stream["columns"] = list(part.columns)
        if isinstance(first, Contents) and first.time is not None:
            stream["time"] = first.time
        streams[called] = stream
        if part.name == "skeleton" or len(part.axes) >= contents.LEAST_JOINTS:
            described["skeletons"][called] = {"joints": list(part.axes), "rate_hz": rate or 30.0, "unit": "m"}
            continue
        # A rotation can be as large as gravity is.
        looks_like = "" if "gyro" in called and part.unit in _UNITS_OF_GRAVITY else part.unit
        unit = answers.units.get(called) or looks_like
        if not unit:
            unit = "rad/s" if "gyro" in called else "m/s²" if "acc" in called else "unknown"
            doubts.append(Doubt(f"unit {called}", f"In which unit is the {called}?", unit))
        described["sensors"][called] = {"axes": list(part.axes), "unit": unit, "rate_hz": rate or 50.0}


def _of_array(shape: Sequence[int]) -> contents.Axes:
    """A sensor or a skeleton by the shape of an array: (frames, joints, 3), or (samples, axes)."""
    width = int(np.prod(shape[1:]))
    is_body = len(shape) == 3 or (width % 3 == 0 and width >= 3 * contents.LEAST_JOINTS)
    axes = tuple(f"joint {k}" for k in range(width // 3)) if is_body else tuple(f"c{k}" for k in range(width))
    return contents.Axes("skeleton" if is_body else "", axes, None, "")


def _source_name(group: Group, part: contents.Axes, *, several: bool) -> str:
    stream, own = group.stream, _word(part.name)
    called = f"{stream}_{own}" if stream and own and several else stream or own
    for beginning, spelt in _SPELLINGS:
        if called.startswith(beginning):
            return spelt
    return called or ("accelerometer" if part.unit in {"m/s²", "g"} else group.title or "sensor")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    name = _word(name) or "sensor"
    name = f"{name}_stream" if name in {"video", "trial", "label"} else name
    return name if name not in taken else next(f"{name}_{k}" for k in range(2, 99) if f"{name}_{k}" not in taken)


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")[:40]


def _share_a_clock(streams: Mapping[str, dict[str, Any]], sources: Sequence[Looked], *, windows: bool) -> None:
    """Gives one clock to streams whose times are of one stretch; with windows, to all."""
    timed = [name for name, stream in streams.items() if "time" in stream]
    spans = [text.span for each in sources for text in each.texts[:1] if text.span]
    overlap = min((e for _, e in spans), default=0.0) - max((s for s, _ in spans), default=0.0)
    shared = len(timed) > 1 and overlap > 0.5 * max(e - s for s, e in spans)
    for name, stream in streams.items():
        if windows or (shared and name in timed):
            stream["clock"] = "recording"


def _classes(labels: Sequence[str]) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Classes by name, and how they are written where that is a number."""
    values = sorted(dict.fromkeys(str(int(v)) if v.isdigit() else v for v in labels), key=lambda v: (len(v), v))
    if all(value.isdigit() for value in values):
        named = {value: f"action {value}" for value in values}
        return [{"name": name, "short": name} for name in named.values()], named
    spelt: dict[str, str] = {}
    for value in values:
        spelt.setdefault(plain(value), value.replace("_", " ").replace("-", " "))
    return [{"name": name, "short": name} for name in sorted(spelt.values())], {}
