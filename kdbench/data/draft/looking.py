"""What is in the files of a group, by a few of them; and groups that hold files of several kinds, divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.draft import contents
from kdbench.data.draft.contents import LEAST_JOINTS, Contents
from kdbench.data.draft.naming import Group
from kdbench.data.recorded import TEXT, VIDEOS
from kdbench.util import numpy_files

LOOKED_AT = 3
"""Files of each group that are opened."""
_MOST_KINDS = 40
"""Names within a folder up to which one file of each is opened."""
_LEAST_AXES = 3
"""Columns of numbers that make a text file without times, and without a telling name, the recording of a sensor."""


@dataclass(frozen=True)
class Looked:
    """A group and what is in it.

    Attributes:
        group: The group.
        contents: What was found in a few of its files: `Contents` of a text file, rate and size of a video by the
            card's keys, the shape of an array; at least one.
    """

    group: Group
    contents: tuple[Any, ...]

    @property
    def texts(self) -> list[Contents]:
        """What was found in text files."""
        return [found for found in self.contents if isinstance(found, Contents)]

    @property
    def is_annotations(self) -> bool:
        """Whether it holds labels of stretches of time."""
        return any(found.is_annotations for found in self.texts)

    @property
    def are_moments(self) -> bool:
        """Whether it holds moments and what begins at each."""
        return any(found.are_moments for found in self.texts)

    def with_moments(self) -> Looked:
        """The same, its moments taken for annotations."""
        told = [
            dataclasses.replace(found, is_annotations=True)
            if isinstance(found, Contents) and found.are_moments
            else found
            for found in self.contents
        ]
        return dataclasses.replace(self, contents=tuple(told))

    @property
    def is_recording(self) -> bool:
        """Whether it is what a sensor or a camera recorded: no table of devices, settings or notes."""
        first = self.contents[0]
        if not isinstance(first, Contents):
            return True
        if first.is_annotations or first.are_moments or self.group.is_annotations:
            return False
        axes = sum(len(part.axes) for part in first.parts)
        return first.time is not None or bool(self.group.stream) or axes >= min(_LEAST_AXES, LEAST_JOINTS)


def look_at(folder: Path, groups: list[Group]) -> list[Looked]:
    """Opens a few files of each group; groups of which none can be read are left out.

    Args:
        folder: The folder of the recordings.
        groups: As their names tell.
    """
    found = []
    for group in (part for whole in groups for part in _divided(folder, whole)):
        places = sorted({*np.linspace(0, len(group.files) - 1, LOOKED_AT).astype(int).tolist()})
        read = [_opened(folder / group.files[place], group.suffix) for place in places]
        if any(isinstance(each, Contents) and (each.is_annotations or each.are_moments) for each in read):
            # A class may be in one of them alone.
            read = [_opened(folder / path, group.suffix) for path in group.files]
        if whole := tuple(each for each in read if each is not None):
            found.append(Looked(group, whole))
    return found


def _divided(folder: Path, group: Group) -> list[Group]:
    """A group of text files by their kinds, where each folder holds files of several: other names, other columns.

    Files that are called `Light.csv` and `Pedometer.csv` in the folder of every recording look like two actions, until
    one opens them.
    """
    place = group.name_within_folders()
    if place is None or group.suffix not in TEXT or len(group.values(place)) > _MOST_KINDS:
        return [group]
    files = {words[place]: path for words, path in zip(group.words, group.files, strict=True)}
    kinds = {value: _columns(_opened(folder / path, group.suffix)) for value, path in files.items()}
    if len(set(kinds.values())) == 1:
        return [group]
    by_kind: dict[Hashable, list[str]] = {}
    for value, kind in kinds.items():
        if kind is not None:
            by_kind.setdefault(kind, []).append(value)
    return [group.only(place, values) for values in by_kind.values()]


def _columns(found: Any) -> Hashable:
    """What tells files of one kind from those of another; None for a file that cannot be read."""
    if not isinstance(found, Contents):
        return None
    time = None if found.time is None else str(found.time["column"])
    return (
        time,
        found.is_annotations,
        found.are_moments,
        tuple((part.name, part.axes, part.columns) for part in found.parts),
    )


def _opened(path: Path, suffix: str) -> Any:
    """What is in a file; None where it cannot be read."""
    try:
        if suffix in TEXT:
            return contents.look(path.read_bytes())
        return _video(path) if suffix in VIDEOS else getattr(numpy_files.load(path), "shape", None)
    except (OSError, ValueError):
        return None


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
