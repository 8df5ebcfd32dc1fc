"""How the accuracy falls when the input is damaged; for reporting, never for a choice."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.data.store.progress import progress
from kdbench.evaluation.metrics import majority_share
from kdbench.explanation.corruptions import CORRUPTIONS, Corruption, corrupted
from kdbench.explanation.section import Section, SectionTable
from kdbench.explanation.study import Study
from kdbench.plotting.robustness import draw_robustness
from kdbench.plotting.style import CaptionedFile
from kdbench.text.wording import counted
from kdbench.types import SENSORS, VIDEO, Batch
from kdbench.util.progress import Reporter

FILE = "robustness.png"


def robustness(study: Study) -> Section:
    """Measures the accuracy under each corruption and severity, over several draws, and draws the curves."""
    clean, kinds = study.clean.accuracy, corruptions_of(study)
    todo = [
        (name, severity, draw)
        for name, corruption in kinds.items()
        for severity in corruption.severities[1:]
        for draw in range(study.draws)
    ]
    accuracies: dict[tuple[str, float], list[float]] = {}
    with progress("Robustness", len(todo), shown=type(study.reporter) is not Reporter) as advance:
        for name, severity, draw in todo:
            accuracies.setdefault((name, severity), []).append(accuracy_under(study, name, severity, draw))
            advance()
    curves = {
        name: [
            _point(severity, accuracies.get((name, severity), [clean]), first=severity == corruption.severities[0])
            for severity in corruption.severities
        ]
        for name, corruption in kinds.items()
    }
    units, chance = {name: corruption.unit for name, corruption in kinds.items()}, majority_share(study.scores.labels)
    draw_robustness(curves, units, study.folder / FILE, clean=clean, chance=chance)
    part = study.run.conditions["part"]
    return Section(
        notes=[
            f"Accuracy of the {study.reported.role} on the {part} part with damaged inputs, "
            f"{counted(study.draws, 'random draw')} "
            "a severity, the same for every network of these trials. It was trained without this damage.",
            f"For reporting alone: a method or a setting that is chosen by these curves has been chosen on the {part} "
            "part.",
        ],
        pictures=[CaptionedFile(FILE, "Mean over the draws; the band reaches from the lowest to the highest.")],
        tables=[
            SectionTable(
                f"{name}: {kinds[name].unit}",
                ("severity", "accuracy %", "standard deviation, points", "change, points"),
                [
                    (
                        f"{point['severity']:g}",
                        f"{100 * point['mean']:.1f}",
                        "–" if point["sd"] is None else f"{100 * point['sd']:.1f}",
                        f"{100 * (point['mean'] - clean):+z.1f}",
                    )
                    for point in points
                ],
            )
            for name, points in curves.items()
        ],
        numbers={"clean": clean, "draws": study.draws, "curves": curves},
    )


def corruptions_of(study: Study) -> dict[str, Corruption]:
    """What can be damaged of what the reported network sees; by modality where it sees both."""
    seen = [modality for modality in CORRUPTIONS if study.reported.spec.shows(modality)]
    return {
        name if len(seen) == 1 else f"{modality}: {name}": corruption
        for modality in seen
        for name, corruption in CORRUPTIONS[modality].items()
    }


def accuracy_under(study: Study, name: str, severity: float, draw: int) -> float:
    """The accuracy of the reported network under one draw of a corruption, in [0, 1]."""
    modality, _, kind = name.rpartition(": ")
    if not modality:
        modality = VIDEO if study.reported.spec.shows(VIDEO) else SENSORS

    def change(batch: Batch) -> Batch:
        return corrupted(batch, modality, kind, severity, draw)

    return study.predict(study.reported, change).accuracy


def _point(severity: float, values: list[float], *, first: bool) -> dict[str, Any]:
    spread = None if first or len(values) < 2 else float(np.std(values, ddof=1))
    return {"severity": severity, "mean": float(np.mean(values)), "sd": spread, "accuracies": values}
