"""What the teacher sees: the image or the series that its representation makes of each sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kdbench.data.readers.timeline import centres
from kdbench.explanation.cam_pictures import AXES, image_of
from kdbench.explanation.reopen import Opened
from kdbench.explanation.section import NotShown, Picture, Section
from kdbench.explanation.study import Study
from kdbench.plotting.style import COLOURS, PLAIN, save_png
from kdbench.text.wording import counted

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
    if teacher.spec.modality != "sensors":
        raise NotShown("The teacher sees video.")
    kind = teacher.spec.representation.name
    chosen = _chosen(study)
    _draw(study, teacher, chosen)
    return Section(
        notes=[
            f"What the representation '{kind}' makes of each sensor, as the teacher's encoders get it: the first three "
            "channels as red, green and blue, stretched to full contrast."
            if teacher.network.representations[0].makes == "image"
            else f"What the representation '{kind}' makes of each sensor, as the teacher's encoders get it. {AXES}"
        ],
        pictures=[
            Picture(
                FILE, f"{counted(len(chosen), 'trial')} of the {study.run.conditions['part']} part, a column per trial."
            )
        ],
        numbers={"trials": chosen, "representation": kind, "sources": list(teacher.network.sources)},
    )


def _chosen(study: Study) -> list[str]:
    """Two trials per class, of classes that lie evenly over all of them, the two of different subjects if possible."""
    scores = study.scores
    present = np.unique(scores.labels)
    classes = present[np.linspace(0, len(present) - 1, min(CLASSES, len(present))).round().astype(int)]
    chosen: list[str] = []
    for label in classes:
        rows = np.flatnonzero(scores.labels == label)
        chosen += [
            scores.trials[row] for row in dict.fromkeys(rows[np.linspace(0, len(rows) - 1, REPEATS).astype(int)])
        ]
    return chosen


def _draw(study: Study, teacher: Opened, chosen: list[str]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    network, loader = teacher.network, study.setting.loader(tuple(chosen), teacher.spec)
    batch = next(iter(loader.batches(list(range(len(chosen))), len(chosen))))
    with torch.no_grad():
        shown = [x.float().cpu().numpy() for x in network.represent(batch)]
    rows, columns = len(network.sources), len(chosen)
    names = study.card.short_names
    with mpl.rc_context(PLAIN):
        figure = Figure(figsize=(1.25 * columns + 0.5, 1.35 * rows + 0.6), layout="constrained")
        for row, (source, line) in enumerate(
            zip(network.sources, figure.subplots(rows, columns, squeeze=False), strict=True)
        ):
            for column, axes in enumerate(line):
                _panel(axes, shown[row][column])
                if row == 0:
                    label = names[study.scores.labels[study.row(chosen[column])]]
                    axes.set_title(f"{label}\n{chosen[column]}", fontsize=7.5)
            line[0].set_ylabel(source)
        save_png(figure, study.folder / FILE)


def _panel(axes: Any, values: np.ndarray) -> None:
    if values.ndim == 3:
        axes.imshow(image_of(values), interpolation="lanczos")
        axes.spines[:].set_visible(False)
    else:
        for channel, colour in zip(values, COLOURS, strict=False):
            axes.plot(centres(values.shape[1]), channel, color=colour, linewidth=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
