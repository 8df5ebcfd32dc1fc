"""Grad-CAM of one clip for each of several classes, on one sheet, chosen by a rule and not by eye."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kdbench.errors import UsageError, unknown
from kdbench.explanation.gradcam import grad_cam, telling_stage
from kdbench.explanation.section import NotShown, Section
from kdbench.explanation.study import Study
from kdbench.explanation.trials import entry
from kdbench.plotting.actions import Action, draw_actions
from kdbench.plotting.cams import enlarged
from kdbench.text.wording import counted, inflected
from kdbench.types import is_video

FILE = "gradcam_actions.png"
_CLIP = 4


def choose_classes(study: Study, count: int | None, names: Sequence[str]) -> tuple[int, ...]:
    """Labels of the classes that are shown.

    Args:
        study: The run.
        count: The first so many classes, in the order of their labels, of those that have a trial.
        names: These classes instead, by their official or short names.

    Raises:
        UsageError: There are not so many, no class of that name, a class without a trial, one that is named twice, or
            the run saw no video.
    """
    part = study.run.conditions["part"]
    if not any(is_video(source) for source in study.run.conditions["test_modalities"]):
        seen = ", ".join(study.run.conditions["test_modalities"])
        raise UsageError(
            f"{study.run.folder.name} sees {seen} and no video, so there is no clip to show of a class",
            hint="Explain a run of a video student; --only gradcam shows series and images.",
        )
    tested = np.unique(study.scores.labels).tolist()
    if not names:
        if count is None or not 1 <= count <= len(tested):
            raise UsageError(
                f"--one-per-class {count}: the {part} part has trials of {counted(len(tested), 'class')}",
                hint=f"Give 1 to {len(tested)}.",
            )
        return tuple(tested[:count])
    labels = []
    for name in names:
        known = [label for label, own in enumerate(study.classes) if name in (own, study.card.short_names[label])]
        if not known:
            raise unknown(
                "class",
                name,
                study.classes,
                of=f"data set '{study.card.name}'",
                hint=f"See them: kdbench describe {study.card.typed}",
            )
        if known[0] not in tested:
            raise UsageError(f"the {part} part has no trial of '{name}'", hint="Name another class, or another --part.")
        labels.append(known[0])
    if len(set(labels)) < len(labels):
        raise UsageError(f"a class is named twice: {', '.join(names)}", hint="Name each once.")
    return tuple(labels)


def actions(study: Study) -> Section:
    """Draws the evidence for the true class over the clip of one trial per class."""
    if not study.actions:
        raise NotShown("No classes were asked for: --one-per-class N, or --class NAME.")
    opened, context = study.reported, study.context
    network, loader = opened.network, study.loader(opened)
    place = {trial: row for row, trial in enumerate(loader.trials)}
    shown: list[Action] = []
    records: list[dict[str, Any]] = []
    stage, grid = 0, ""
    for label in study.actions:
        row = _first(study, label)
        trial = study.scores.trials[row]
        batch = next(iter(loader.batches([place[trial]], 1)))
        with torch.no_grad():
            inputs = network.represent(batch)
        clips = [number for number, values in enumerate(inputs) if values[0].dim() == _CLIP]
        if not clips:
            raise NotShown("This network takes no clip.")
        if not shown:
            stage = telling_stage(network, inputs)
        number = clips[0]
        cam = grad_cam(network, inputs, label, context.accelerator, stage)[number]
        clip = context.run_spec.dataset.clip(trial, network.sees[network.branches[number]])
        told = entry(study, row)
        names = study.card.short_names
        predicted = int(study.scores.predicted[row])
        shown.append(
            Action(
                name=names[label],
                trial=trial,
                taken_for="" if predicted == label else names[predicted],
                clip=clip,
                heat=enlarged(cam, inputs[number].shape[2:]),
                seconds=study.seconds(trial),
            )
        )
        grid = "×".join(map(str, cam.shape))
        records.append(told | {"right": predicted == label, "empty": bool(cam.max() == 0)})
    rule = _rule(study)
    of = "last stage" if stage == network.depth - 1 else f"stage {stage + 1}"
    known = f"Grad-CAM of the {of}, for the true class; its map has {grid} cells, time first."
    pictures = draw_actions(shown, f"{study.run.title} · {study.card.title}", [rule, known], study.folder / FILE)
    notes = [
        rule,
        f"{known} Each clip has a scale of its own, one for all its frames: compare colours over place and time, not "
        "between clips.",
        *_wrong(records),
    ]
    return Section(notes, [pictures], numbers={"rule": rule, "stage": stage + 1, "actions": records})


def _first(study: Study, label: int) -> int:
    """The row of the first trial of a class that is classified rightly, else of the first of all."""
    scores = study.scores
    rows = np.flatnonzero(scores.labels == label)
    right = rows[scores.predicted[rows] == label]
    return int((right if len(right) else rows)[0])


def _rule(study: Study) -> str:
    tested = np.unique(study.scores.labels).tolist()
    first = f"the first {len(study.actions)} of {counted(len(tested), 'class')} in the order of their labels"
    which = first if list(study.actions) == tested[: len(study.actions)] else "classes that were named"
    return (
        f"Chosen by rule: {which}; of each, the first trial of the {study.run.conditions['part']} part, by name, that "
        "is classified rightly, else the first."
    )


def _wrong(records: Sequence[dict[str, Any]]) -> list[str]:
    wrong = [f"{one['trial']} ({one['true']}, taken for {one['predicted']})" for one in records if not one["right"]]
    if not wrong:
        return []
    return [f"{counted(len(wrong), 'class')} {inflected(len(wrong), 'has')} no right trial: {'; '.join(wrong)}."]
