"""What the teacher sees: the image or the series that its representation makes of each sensor."""

from __future__ import annotations

import numpy as np
import torch

from kdbench.explanation.reopen import Opened
from kdbench.explanation.section import NotShown, Section
from kdbench.explanation.study import Study
from kdbench.plotting.cams import AXES, draw_inputs
from kdbench.plotting.style import CaptionedFile
from kdbench.text.wording import counted
from kdbench.types import is_video

CLASSES, REPEATS = 6, 2
FILE = "teacher_inputs.png"


def inputs(study: Study) -> Section:
    """Draws the teacher's inputs of a few classes, two trials of each, so that what they share is seen.

    Raises:
        NotShown: The run has no teacher, or one that sees video.
    """
    teacher = study.teacher
    if teacher is None:
        raise NotShown("This run has no teacher.")
    kinds = {
        name: branch.representation.name
        for name, branch in teacher.spec.branches_for(study.card.sensors).items()
        if not is_video(branch.sees)
    }
    if not kinds:
        raise NotShown("The teacher sees video.")
    kind = ", ".join(dict.fromkeys(kinds.values()))
    chosen = _chosen(study)
    _draw(study, teacher, chosen)
    return Section(
        notes=[
            f"What the representation '{kind}' makes of each sensor, as the teacher's encoders get it: the first three "
            "channels as red, green and blue, stretched to full contrast."
            if any(teacher.network.representations[number].makes == "image" for number in _shown(teacher))
            else f"What the representation '{kind}' makes of each sensor, as the teacher's encoders get it. {AXES}"
        ],
        pictures=[
            CaptionedFile(
                FILE, f"{counted(len(chosen), 'trial')} of the {study.run.conditions['part']} part, a column per trial."
            )
        ],
        numbers={"trials": chosen, "representation": kind, "sources": list(kinds)},
    )


def _chosen(study: Study) -> list[str]:
    """Two trials per class, of classes that lie evenly over all of them, the two of different subjects if possible."""
    scores = study.scores
    present = np.unique(scores.labels)
    classes = present[np.linspace(0, len(present) - 1, min(CLASSES, len(present))).round().astype(int)]
    chosen: list[str] = []
    for label in classes:
        rows = np.flatnonzero(scores.labels == label)
        # Of a class with a single trial both places are the same.
        chosen += [
            scores.trials[row] for row in dict.fromkeys(rows[np.linspace(0, len(rows) - 1, REPEATS).astype(int)])
        ]
    return chosen


def _shown(teacher: Opened) -> list[int]:
    """The branches that see no video, by their numbers."""
    sees = teacher.network.sees.values()
    return [number for number, source in enumerate(sees) if not is_video(source)]


def _draw(study: Study, teacher: Opened, chosen: list[str]) -> None:
    network, loader = teacher.network, study.context.loader(tuple(chosen), teacher.spec)
    batch = next(iter(loader.batches(list(range(len(chosen))), len(chosen))))
    with torch.no_grad():
        represented = network.represent(batch)
    shown = {network.branches[number]: represented[number].float().cpu().numpy() for number in _shown(teacher)}
    names = study.card.short_names
    titles = [f"{names[study.scores.labels[study.row(trial)]]}\n{trial}" for trial in chosen]
    draw_inputs(list(shown.values()), list(shown), titles, study.folder / FILE)
