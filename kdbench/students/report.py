"""A stream on paper: a CSV with a row a window, and a timeline as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdbench.students.stream import Watched
from kdbench.util.files import whole

CSV, PICTURE = "windows.csv", "timeline.png"
_SHOWN, _LEAST = 6, 0.05
"""Classes of a timeline: so many at most, and only those that are ever so likely."""
_DPI = 150


def write_csv(folder: Path, classes: Sequence[str], seen: Sequence[Watched]) -> Path:
    """Writes a row a window: when, what, how sure, how long it took, and every smoothed probability.

    Args:
        folder: Where to.
        classes: Names of the classes.
        seen: The windows.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["window", "start_s", "end_s", "class", "probability", "smoothed_class", "smoothed_probability"]
    writer.writerow([*head, "latency_ms", "missing", *classes])
    for each in seen:
        row: list[object] = [each.number, f"{each.start:.3f}", f"{each.end:.3f}"]
        for shares in (each.probabilities, each.smoothed):
            row += ["", ""] if shares is None else [classes[int(shares.argmax())], f"{shares.max():.4f}"]
        row += [f"{each.latency_ms:.2f}", each.missing or ""]
        row += [""] * len(classes) if each.smoothed is None else [f"{share:.4f}" for share in each.smoothed]
        writer.writerow([_plain(value) for value in row])
    path = folder / CSV
    with whole(path, durable=False) as file:
        file.write(text.getvalue().encode())
    return path


def _plain(value: object) -> object:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@") else value


def write_timeline(folder: Path, classes: Sequence[str], seen: Sequence[Watched], title: str) -> Path:
    """Draws the smoothed probability of the likeliest classes over time, and the latency of each window.

    Args:
        folder: Where to.
        classes: Names of the classes.
        seen: The windows, at least one of which says something.
        title: Above the picture.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    known = [each for each in seen if each.smoothed is not None]
    ends = [each.end for each in known]
    shares = np.stack([each.smoothed for each in known if each.smoothed is not None])
    likely = np.argsort(-shares.max(axis=0), kind="stable")[:_SHOWN]
    chosen = [place for number, place in enumerate(likely.tolist()) if not number or shares[:, place].max() >= _LEAST]
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    for place in sorted(chosen):
        above.plot(ends, shares[:, place], marker=".", label=classes[place])
    above.set_ylim(0, 1.02)
    above.set_ylabel("smoothed probability")
    above.set_title(title, fontsize=10)
    above.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
    below.plot([each.end for each in seen], [each.latency_ms for each in seen], color="0.4", marker=".")
    below.set_ylim(bottom=0)
    below.set_ylabel("latency, ms")
    below.set_xlabel("end of the window, seconds")
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    path = folder / PICTURE
    with whole(path, durable=False) as file:
        figure.savefig(file, format="png", dpi=_DPI)
    return path
