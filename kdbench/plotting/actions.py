"""A sheet of clips, one per class: some of their frames, and the evidence over them below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.readers.timeline import centre_frames, centres
from kdbench.plotting.cams import resized
from kdbench.plotting.style import FAINT, PLAIN, CaptionedFile, as_pictures, heated, save_png, short
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 4
"""Frames that are shown of a clip."""
_COLUMNS = 3
_CELL, _GAP, _BETWEEN, _MARGIN = 0.92, 0.04, 0.3, 0.3
_HEAD, _LINE = 0.42, 0.19
_WRONG = "#b3261e"
_WIDTH = 110
"""Characters of a line of the heading, on a sheet of three columns."""
_DPI = 150


@dataclass(frozen=True)
class Action:
    """The clip of one class.

    Attributes:
        name: Short name of the class.
        trial: Id of the trial.
        taken_for: What it is classified as, where that is wrong; else empty.
        clip: `(C, T, H, W)`, uint8.
        heat: Evidence for the class, `(T', H', W')` in [0, 1].
        seconds: Length of the trial.
    """

    name: str
    trial: str
    taken_for: str
    clip: np.ndarray
    heat: np.ndarray
    seconds: float


def draw_actions(actions: Sequence[Action], title: str, lines: Sequence[str], path: Path) -> CaptionedFile:
    """Draws the sheet; sizes are in inches.

    Args:
        actions: The clips, in rows of three.
        title: The heading.
        lines: What one has to know, below it.
        path: The PNG.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    frames = min(FRAMES, *(action.clip.shape[1] for action in actions))
    columns, rows = min(_COLUMNS, len(actions)), -(-len(actions) // _COLUMNS)
    block = frames * _CELL + (frames - 1) * _GAP, _HEAD + 2 * _CELL + _GAP
    width = max(2 * _MARGIN + columns * block[0] + (columns - 1) * _BETWEEN, 6.0)
    characters = int(_WIDTH * width / 12)
    written = [part for line in lines for part in textwrap.wrap(line, int(1.55 * characters))]
    heading = textwrap.wrap(title, characters)
    top = _MARGIN + 0.26 * len(heading) + _LINE * len(written) + 0.1
    height = top + rows * (block[1] + _BETWEEN) + 0.4
    with mpl.rc_context(PLAIN):
        figure = Figure(figsize=(width, height), facecolor="white")
        at = height - _MARGIN
        for text in heading:
            figure.text(_MARGIN / width, at / height, text, fontsize=13, fontweight="bold", va="center")
            at -= 0.26
        for text in written:
            figure.text(_MARGIN / width, at / height, text, fontsize=9, color=FAINT, va="center")
            at -= _LINE
        for number, action in enumerate(actions):
            left = _MARGIN + number % _COLUMNS * (block[0] + _BETWEEN)
            _block(figure, action, frames, left, height - top - number // _COLUMNS * (block[1] + _BETWEEN))
        _scale(figure)
    save_png(figure, path, dpi=_DPI)
    return CaptionedFile(
        path.name,
        f"{counted(len(actions), 'clip')}, one for each class: above its frames at even times, below the evidence "
        "for its true class over them.",
    )


def _block(figure: Figure, action: Action, frames: int, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    pictures = as_pictures(action.clip)
    heat = resized(action.heat, pictures.shape[:3])
    shown = centre_frames(len(pictures), frames)
    figure.text(left / width, (top - 0.09) / height, action.name, fontsize=11, fontweight="bold", va="center")
    # What is wrong is said in words, since red alone would be lost in grey print.
    trial, colour = short(action.trial, 60), FAINT
    if action.taken_for:
        trial, colour = f"{short(action.trial, 34)} · wrong: taken for {short(action.taken_for, 22)}", _WRONG
    figure.text(left / width, (top - 0.29) / height, trial, fontsize=7.5, color=colour, va="center")
    end = left + frames * _CELL + (frames - 1) * _GAP
    at = centres(len(pictures))[shown] * action.seconds
    span = f"{at[0]:.1f}-{at[-1]:.1f} s"
    figure.text(end / width, (top - 0.09) / height, span, fontsize=7.5, color=FAINT, ha="right", va="center")
    for line, row in enumerate((pictures[shown], heated(pictures[shown], heat[shown]))):
        for column, picture in enumerate(row):
            x, y = left + column * (_CELL + _GAP), top - _HEAD - _CELL - line * (_CELL + _GAP)
            axes = figure.add_axes((x / width, y / height, _CELL / width, _CELL / height))
            axes.imshow(picture, interpolation="lanczos")
            axes.set_axis_off()


def _scale(figure: Figure) -> None:
    """What the colours mean, at the foot; on a middle grey, as most pictures are."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes(((_MARGIN + 0.85) / width, 0.22 / height, 1.4 / width, 0.12 / height))
    axes.imshow(heated(np.full((1, 256, 3), 96, np.uint8), np.linspace(0, 1, 256)[None]), aspect="auto")
    axes.set_axis_off()
    for x, text in ((_MARGIN, "no evidence"), (_MARGIN + 2.35, "most in the clip")):
        figure.text(x / width, 0.28 / height, text, fontsize=8, color=FAINT, va="center")
