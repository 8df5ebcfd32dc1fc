"""Pictures of Grad-CAM: over the frames of a clip, over a series, over an image of a series."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.data.readers.timeline import centre_frames, centres
from kdbench.explanation.gradcam import resized
from kdbench.explanation.section import Picture
from kdbench.plotting.style import COLOURS, FAINT, PLAIN, as_pictures, heated, save_gif, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 8
"""Frames that are shown of a clip."""
AXES = "The axes of a sensor are blue, orange, green, …, in their order."
"""How curves are to be read."""
_IMAGES = "Left what the network takes, right the evidence over it, from violet where there is none to yellow."
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


def draw_clip(look: Look, clip: np.ndarray, folder: Path) -> list[Picture]:
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
        Picture(f"{look.name}.png", f"{look.title}. The last column is the average over time, on a scale of its own."),
        Picture(f"{look.name}.gif", f"{look.trial}, in real time: {order}."),
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


def draw_series(look: Look, sources: Sequence[str], folder: Path) -> list[Picture]:
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
    return [Picture(f"{look.name}.png", f"{look.title}. {AXES} The darker the ground, the more evidence.")]


def draw_images(look: Look, sources: Sequence[str], folder: Path) -> list[Picture]:
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
    return [Picture(f"{look.name}.png", f"{look.title}. {_IMAGES}")]


def image_of(values: np.ndarray) -> np.ndarray:
    """The first three channels of an encoder's input `(C, H, W)` as a picture `(H, W, 3)`, uint8, of full contrast."""
    channels = values[:3] if len(values) >= 3 else values[:1].repeat(3, axis=0)
    low, high = channels.min(), channels.max()
    return (255 * (channels - low) / (high - low or 1)).round().astype(np.uint8).transpose(1, 2, 0)


def _grid(look: Look, sources: Sequence[str], folder: Path, panel: Any, size: tuple[float, float]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns, rows = len(look.targets), len(sources)
    with mpl.rc_context(PLAIN):
        figure = Figure(figsize=(size[0] * columns + 0.6, (size[1] + 0.4) * rows + 0.6), layout="constrained")
        title = textwrap.fill(look.title, int(10 * figure.get_figwidth()))
        figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        for row, line in enumerate(figure.subplots(rows, columns, squeeze=False)):
            for column, (axes, role) in enumerate(zip(line, look.targets, strict=True)):
                panel(axes, look.inputs[row], look.heat[column][row])
                axes.set_title(f"{sources[row]}: for {role}, {look.names[role]}", loc="left", fontsize=9)
        save_png(figure, folder / f"{look.name}.png")
