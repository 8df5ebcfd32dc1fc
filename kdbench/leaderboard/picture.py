"""The Grad-CAM picture of a submission: the pixels that `kdbench explain` drew, and nothing else."""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING

from kdbench.errors import DataError
from kdbench.explanation.scores import read_scores
from kdbench.leaderboard.faults import fault
from kdbench.leaderboard.files import MOST_BYTES
from kdbench.leaderboard.reading import arrays
from kdbench.leaderboard.schema import PICTURE
from kdbench.runs.store import StoredRun
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from PIL import Image

_LONGEST_SIDE = 4000
_MOST_PIXELS = 8 * 10**6
_EXPECTED = f"expected at most {_LONGEST_SIDE} a side and {_MOST_PIXELS} in all"


def picture_of(run: StoredRun) -> bytes | None:
    """The first Grad-CAM picture of a run's explanation, drawn anew; None where the run was not explained.

    The first is the trial that was asked for, or else the most confident error.

    Raises:
        DataError: The explanation is of other predictions than the run's, or its picture cannot be published.
    """
    folder = run.folder / "explain"
    try:
        part = json.loads((folder / "explain.json").read_bytes())["parts"]["gradcam"]
        shown = part["numbers"]["trials"][0]
        name = next(picture["file"] for picture in part["pictures"] if picture["file"].endswith(".png"))
        trial, probability = str(shown["trial"]), float(shown["probability_of_predicted"])
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        # Not explained, or only in part.
        return None
    scores = read_scores(run, tuple(run.metrics["per_class_recall"]))
    if trial not in scores.trials or abs(scores.probabilities[scores.trials.index(trial)].max() - probability) > 1e-6:
        raise DataError(
            f"{folder} explains other predictions than those of the run",
            hint=f"Explain it again: kdbench explain {run.folder} --fresh",
        )
    path = folder / name
    # A name with a folder in it would lead elsewhere.
    return plain(path.read_bytes()) if path.parent == folder and path.is_file() else None


def plain(data: bytes) -> bytes:
    """A PNG drawn anew from its pixels, so that whatever else the file holds stays behind.

    Args:
        data: A file's content.

    Raises:
        DataError: It is not a whole PNG, or it is larger than what a submission may hold.
    """
    (pixels,) = arrays(PICTURE, data)
    return pixels.tobytes()


def redrawn(data: bytes) -> bytes:
    """A PNG drawn anew, in the process that calls; as `plain`."""
    buffer = io.BytesIO()
    _decoded(data).save(buffer, "PNG", optimize=True)
    made = buffer.getvalue()
    if len(made) > MOST_BYTES[PICTURE]:
        raise fault(f"{PICTURE} has {counted(len(made), 'byte')}, expected at most {MOST_BYTES[PICTURE]}")
    return made


def _decoded(data: bytes) -> Image.Image:
    from PIL import Image

    try:
        # What the header says is read first, and no pixel is unpacked where it says too much.
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if max(picture.size) > _LONGEST_SIDE or picture.size[0] * picture.size[1] > _MOST_PIXELS:
                raise fault(f"{PICTURE} has {picture.size[0]} x {picture.size[1]} pixels, {_EXPECTED}")
            if (frames := getattr(picture, "n_frames", 1)) > 1:
                raise fault(f"{PICTURE} has {frames} frames, expected one")
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, OverflowError, struct.error) as error:
        raise fault(f"{PICTURE} is not a whole PNG: {error}") from error
