"""How every picture looks, and how it is written."""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from kdbench.util.records import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F", "#B8A200")
"""Okabe and Ito's colours, told apart by colour-blind readers."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    # Names of classes, trials and losses may hold a dollar sign.
    "text.parse_math": False,
}
"""What all pictures have in common, for `matplotlib.rc_context`."""
INK, FAINT, RULE = "#1A1A1A", "#6B6B6B", "#E2E2E2"
PLAIN: dict[Any, Any] = STYLE | {
    "text.color": INK,
    "axes.grid": False,
    "axes.edgecolor": "#B0B0B0",
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}
"""The same without a grid, for pictures of recordings."""
NAME_LENGTH = 40
_ENDS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0)
_FULLEST = 0.95
"""Share of an axis that values may take before it gets longer."""
GIF_SIDE = 224


@dataclass(frozen=True)
class CaptionedFile:
    """A picture that was written.

    Attributes:
        file: Its name in its folder.
        caption: What it shows, in a sentence.
    """

    file: Annotated[str, Field(pattern=r"^[^/\\.][^/\\]*$")]
    caption: str


def save_gif(frames: Sequence[np.ndarray], path: Path, *, seconds: float) -> None:
    """Writes an endless GIF.

    Args:
        frames: T pictures `(H, W, 3)`, uint8; small ones are enlarged to a readable height.
        path: The file.
        seconds: How long one round takes.
    """
    from PIL import Image

    height, width = frames[0].shape[:2]
    times = max(1, round(GIF_SIDE / height))
    size = (width * times, height * times)
    pictures = [Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC) for frame in frames]
    # One palette for all frames: with one each, the same grey flickers.
    palette = Image.new("P", (1, 1))
    greys = [level for level in range(0, 256, 8) for _ in range(3)]
    palette.putpalette((Image.fromarray(np.concatenate(frames)).quantize(224).getpalette() or [])[:672] + greys)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
    buffer = io.BytesIO()
    # Browsers show frames of less than 20 ms at a tenth of the speed.
    milliseconds = max(20, round(1000 * seconds / len(frames)))
    pictures[0].save(buffer, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    write_bytes(path, buffer.getvalue())


def as_pictures(clip: np.ndarray) -> np.ndarray:
    """The frames of a clip `(C, T, H, W)`, uint8, as pictures `(T, H, W, 3)`, uint8."""
    frames = clip[:3] if len(clip) >= 3 else clip[:1].repeat(3, axis=0)
    return np.ascontiguousarray(frames.transpose(1, 2, 3, 0))


def heated(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays heat over a picture: violet where there is none, over blue and green to yellow where there is most.

    The picture is shown in grey, so that all colour is heat; the colours are viridis, which is perceptually uniform and
    told apart by colour-blind readers.

    Args:
        picture: `(…, 3)`, uint8.
        heat: `(…)` in [0, 1].

    Returns:
        `(…, 3)`, uint8.
    """
    import matplotlib as mpl

    colour = 255 * mpl.colormaps["viridis"](heat)[..., :3]
    grey = picture.mean(-1, keepdims=True)
    return (0.3 * grey + 0.7 * colour).round().astype(np.uint8)


def save_png(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Writes a figure as PNG, whole or not at all.

    Args:
        figure: The figure.
        path: The file.
        dpi: Pixels an inch.

    Raises:
        RunFailed: The file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    write_bytes(path, buffer.getvalue())


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, of no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@contextlib.contextmanager
def png_figure(
    path: Path, width: float, height: float, *, title: str = "", style: dict[Any, Any] = STYLE, dpi: int = 150
) -> Iterator[Figure]:
    """A figure to draw into, which is written as PNG when the block ends; the user's settings of matplotlib stay.

    Args:
        path: The file.
        width: In inches.
        height: In inches.
        title: Heading, wrapped to the width.
        style: `STYLE` or `PLAIN`.
        dpi: Pixels an inch.

    Raises:
        RunFailed: The file cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context(style):
        figure = new_figure(width, height)
        if title:
            figure.suptitle(textwrap.fill(title, int(9 * width)), fontsize=11, fontweight="bold")
        yield figure
        save_png(figure, path, dpi=dpi)


def head(figure: Figure, title: str, line: str) -> None:
    """A title and, below it, whom the picture is about; both wrapped to the figure's width."""
    characters = int(figure.get_figwidth() * 11)
    wrapped = textwrap.fill(title, characters)
    figure.suptitle(f"{wrapped}\n{textwrap.fill(line, characters)}", fontsize=10.5)


def accuracy_end(values: Iterable[float]) -> float:
    """Where an axis of accuracy ends that starts at 0, in per cent: at 100, or sooner where all values lie far below.

    Args:
        values: All that is drawn, intervals and chance included, in per cent.
    """
    highest = max((value for value in values if np.isfinite(value)), default=100.0)
    return next((end for end in _ENDS if highest <= _FULLEST * end), 100.0)


def short(name: str, length: int = NAME_LENGTH) -> str:
    """A name that fits beside an axis, shortened in its middle: variants of a method differ at their ends."""
    head, tail = length // 2, (length - 1) // 2
    return name if len(name) <= length else f"{name[:head]}…{name[-tail:]}"


def heatmap(
    figure: Figure,
    values: np.ndarray,
    written: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    low: float,
    high: float,
    colours: str = "RdBu",
    aspect: Literal["equal", "auto"] = "equal",
) -> tuple[Axes, Colorbar]:
    """A matrix as coloured cells with a number in each, white lines between them, and a scale beside it.

    Args:
        figure: Where to draw.
        values: What the colours show, `(R, C)`.
        written: The cells' texts, `(R, C)`; empty for none.
        rows: R names.
        columns: C names.
        low: Value of the first colour.
        high: Value of the last colour.
        colours: Name of a colour map.
        aspect: `equal` for square cells, or `auto`.
    """
    axes = figure.subplots()
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect=aspect)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    for (row, column), text in np.ndenumerate(written):
        if text:
            colour = "white" if abs(values[row, column]) > 0.58 * high else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_xticks(np.arange(0.5, len(columns) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=24, pad=0.02)
    bar.outline.set_visible(False)
    return axes, bar


def nothing(axes: Axes, text: str) -> None:
    """Says why a panel is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#777777")
