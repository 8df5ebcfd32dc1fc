"""A first card for a folder: what was guessed, what is in doubt, and the card as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.draft import contents, naming
from kdbench.data.draft.contents import Contents
from kdbench.data.draft.naming import ACTION, SUBJECT, Group
from kdbench.data.draft.protocols import protocols_for
from kdbench.data.readers.files.scan import files_below
from kdbench.data.recorded import TEXT, VIDEOS
from kdbench.errors import DataError, UsageError
from kdbench.text.wording import counted

CARD = "card.yaml"
LOOKED_AT = 3
"""Files of each source that are opened."""
WINDOW_S, STRIDE_S = 2.0, 1.0
_SPELLINGS = (("acc", "accelerometer"), ("gyr", "gyroscope"), ("mag", "magnetometer"), ("skel", "skeleton"))


@dataclass(frozen=True)
class Answers:
    """What is known beside the files.

    Attributes:
        name: What the data set is called; None: as its folder.
        subject: One of the words in the paths that name a person.
        label: One of the words that name an action.
        rates: Samples a second, by source.
        units: Units, by source.
    """

    name: str | None = None
    subject: str | None = None
    label: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Doubt:
    """Something that the files do not tell for certain.

    Attributes:
        key: `subject`, `label`, `rate SOURCE` or `unit SOURCE`.
        question: What one would ask.
        guess: What is taken without an answer; None where there is nothing to go by.
    """

    key: str
    question: str
    guess: str | None


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
    groups = naming.groups_of(paths)
    opened = {id(group): _opened(folder, group) for group in groups}
    groups = [group for group in groups if opened[id(group)]]
    labelled = [g for g in groups if any(c.is_annotations for c in opened[id(g)] if isinstance(c, Contents))]
    sources = [group for group in groups if group not in labelled]
    if not sources:
        raise DataError(
            f"{folder} holds no recordings whose names tell them apart ({counted(len(paths), 'file')})",
            hint="Name files after who did what, for example anna/wave_1.csv and anna/wave_1.mp4.",
        )
    doubts: list[Doubt] = []
    names = _placeholders(sources, answers, doubts, windows=bool(labelled))
    described: dict[str, dict[str, Any]] = {"sensors": {}, "skeletons": {}, "views": {}}
    streams: dict[str, dict[str, Any]] = {}
    for group in sources:
        _describe(group, opened[id(group)], names, described, streams, answers, doubts)
    for key in (*answers.rates, *answers.units):
        if key not in streams:
            raise UsageError(f"there is no source '{key}', expected one of {', '.join(streams)}")
    _share_a_clock(streams, sources, opened, windows=bool(labelled))
    files: dict[str, Any] = {"folder": ".", "sources": streams}
    if labelled:
        labels = [label for c in opened[id(labelled[0])] if isinstance(c, Contents) for label in c.labels]
        pattern = labelled[0].pattern(names)
        files["windows"] = {"seconds": WINDOW_S, "stride_s": STRIDE_S, "annotations": pattern}
    else:
        place = names.index(ACTION)
        labels = [value for group in sources for value in group.values(group.variable[place])]
        files["label"] = ACTION
    classes, spelt = _classes(labels)
    if spelt:
        files["values"] = spelt
    taken = {path for group in groups for path in group.files}
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
    passed = tuple(path for path in paths if path not in taken and not path.endswith(CARD))
    return Draft(content, tuple(doubts), passed)


def _opened(folder: Path, group: Group) -> list[Any]:
    """What is in a few files of a group; empty where none can be read."""
    places = sorted({*np.linspace(0, len(group.files) - 1, LOOKED_AT).astype(int).tolist()})
    found: list[Any] = []
    for path in (group.files[place] for place in places):
        try:
            if group.suffix in TEXT:
                found.append(contents.look((folder / path).read_bytes()))
            elif group.suffix in VIDEOS:
                found.append(_video(folder / path))
            else:
                found.append(np.load(folder / path, allow_pickle=False).shape)
        except (OSError, ValueError):
            continue
    return found


def _video(path: Path) -> dict[str, Any]:
    """Rate and size of a video, as its header states them."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            return {"channels": 3, "rate_hz": round(rate, 3), "height": stream.height, "width": stream.width}
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(str(error)) from error


