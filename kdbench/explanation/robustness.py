"""How the accuracy falls when the input is damaged; for reporting, never for a choice."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.data.store.progress import progress
from kdbench.evaluation.metrics import majority_share
from kdbench.explanation.corruptions import CORRUPTIONS, corrupted
from kdbench.explanation.section import PageTable, Picture, Section
from kdbench.explanation.study import Study
from kdbench.plotting.style import COLOURS, INK, PLAIN, RULE, accuracy_end, save_png
from kdbench.text.wording import counted
from kdbench.types import Batch
from kdbench.util.progress import Reporter

FILE = "robustness.png"


def robustness(study: Study) -> Section:
    """Measures the accuracy under each corruption and severity, over several draws, and draws the curves."""
    modality, clean = study.reported.spec.modality, study.clean.accuracy
    kinds = CORRUPTIONS[modality]
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
    _draw(study, curves, clean)
    part = study.run.conditions["part"]
    return Section(
        notes=[
            f"Accuracy of the {study.reported.role} on the {part} part with damaged inputs, "
            f"{counted(study.draws, 'random draw')} "
            "a severity, the same for every network of these trials. It was trained without this damage.",
            f"For reporting alone: a method or a setting that is chosen by these curves has been chosen on the {part} "
            "part.",
        ],
        pictures=[Picture(FILE, "Mean over the draws; the band reaches from the lowest to the highest.")],
        tables=[
            PageTable(
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


def accuracy_under(study: Study, name: str, severity: float, draw: int) -> float:
    """The accuracy of the reported network under one draw of a corruption, in [0, 1]."""
    modality = study.reported.spec.modality

    def change(batch: Batch) -> Batch:
        return corrupted(batch, modality, name, severity, draw)

    return study.predict(study.reported, change).accuracy


def _point(severity: float, values: list[float], *, first: bool) -> dict[str, Any]:
    spread = None if first or len(values) < 2 else float(np.std(values, ddof=1))
    return {"severity": severity, "mean": float(np.mean(values)), "sd": spread, "accuracies": values}


def _draw(study: Study, curves: dict[str, list[dict[str, Any]]], clean: float) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    kinds = CORRUPTIONS[study.reported.spec.modality]
    chance = majority_share(study.scores.labels)
    drawn = [chance, clean, *(value for points in curves.values() for point in points for value in point["accuracies"])]
    with mpl.rc_context(PLAIN):
        figure = Figure(figsize=(3.1 * len(curves), 3.3), layout="constrained")
        for number, (axes, (name, points)) in enumerate(
            zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True)
        ):
            at = range(len(points))
            colour = COLOURS[number % len(COLOURS)]
            axes.axhline(100 * clean, color=RULE, linewidth=1)
            axes.axhline(100 * chance, color=RULE, linewidth=1, linestyle=":")
            lows, highs = ([100 * pick(point["accuracies"]) for point in points] for pick in (min, max))
            axes.fill_between(at, lows, highs, color=colour, alpha=0.2, linewidth=0)
            axes.plot(at, [100 * point["mean"] for point in points], marker="o", markersize=4, color=colour)
            axes.set_xticks(at, [f"{point['severity']:g}" for point in points])
            axes.set_xlabel(kinds[name].unit)
            axes.set_title(name, loc="left", color=INK)
            axes.set_ylim(0, 1.02 * accuracy_end(100 * value for value in drawn))
            if number == 0:
                axes.set_ylabel("accuracy %")
                axes.annotate(
                    "always one class",
                    (0, 100 * chance),
                    xytext=(0, 2),
                    textcoords="offset points",
                    fontsize=7,
                    color="#8A8A8A",
                )
        save_png(figure, study.folder / FILE)
