"""Whether what a card says of its files fits what it says of its sensors, skeletons, views and protocols."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.data.protocol import ProtocolRule
from kdbench.data.recorded import Files, FileStream
from kdbench.data.sources import Sensor, Skeleton, View
from kdbench.errors import near_misses, shortened
from kdbench.text.wording import counted

RECORDING = "recording"
"""The column of windows that says which recording they are cut from."""


def check_files(
    files: Files, sensors: Mapping[str, Sensor], skeletons: Mapping[str, Skeleton], views: Mapping[str, View]
) -> None:
    """Checks that every source of a card has its files, and that they are of its kind.

    Raises:
        ValueError: They do not; the source is named.
    """
    known: dict[str, Sensor | Skeleton | View] = {**sensors, **skeletons, **views}
    for name, stream in files.sources.items():
        if name not in known:
            raise ValueError(f"files.sources: unknown source '{shortened(name)}'{near_misses(name, known)}")
        if stream.is_video != (name in views):
            kind = "a view" if name in views else "no view"
            raise ValueError(f"files.sources.{name}: its files are {stream.suffix}, and {name} is {kind}")
        if name in views:
            if views[name].channels != 3:
                raise ValueError(f"views.{name}.channels = {views[name].channels}: video files have 3")
            continue
        _check_joints(name, stream, skeletons.get(name))
        axes = (skeletons[name].sensor if name in skeletons else sensors[name]).axes
        if stream.columns is not None and len(stream.columns) != len(axes):
            raise ValueError(
                f"files.sources.{name}: {counted(len(axes), 'axis', 'axes')} for "
                f"{counted(len(stream.columns), 'column')}"
            )
    for name, entry in known.items():
        if name not in files.sources:
            raise ValueError(f"files.sources says nothing of '{name}'")
        if entry.file is not None or entry.variable is not None or getattr(entry, "columns", None) is not None:
            raise ValueError(f"{name}: files.sources says where its files are; leave file, variable and columns out")


def _check_joints(name: str, stream: FileStream, skeleton: Skeleton | None) -> None:
    joints = () if skeleton is None else skeleton.joints
    for joint in (stream.centre, *(stream.torso or ())):
        if joint is not None and joint not in joints:
            raise ValueError(f"files.sources.{name}: '{shortened(joint)}' is no joint{near_misses(joint, joints)}")


def check_windows(protocols: Mapping[str, ProtocolRule], subject: str) -> None:
    """Checks that no protocol may put overlapping windows of one recording into two parts.

    Args:
        protocols: The card's, by name.
        subject: The column that says who performs.

    Raises:
        ValueError: One may; it is named.
    """
    whole = {RECORDING, subject}
    for name, rule in protocols.items():
        held_out = {*(rule.validation.where or ()), *(rule.validation.draw or ()), rule.validation.whole}
        if not whole & {*rule.disjoint} or not whole & held_out:
            raise ValueError(
                f"protocols.{name}: windows of one recording may lie in two parts; say disjoint: [recording] or "
                "[subject], and let validation go by one of them, for example {share: 0.2, whole: recording}"
            )
