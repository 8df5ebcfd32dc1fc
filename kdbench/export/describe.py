"""What an export says of its inputs, classes and run, from the card and the recipe."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from kdbench.data.card import Card
from kdbench.data.readers.base import Reader
from kdbench.data.readers.kinds import series_kind, video_kind
from kdbench.data.sources import Sensor
from kdbench.export.opened import OpenedRun
from kdbench.registry import registry
from kdbench.students.fit import typical_size
from kdbench.students.schema import Body, ClassName, Scores, SeriesFile, SeriesInput, TimeOf, VideoInput
from kdbench.types import is_native, is_video, recorded, view_of

_RUN = ("method", "taught_by", "dataset", "protocol", "preset", "seed", "name", "teacher")


def classes_of(opened: OpenedRun) -> list[ClassName]:
    """The classes in the order of the logits."""
    return [ClassName(name=entry.name, short=entry.short) for entry in opened.context.run_spec.dataset.card.classes]


def inputs_of(opened: OpenedRun, reads: tuple[str, ...]) -> list[SeriesInput | VideoInput]:
    """What the student sees.

    Args:
        opened: The run.
        reads: The network's inputs in their order, by the names of a batch.
    """
    return [_video(opened, name) if is_video(name) else _series(opened, name) for name in reads]


def tensor_name(read: str) -> str:
    """What a program calls an input: letters, digits and `_`."""
    return re.sub(r"\W", "_", read)


def reader_of(opened: OpenedRun) -> type[Reader]:
    """The class of the data set's reader, also where a packed copy was read."""
    reader: type[Reader] = registry("dataset").get(opened.context.run_spec.dataset.card.reader)
    return reader


def _series(opened: OpenedRun, read: str) -> SeriesInput:
    dataset, name = opened.context.run_spec.dataset, recorded(read)
    card, reader = dataset.card, reader_of(opened)
    kind = reader.skeleton_kinds.get(name, "samples") if name in card.skeletons else "samples"
    sensor: Sensor = card.skeletons[name].sensor if name in card.skeletons else card.sensors[name]
    body = body_of(card, name)
    plain = kind == "samples" and body is None
    trained = [dataset.series(trial)[name] for trial in opened.context.split.train]
    return SeriesInput(
        source=name,
        tensor=tensor_name(read),
        kind=kind,
        axes=list(sensor.axes),
        unit=sensor.unit,
        rate_hz=float(sensor.rate_hz),
        placement=sensor.placement,
        samples=None if is_native(read) else opened.context.run_spec.recipe.data.series_length,
        typical_size=typical_size(np.concatenate(trained)) if plain else None,
        variable=sensor.variable,
        columns=list(sensor.columns) if sensor.columns is not None else None,
        needs_trial=[*series_kind(kind).needs_trial, *_needs_of(card, name, body)],
        file=file_of(card, name),
        body=body,
    )


def file_of(card: Card, name: str) -> SeriesFile | None:
    """How a card without Python reads the files of a series."""
    if card.files is None:
        return None
    rule = card.files.sources[name]
    return SeriesFile(
        ending=rule.suffix,
        columns=None if rule.columns is None else list(rule.columns),
        separator=rule.separator,
        decimal=rule.decimal,
        skip_rows=rule.skip_rows,
        time=None if rule.time is None else TimeOf(column=rule.time.column, unit=rule.time.unit),
        factor=rule.factor,
        least_rows=rule.least_rows,
        nan=rule.nan,
        longest_gap_s=card.files.overlap.longest_gap_s,
    )


def body_of(card: Card, name: str) -> Body | None:
    """What such a card makes a skeleton's joints relative to."""
    rule = None if card.files is None or name not in card.skeletons else card.files.sources[name]
    if rule is None or (rule.centre is None and rule.torso is None):
        return None
    centre, torso = rule.body(card.skeletons[name].joints)
    return Body(centre=centre, torso=None if torso is None else list(torso))


def _needs_of(card: Card, name: str, body: Body | None) -> list[str]:
    if body is None or card.files is None:
        return []
    rule = card.files.sources[name]
    centre = [] if rule.centre is None else [f"centre: the median of the {rule.centre} over all samples"]
    if rule.torso is None:
        return centre
    return [*centre, f"scale: the median distance of {rule.torso[0]} and {rule.torso[1]} over all samples"]


def _video(opened: OpenedRun, read: str) -> VideoInput:
    dataset = opened.context.run_spec.dataset
    name = view_of(read) or dataset.view
    assert name is not None
    view, kind = dataset.card.views[name], reader_of(opened).kinds_of_views(dataset.card).get(name, "frames")
    data = opened.context.run_spec.recipe.data
    return VideoInput(
        source=read,
        tensor=tensor_name(read),
        view=name,
        kind=kind,
        unit=view.unit,
        rate_hz=float(view.rate_hz),
        height=view.height,
        width=view.width,
        channels=view.channels,
        frames=data.frames,
        frame_size=data.frame_size,
        parameters=dict(video_kind(kind).parameters),
        crop=view.crop,
        variable=view.variable,
        needs_trial=list(video_kind(kind).needs_trial),
    )


def run_facts(opened: OpenedRun) -> dict[str, Any]:
    """What the student was trained by; no folder and no machine."""
    result = opened.run.result
    facts = {key: result.get(key) for key in _RUN}
    taught = facts.pop("teacher")
    return {
        **facts,
        "run": opened.run.folder.name,
        "teacher_accuracy": taught.get("accuracy") if taught else None,
        "finished": result.get("finished"),
        "trials": result.get("trials"),
        "gain": result.get("gain"),
    }


def scores_of(opened: OpenedRun) -> Scores:
    """The run's own."""
    metrics = opened.run.metrics
    return Scores(accuracy=float(metrics["accuracy"]), macro_f1=float(metrics["macro_f1"]))


def scores_from(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> Scores:
    """Of logits `(N, K)` of the trials with these labels `(N,)`."""
    from kdbench.evaluation.metrics import classification

    metrics = classification(logits, labels, classes)
    return Scores(accuracy=metrics["accuracy"], macro_f1=metrics["macro_f1"])
