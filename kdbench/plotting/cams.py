"""Pictures of Grad-CAM: over the frames of a clip, over a series, over an image of a series."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.data.readers.timeline import centre_frames, centres
from kdbench.plotting.style import (
    COLOURS,
    FAINT,
    PLAIN,
    CaptionedFile,
    as_pictures,
    heated,
    png_figure,
    save_gif,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 8
"""Frames that are shown of a clip."""
AXES = "The axes of a sensor are blue, orange, green, …, in their order."
"""How curves are to be read."""
_IMAGES = "Left what the network takes, right the evidence over it, from violet where there is none to yellow."
COARSE = 4
"""Cells along an axis below which a map is shown as blocks."""
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
_LEFT, _CELL, _GAP = 1.25, 1.3, 0.05
_LABEL = 15
# A sheet may go into a submission, which is to stay small.
_DPI = 120


@dataclass(frozen=True)
class Look:
    """One trial that is looked at.

    Attributes:
        trial: Its id.
        why: Why it was chosen.
        name: Name of its files, without the ending.
        title: What is known of it, in a line.
        targets: The classes whose evidence is shown, by their roles: the predicted one, and the true one where it is
            another.
        names: Short names of those classes, by the same roles.
        inputs: What the network takes, a tensor `(C, *size)` per source.
        heat: For each target the map of each source, at the size of its input, in [0, 1].
        maps: What is known of each source's map, as `the last map has 2×4×4 cells`.
        seconds: Length of the trial.
    """

    trial: str
    why: str
    name: str
    title: str
    targets: dict[str, int]
    names: dict[str, str]
    inputs: list[np.ndarray]
    heat: list[list[np.ndarray]]
    maps: list[str]
    seconds: float

    def of(self, sources: Sequence[int], name: str) -> Look:
        """The same look at some of the sources.

        Args:
            sources: Their positions.
            name: What its files are called behind those of the whole look.
        """
        return replace(
            self,
            name=f"{self.name}_{name}",
            inputs=[self.inputs[number] for number in sources],
            heat=[[maps[number] for number in sources] for maps in self.heat],
            maps=[self.maps[number] for number in sources],
        )


def draw_clip(look: Look, clip: np.ndarray, folder: Path) -> list[CaptionedFile]:
    """A sheet of frames with the heat over them, and a GIF over the whole clip.

    Args:
        look: The trial; its network has one source.
        clip: Its frames `(C, T, H, W)`, uint8.
        folder: Where the files go.
    """
    frames = as_pictures(clip)
    heat = {role: resized(maps[0], frames.shape[:3]) for role, maps in zip(look.targets, look.heat, strict=True)}
    shown = centre_frames(len(frames), min(FRAMES, len(frames)))
    rows = {"frames": np.concatenate([frames[shown], frames.mean(0, keepdims=True).astype(np.uint8)])}
    for role, values in heat.items():
        mean = values.mean(0, keepdims=True)
        mean = mean / mean.max() if mean.max() > 0 else mean
        average = heated(rows["frames"][-1:], mean)
        name = textwrap.fill(look.names[role], _LABEL)
        label = f"for {role}:\n{name}" + ("" if values.max() > 0 else "\n(nothing)")
        rows[label] = np.concatenate([heated(frames[shown], values[shown]), average])
    figure = _sheet(rows, centres(len(frames))[shown] * look.seconds, look.title, look.maps[0])
    save_png(figure, folder / f"{look.name}.png", dpi=_DPI)
    sides = [frames, *(heated(frames, values) for values in heat.values())]
    save_gif(list(np.concatenate(sides, axis=2)), folder / f"{look.name}.gif", seconds=look.seconds)
    order = ", ".join(["the clip", *(f"the evidence for {look.names[role]} ({role})" for role in heat)])
    return [
        CaptionedFile(
            f"{look.name}.png", f"{look.title}. The last column is the average over time, on a scale of its own."
        ),
        CaptionedFile(f"{look.name}.gif", f"{look.trial}, in real time: {order}."),
    ]


def _sheet(rows: dict[str, np.ndarray], seconds: np.ndarray, title: str, known: str) -> Figure:
    """Rows of pictures, the last column being their average, over a scale of the heat; sizes are in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = len(seconds) + 1
    width, height = _LEFT + columns * (_CELL + _GAP) + 3 * _GAP, 0.95 + len(rows) * (_CELL + _GAP)
    with mpl.rc_context(PLAIN):
        figure = Figure(figsize=(width, height))
        figure.text(0.06 / width, 1 - 0.2 / height, title, fontsize=10.5, fontweight="bold", va="center")
        for number, (label, pictures) in enumerate(rows.items()):
            top = height - 0.6 - number * (_CELL + _GAP)
            figure.text((_LEFT - 0.1) / width, (top - _CELL / 2) / height, label, ha="right", va="center", color=FAINT)
            for column, picture in enumerate(pictures):
                apart = 3 * _GAP if column == columns - 1 else 0
                left = _LEFT + column * (_CELL + _GAP) + apart
                axes = figure.add_axes((left / width, (top - _CELL) / height, _CELL / width, _CELL / height))
                axes.imshow(picture, interpolation="lanczos")
                axes.set_axis_off()
                if number == 0:
                    name = "average" if apart else f"{seconds[column]:.1f} s"
                    axes.set_title(name, fontsize=8, color=FAINT, pad=3)
        axes = figure.add_axes((_LEFT / width, 0.12 / height, _CELL / width, 0.1 / height))
        # On a middle grey, as most pictures are.
        axes.imshow(heated(np.full((1, 256, 3), 96, np.uint8), np.linspace(0, 1, 256)[None]), aspect="auto")
        axes.set_axis_off()
        for at, text, side in (
            (_LEFT - 0.1, "no evidence", "right"),
            (_LEFT + _CELL + 0.1, f"most in the row · {known}", "left"),
        ):
            figure.text(at / width, 0.17 / height, text, fontsize=8, color=FAINT, ha=side, va="center")
    return figure


