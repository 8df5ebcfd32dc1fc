"""A stream on paper: a CSV with a row a window, written as they come, and a timeline as a picture, drawn from it."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from kdbench.students.stream import Watched
from kdbench.util.files import unwritable, whole

CSV, PICTURE = "windows.csv", "timeline.png"
_HEAD = ("window", "start_s", "end_s", "class", "probability", "smoothed_class", "smoothed_probability")
_MORE = ("latency_ms", "missing")
_END, _LATENCY, _FIRST = _HEAD.index("end_s"), len(_HEAD), len(_HEAD) + len(_MORE)
"""Columns of a row: the end of the window, its latency, and the first of the classes."""
_SHOWN, _LEAST = 6, 0.05
"""Classes of a timeline: so many at most, and only those that are ever so likely."""
_DPI = 150
_ELSEWHERE = "Name another folder: --report FOLDER"


class Windows:
    """A CSV with a row a window: when, what, how sure, how long it took, and every smoothed probability.

    A row is in the file as soon as it is added, so that a stream of hours holds none of them in memory.

    Args:
        folder: Where to; it is made. An earlier `windows.csv` there is replaced.
        classes: Names of the classes.

    Raises:
        RunFailed: It cannot be written.

    Attributes:
        path: Of the file.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.path, self._classes = folder / CSV, classes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = self.path.open("w", encoding="utf-8", newline="", buffering=1)
        except OSError as error:
            raise unwritable(error, self.path, elsewhere=_ELSEWHERE) from error
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._write([*_HEAD, *_MORE, *classes])

    def add(self, each: Watched) -> None:
        """Writes a window.

        Raises:
            RunFailed: The disk is full.
        """
        row: list[object] = [each.number, f"{each.start:.3f}", f"{each.end:.3f}"]
        for shares in (each.probabilities, each.smoothed):
            row += ["", ""] if shares is None else [self._classes[int(shares.argmax())], f"{shares.max():.4f}"]
        row += [f"{each.latency_ms:.2f}", each.missing or ""]
        row += [""] * len(self._classes) if each.smoothed is None else [f"{share:.4f}" for share in each.smoothed]
        self._write(row)

    def close(self) -> None:
        """Ends it."""
        self._file.close()

    def _write(self, row: Sequence[object]) -> None:
        try:
            self._writer.writerow([_plain(value) for value in row])
        except OSError as error:
            raise unwritable(error, self.path, elsewhere=_ELSEWHERE) from error


def _plain(value: object) -> object:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@") else value


def write_timeline(folder: Path, classes: Sequence[str], title: str) -> Path | None:
    """Draws the smoothed probability of the likeliest classes over time, and the latency of each window.

    Args:
        folder: Where `windows.csv` is, and where to.
        classes: Names of the classes.
        title: Above the picture.

    Returns:
        The picture; None where no window says anything.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    all_ends, latencies, ends, flat = (array("d") for _ in range(4))
    with (folder / CSV).open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            all_ends.append(float(row[_END]))
            latencies.append(float(row[_LATENCY]))
            if row[_FIRST]:
                ends.append(float(row[_END]))
                flat.extend(map(float, row[_FIRST:]))
    if not ends:
        return None
    shares = np.array(flat).reshape(len(ends), len(classes))
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
    below.plot(all_ends, latencies, color="0.4", marker=".")
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