def _placeholders(groups: Sequence[Group], answers: Answers, doubts: list[Doubt], *, windows: bool) -> list[str]:
    places = {key: _place(groups, key, getattr(answers, key)) for key in ("subject", "label")}
    names = naming.placeholders(groups, places["subject"], places["label"])
    if windows and ACTION in names and places["label"] is None:
        # Annotations tell the classes; a name that looked like an action is that of a session.
        names = ["session" if name == ACTION else name for name in names]
    for key, called in (("subject", SUBJECT), ("label", ACTION)):
        if places[key] is not None or (windows and key == "label") or naming.is_certain(groups, names, called):
            continue
        if key == "subject" and len(names) < 2:
            continue
        guess = naming.examples(groups, names.index(called))[0] if called in names else None
        what = "who performs" if key == "subject" else "what is done, the class"
        example = groups[0].files[0]
        doubts.append(Doubt(key, f"Which part of a name such as {example} says {what}?", guess))
    if not windows and ACTION not in names:
        raise UsageError(
            f"nothing in names such as {groups[0].files[0]} looks like the name of an action",
            hint="Say which part of the name it is: --label WORD",
        )
    return names


def _place(groups: Sequence[Group], key: str, word: str | None) -> int | None:
    if word is None:
        return None
    count = len(groups[0].variable)
    for place in range(count):
        if any(word in group.values(group.variable[place]) for group in groups):
            return place
    known = [", ".join(naming.examples(groups, place)[:3]) for place in range(count)]
    raise UsageError(f"--{key} {word}: no name has this part; parts that differ are {'; '.join(known)}")


def _describe(
    group: Group,
    opened: Sequence[Any],
    names: Sequence[str],
    described: Mapping[str, dict[str, Any]],
    streams: dict[str, dict[str, Any]],
    answers: Answers,
    doubts: list[Doubt],
) -> None:
    """Adds the sources of a group to the card."""
    pattern, first = group.pattern(names), opened[0]
    if group.suffix in VIDEOS:
        plain = re.fullmatch(r"|video|camera|cam|colou?r|rgb", group.stream)
        called = _free("rgb" if plain else group.stream, streams)
        described["views"][called] = {**first, "rate_hz": first["rate_hz"] or 30.0}
        streams[called] = {"path": pattern}
        return
    parts = first.parts if isinstance(first, Contents) else (_of_array(first),)
    rates = [c.rate_hz for c in opened if isinstance(c, Contents) and c.rate_hz]
    for part in parts:
        called = _free(_source_name(group.stream, part, several=len(parts) > 1), streams)
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
        unit = answers.units.get(called) or part.unit
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


def _source_name(stream: str, part: contents.Axes, *, several: bool) -> str:
    own = _word(part.name)
    called = f"{stream}_{own}" if stream and own and several else stream or own
    for beginning, spelt in _SPELLINGS:
        if called.startswith(beginning):
            return spelt
    return called or ("accelerometer" if part.unit in {"m/s²", "g"} else "sensor")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    name = _word(name) or "sensor"
    name = f"{name}_stream" if name in {"video", "trial", "label"} else name
    return name if name not in taken else next(f"{name}_{k}" for k in range(2, 99) if f"{name}_{k}" not in taken)


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")[:40]


def _share_a_clock(
    streams: Mapping[str, dict[str, Any]], groups: Sequence[Group], opened: Mapping[int, list[Any]], *, windows: bool
) -> None:
    """Gives one clock to streams whose times are of one stretch; with windows, to all."""
    timed = [name for name, stream in streams.items() if "time" in stream]
    spans = [c.span for g in groups for c in opened[id(g)][:1] if isinstance(c, Contents) and c.span]
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
    plain = sorted({value.replace("_", " ").replace("-", " ") for value in values})
    return [{"name": name, "short": name} for name in plain], {}
