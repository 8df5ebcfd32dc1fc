"""What a network sees of series: the image or the series that its representation makes of each sensor."""

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
_FILE = "{role}_inputs.png"


def inputs(study: Study) -> Section:
    """Draws the teacher's inputs of a few classes, two trials of each, so that what they share is seen.

    Of a run without a teacher, or with one that sees video alone, those of the network that it reports.

    Raises:
        NotShown: Neither sees a series.
    """
    opened = next((each for each in (study.teacher, study.reported) if each is not None and _shown(each)), None)
    if opened is None:
        raise NotShown("The networks of this run see video alone.")
    kinds = {
        name: branch.representation.name
        for name, branch in opened.spec.branches_for(study.card.sensors).items()
        if not is_video(branch.sees)
    }
    whose = f"as the {opened.role}'s encoders get it"
    file = _FILE.format(role=opened.role)
    kind = ", ".join(dict.fromkeys(kinds.values()))
    chosen = _chosen(study)
    _draw(study, opened, chosen, file)
    return Section(
        notes=[
            f"What the representation '{kind}' makes of each source, {whose}: the first three "
            "channels as red, green and blue, stretched to full contrast."
            if any(opened.network.representations[number].makes == "image" for number in _shown(opened))
            else f"What the representation '{kind}' makes of each source, {whose}. {AXES}"
        ],
        pictures=[
            CaptionedFile(
                file, f"{counted(len(chosen), 'trial')} of the {study.run.conditions['part']} part, a column per trial."
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


def _shown(opened: Opened) -> list[int]:
    """The branches that see no video, by their numbers."""
    sees = opened.network.sees.values()
    return [number for number, source in enumerate(sees) if not is_video(source)]


def _draw(study: Study, opened: Opened, chosen: list[str], file: str) -> None:
    network, loader = opened.network, study.context.loader(tuple(chosen), opened.spec)
    batch = next(iter(loader.batches(list(range(len(chosen))), len(chosen))))
    with torch.no_grad():
        represented = network.represent(batch)
    shown = {network.branches[number]: represented[number].float().cpu().numpy() for number in _shown(opened)}
    names = study.card.short_names
    titles = [f"{names[study.scores.labels[study.row(trial)]]}\n{trial}" for trial in chosen]
    draw_inputs(list(shown.values()), list(shown), titles, study.folder / file)
