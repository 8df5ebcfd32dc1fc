"""Grad-CAM of chosen trials: the most confident errors and successes, and whatever was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdbench.explanation.gradcam import agreement, grad_cam, telling_stage
from kdbench.explanation.reopen import untrained
from kdbench.explanation.section import Section
from kdbench.explanation.study import Study
from kdbench.explanation.trials import entry
from kdbench.network import Network
from kdbench.plotting.cams import Look, draw_clip, draw_images, draw_series, enlarged
from kdbench.plotting.style import CaptionedFile
from kdbench.text.wording import inflected

WORST = BEST = 4
_SERIES, _CLIP = 2, 4
"""Axes of one trial of what an encoder takes, the channels included."""


def cams(study: Study) -> Section:
    """Draws the evidence for the predicted and for the true class, averaged over time and per frame."""
    opened, context = study.reported, study.context
    network, loader = opened.network, study.loader(opened)
    fresh = untrained(context, opened.role, network, opened.spec)
    place = {trial: row for row, trial in enumerate(loader.trials)}
    section = Section()
    records: list[dict[str, Any]] = []
    stage = network.depth - 1
    for trial, why in _chosen(study).items():
        batch = next(iter(loader.batches([place[trial]], 1)))
        with torch.no_grad():
            inputs = network.represent(batch)
        if not records:
            stage = telling_stage(network, inputs)
            section.notes = _notes(study, stage, is_last=stage == network.depth - 1)
        targets = _targets(study, trial)
        maps = [grad_cam(network, inputs, target, context.accelerator, stage) for target in targets.values()]
        look = _look(study, trial, why, targets, inputs, maps, _of(stage, is_last=stage == network.depth - 1))
        section.pictures += _pictures(study, network, look, trial)
        random = grad_cam(fresh, inputs, next(iter(targets.values())), context.accelerator, stage)
        records.append(_numbers(study, look, maps[0], random, network))
    section.numbers = {
        "stage": stage + 1,
        "grid": {source: list(cam.shape) for source, cam in zip(network.branches, maps[0], strict=True)},
        "trials": records,
    }
    section.notes += _sanity(records, section.numbers["grid"])
    return section


def _pictures(study: Study, network: Network, look: Look, trial: str) -> list[CaptionedFile]:
    """The evidence of one trial: a sheet of each video, one of all series, and one of all images."""
    pictures: list[CaptionedFile] = []
    by_axes: dict[int, list[int]] = {}
    for number, values in enumerate(look.inputs):
        by_axes.setdefault(values.ndim, []).append(number)
    alone = len(look.inputs) == len(by_axes.get(_CLIP, [])) == 1 or (len(by_axes) == 1 and _CLIP not in by_axes)
    for axes, numbers in by_axes.items():
        for group in ([number] for number in numbers) if axes == _CLIP else (numbers,):
            names = [network.branches[number] for number in group]
            part = look if alone else look.of(group, "_".join(names))
            if axes == _CLIP:
                clip = study.context.run_spec.dataset.clip(trial, network.sees[names[0]])
                pictures += draw_clip(part, clip, study.folder)
            else:
                pictures += (draw_series if axes == _SERIES else draw_images)(part, names, study.folder)
    return pictures


def _chosen(study: Study) -> dict[str, str]:
    """Trials and why each is shown; what was asked for comes first."""
    scores = study.scores
    chosen = {scores.trials[study.row(trial)]: "asked for" for trial in study.chosen}
    for row in scores.worst()[:WORST]:
        chosen.setdefault(scores.trials[row], "confidently wrong")
    for row in scores.best()[:BEST]:
        chosen.setdefault(scores.trials[row], "confidently right")
    return chosen


def _targets(study: Study, trial: str) -> dict[str, int]:
    row = study.row(trial)
    predicted, true = int(study.scores.predicted[row]), int(study.scores.labels[row])
    return {"predicted": predicted} if predicted == true else {"predicted": predicted, "true": true}


def _look(
    study: Study,
    trial: str,
    why: str,
    targets: dict[str, int],
    inputs: list[Tensor],
    maps: list[list[Tensor]],
    shown: str,
) -> Look:
    row, names = study.row(trial), study.card.short_names
    shares = [f"{role} {names[k]} ({100 * study.scores.probabilities[row, k]:.0f} %)" for role, k in targets.items()]
    if len(targets) == 1:
        shares = [f"{shares[0]}, correct"]
    return Look(
        trial=trial,
        why=why,
        name="gradcam_" + "".join(c if c.isalnum() or c in "_-." else "_" for c in trial),
        title=f"{trial} · {why} · {' · '.join(shares)}",
        targets=targets,
        names={role: names[k] for role, k in targets.items()},
        inputs=[x[0].float().cpu().numpy() for x in inputs],
        heat=[[enlarged(cam, x.shape[2:]) for cam, x in zip(row, inputs, strict=True)] for row in maps],
        maps=[f"{shown} has {cells(tuple(cam.shape))}" for cam in maps[0]],
        seconds=study.seconds(trial),
    )


def _numbers(study: Study, look: Look, maps: list[Tensor], random: list[Tensor], network: Network) -> dict[str, Any]:
    sources = {}
    for source, cam, other, heat in zip(network.branches, maps, random, look.heat[0], strict=True):
        over_time = heat.reshape(heat.shape[0], -1).mean(1) if heat.ndim != 2 else heat.mean(0)
        sources[source] = {
            "empty": bool(cam.max() == 0),
            "heat_over_time": [round(float(value), 4) for value in over_time],
            "agreement_with_random_weights": agreement(cam, other),
        }
    return {**entry(study, study.row(look.trial)), "why": look.why, "sources": sources}


def _of(stage: int, *, is_last: bool) -> str:
    return "the last map" if is_last else f"the map of stage {stage + 1}"


def _notes(study: Study, stage: int, *, is_last: bool) -> list[str]:
    of = "the last stage" if is_last else f"stage {stage + 1}"
    notes = [
        f"Grad-CAM of {of} (Selvaraju et al., 2017): which regions of its feature maps support the class. Each trial "
        "and class has a scale of its own, one for all frames: compare colours over place and time, not between trials "
        "or classes."
    ]
    if not is_last:
        notes.append(
            f"The maps of the later stages are one cell per picture, which shows no place; stage {stage + 1} is the "
            "last with more. Later stages may use its evidence otherwise."
        )
    if len(study.reported.network.branches) > 1:
        notes.append("Each branch has a scale of its own too: colours do not say which branch weighs more.")
    if study.reported.network.couples_batch:
        notes.append(
            "This network couples the trials of a batch. The maps are of each trial alone, so its prediction may be "
            "another one than the stored one."
        )
    return notes


def cells(grid: Sequence[int]) -> str:
    """A grid in words: `2×4×4 cells`, time first."""
    count = math.prod(grid)
    return f"{'×'.join(map(str, grid))} {inflected(count, 'cell')}"


def _sanity(records: list[dict[str, Any]], grids: dict[str, list[int]]) -> list[str]:
    values = [
        source["agreement_with_random_weights"]
        for record in records
        for source in record["sources"].values()
        if source["agreement_with_random_weights"] is not None
    ]
    size = ", ".join(f"{cells(grid)} ({source})" for source, grid in grids.items())
    notes = [f"The maps have {size}: the colours resolve nothing finer than a cell."]
    whole = [source for source, grid in grids.items() if len(grid) == 3 and grid[1:] == [1, 1]]
    if whole:
        notes.append(
            f"A cell covers the whole picture ({', '.join(whole)}): these maps say when the evidence lies, and not "
            "where. A larger preset, or a network that halves its maps less often, has finer ones."
        )
    empty = [
        f"{record['trial']} ({name})"
        for record in records
        for name, source in record["sources"].items()
        if source["empty"]
    ]
    if empty:
        shown = ", ".join(empty)
        notes.append(f"Empty, since no cell of the map supports the predicted class: {shown}.")
    if values:
        notes.append(
            "Sanity check (Adebayo et al., 2018): the mean rank correlation of these maps with those of the same "
            f"network with random weights is {np.mean(values):+z.2f}; near 1 they would say nothing about what was "
            "learnt."
        )
    return notes
