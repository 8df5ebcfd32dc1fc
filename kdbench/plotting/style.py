"""How the pictures of an explanation look, and how a clip is written."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.plotting import figures as plots
from kdbench.util.records import write_bytes

INK, FAINT, RULE = "#1A1A1A", "#6B6B6B", "#E2E2E2"
STYLE: dict[Any, Any] = plots.STYLE | {
    "text.color": INK,
    "axes.grid": False,
    "axes.edgecolor": "#B0B0B0",
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}
GIF_SIDE = 224


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
    each = max(20, round(1000 * seconds / len(frames)))
    pictures[0].save(buffer, format="GIF", save_all=True, append_images=pictures[1:], duration=each, loop=0)
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