def draw_series(look: Look, sources: Sequence[str], folder: Path) -> list[CaptionedFile]:
    """Each sensor's curves over a band of heat, a row per sensor and a column per class.

    Args:
        look: The trial; what the network takes are series `(C, n)`.
        sources: The sensors.
        folder: Where the file goes.
    """

    def panel(axes: Any, values: np.ndarray, heat: np.ndarray) -> None:
        at = centres(values.shape[1]) * look.seconds
        low, high = float(values.min()), float(values.max())
        margin = 0.08 * (high - low or 1)
        extent = (0, look.seconds, low - margin, high + margin)
        # Pale greys, on which the curves' colours stay legible.
        shade = heat[None] / 2.2
        axes.imshow(shade, aspect="auto", extent=extent, cmap="Greys", vmin=0, vmax=1, interpolation="bilinear")
        for channel, colour in zip(values, COLOURS, strict=False):
            axes.plot(at, channel, color=colour, linewidth=1.2)
        axes.set_xlabel("seconds")

    _grid(look, sources, folder, panel, (5.2, 1.6))
    return [CaptionedFile(f"{look.name}.png", f"{look.title}. {AXES} The darker the ground, the more evidence.")]


def draw_images(look: Look, sources: Sequence[str], folder: Path) -> list[CaptionedFile]:
    """The image of each sensor with the heat over it, a row per sensor and a column per class.

    Args:
        look: The trial; what the network takes are images `(C, H, W)`.
        sources: The sensors.
        folder: Where the file goes.
    """

    def panel(axes: Any, values: np.ndarray, heat: np.ndarray) -> None:
        picture = image_of(values)
        axes.imshow(np.concatenate([picture, heated(picture, heat)], axis=1), interpolation="lanczos")
        axes.set_xticks([])
        axes.set_yticks([])

    _grid(look, sources, folder, panel, (4.4, 2.2))
    return [CaptionedFile(f"{look.name}.png", f"{look.title}. {_IMAGES}")]


def image_of(values: np.ndarray) -> np.ndarray:
    """The first three channels of an encoder's input `(C, H, W)` as a picture `(H, W, 3)`, uint8, of full contrast."""
    channels = values[:3] if len(values) >= 3 else values[:1].repeat(3, axis=0)
    low, high = channels.min(), channels.max()
    return (255 * (channels - low) / (high - low or 1)).round().astype(np.uint8).transpose(1, 2, 0)


def _grid(look: Look, sources: Sequence[str], folder: Path, panel: Any, size: tuple[float, float]) -> None:
    columns, rows = len(look.targets), len(sources)
    width, height = size[0] * columns + 0.6, (size[1] + 0.4) * rows + 0.6
    with png_figure(folder / f"{look.name}.png", width, height, title=look.title, style=PLAIN) as figure:
        for row, line in enumerate(figure.subplots(rows, columns, squeeze=False)):
            for column, (axes, role) in enumerate(zip(line, look.targets, strict=True)):
                panel(axes, look.inputs[row], look.heat[column][row])
                axes.set_title(f"{sources[row]}: for {role}, {look.names[role]}", loc="left", fontsize=9)


def draw_inputs(inputs: Sequence[np.ndarray], sources: Sequence[str], titles: Sequence[str], path: Path) -> None:
    """What a network takes of several trials: a row per source and a column per trial.

    Args:
        inputs: For each source its trials, images `(N, C, H, W)` or series `(N, C, n)`.
        sources: The sensors.
        titles: N headings.
        path: The PNG.
    """
    rows, columns = len(sources), len(titles)
    with png_figure(path, 1.25 * columns + 0.5, 1.35 * rows + 0.6, style=PLAIN) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        for line, source, trials in zip(panels, sources, inputs, strict=True):
            for axes, values in zip(line, trials, strict=True):
                if values.ndim == 3:
                    axes.imshow(image_of(values), interpolation="lanczos")
                    axes.spines[:].set_visible(False)
                else:
                    for channel, colour in zip(values, COLOURS, strict=False):
                        axes.plot(centres(values.shape[1]), channel, color=colour, linewidth=0.8)
                axes.set_xticks([])
                axes.set_yticks([])
            line[0].set_ylabel(source)
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, fontsize=7.5)


def enlarged(cam: Tensor, size: Sequence[int]) -> np.ndarray:
    """A map at the size of its input, divided by its largest value, so that one scale holds for all of its frames.

    A grid of few cells is shown as the blocks that it is: smooth colours would promise places that it does not know.

    Args:
        cam: `(*grid)`.
        size: As many lengths as the grid has axes.

    Returns:
        `(*size)`, in [0, 1]; a map that is zero stays zero.
    """
    coarse = min(cam.shape) < COARSE
    fine = _blocks(cam.numpy(), size) if coarse else resized(cam.numpy(), size)
    highest = fine.max()
    return fine / highest if highest > 0 else fine


def _blocks(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    for axis, length in enumerate(size):
        cell = (np.arange(length) * values.shape[axis]) // length
        values = values.take(cell, axis=axis)
    return values


def resized(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Values at another size, linearly interpolated between the centres of their cells."""
    x = torch.from_numpy(values)[None, None]
    return F.interpolate(x, size=tuple(size), mode=_MODES[values.ndim], align_corners=False)[0, 0].numpy()
