"""A contact sheet: for each trial its frames over the sensor curves, and each sensor's GAF image beside its curve."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.data.readers.timeline import centre_frames, centres
from kdbench.plotting.style import COLOURS, FAINT, PLAIN, RULE
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdbench.data.store.dataset import Dataset

FRAMES = 8
"""Frames that are shown of a clip."""
GAF_SAMPLES = 96
DPI = 120
_WIDTH, _MARGIN, _GAP = 13.0, 0.55, 0.12
_CURVE, _HEAD, _FOOT = 1.05, 0.42, 0.5


def spread(dataset: Dataset, count: int) -> list[str]:
    """Trials for a first look: their classes lie evenly over all classes, their subjects differ.

    Those that have every source come first.
    """
    table = dataset.index
    whole = table[[not dataset.lacks(trial) for trial in table["trial"]]]
    table = whole if len(whole) else table
    labels = np.unique(table["label"])[np.linspace(0, table["label"].nunique() - 1, count).round().astype(int)]
    chosen = []
    for turn, label in enumerate(labels):
        of_class = table.loc[table["label"] == label, "trial"].tolist()
        # Another place in each class, so that not all trials are of one subject.
        chosen.append(of_class[turn * 4 % len(of_class)])
    return list(dict.fromkeys(chosen))


def contact_sheet(dataset: Dataset, trials: Sequence[str]) -> bytes:
    """Draws the sheet as a PNG.

    Time runs from left to right through frames and curves alike; a thin line marks the time of each frame.

    Args:
        dataset: The opened data set, with or without video.
        trials: Ids of the trials to show.

    Raises:
        UsageError: There is no such trial.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strip = 0.0
    wide = _WIDTH - 2 * _MARGIN - _CURVE - _GAP
    if dataset.view is not None:
        strip = wide / min(FRAMES, dataset.frames)
    block = _HEAD + strip + len(dataset.sensors) * (_CURVE + _GAP) + _FOOT
    height = 0.75 + block * len(trials)
    with mpl.rc_context(PLAIN | {"font.size": 8}):
        figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")
        _title(figure, dataset, height)
        for number, trial in enumerate(trials):
            top = height - 0.75 - block * number
            _block(figure, dataset, trial, top, strip, wide, height)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _title(figure: Figure, dataset: Dataset, height: float) -> None:
    y = 1 - 0.38 / height
    size = f"{counted(dataset.frames, 'frame')} of {dataset.frame_size}² · " if dataset.view else ""
    about = (
        f"{dataset.view or 'sensors'} · {size}{counted(len(dataset), 'trial')} · fingerprint {dataset.fingerprint[:12]}"
    )
    figure.text(_MARGIN / _WIDTH, y, dataset.card.title, fontsize=14, fontweight="bold", va="center")
    figure.text(1 - _MARGIN / _WIDTH, y, about, fontsize=8.5, color=FAINT, va="center", ha="right")


def _block(figure: Figure, dataset: Dataset, trial: str, top: float, strip: float, wide: float, height: float) -> None:
    """One trial; positions in inches from the bottom left, `top` being the block's upper edge."""

    def axes(left: float, upper: float, width: float, tall: float) -> Any:
        return figure.add_axes((left / _WIDTH, (upper - tall) / height, width / _WIDTH, tall / height))

    row = dataset.index.iloc[dataset.position(trial)]
    columns = " · ".join(f"{name} {row[name]}" for name in dataset.index.columns if name not in {"trial", "label"})
    y = top - 0.2
    name = dataset.card.class_names[row["label"]]
    figure.text(_MARGIN / _WIDTH, y / height, name, fontsize=10.5, fontweight="bold", va="center")
    figure.text((_MARGIN + wide) / _WIDTH, y / height, f"{trial} · {columns}", color=FAINT, va="center", ha="right")
    upper = top - _HEAD
    marks = np.array([])
    if dataset.view is not None:
        shown = min(FRAMES, dataset.frames)
        chosen = centre_frames(dataset.frames, shown)
        marks = centres(dataset.frames)[chosen]
        frames = np.concatenate(list(dataset.clip(trial)[:, chosen].transpose(1, 2, 3, 0)), axis=1)
        picture = axes(_MARGIN, upper, wide, strip)
        grey = frames.shape[2] == 1
        picture.imshow(frames[..., 0] if grey else frames, cmap="magma", vmin=0, vmax=255, interpolation="lanczos")
        for edge in range(1, shown):
            picture.axvline(edge * dataset.frame_size - 0.5, color="white", linewidth=2)
        picture.set_axis_off()
        upper -= strip
    names, lacks = list(dataset.sensors), dataset.lacks(trial)
    for name in names:
        curve = axes(_MARGIN, upper - _GAP, wide, _CURVE)
        image = axes(_MARGIN + wide + _GAP, upper - _GAP, _CURVE, _CURVE)
        if name in lacks:
            curve.set_axis_off()
            curve.text(0.004, 0.5, f"{name}: not recorded", transform=curve.transAxes, color=FAINT, va="center")
        else:
            _curves(curve, dataset, trial, name, marks, last=name == names[-1])
        if name in lacks:
            image.set_axis_off()
        else:
            _field(image, dataset.series(trial)[name])
        if name == names[0]:
            image.set_title("GAF, xyz as rgb", fontsize=7.5, color=FAINT, pad=4)
        upper -= _CURVE + _GAP


def _curves(axes: Any, dataset: Dataset, trial: str, name: str, marks: np.ndarray, *, last: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    series, sensor = dataset.series(trial)[name], dataset.card.sensors[name]
    seconds = len(series) / sensor.rate_hz
    for mark in marks:
        axes.axvline(mark * seconds, color=RULE, linewidth=0.8, zorder=0)
    for values, axis, colour in zip(series.T, sensor.axes, COLOURS, strict=False):
        axes.plot(
            centres(len(series)) * seconds, values, color=colour, linewidth=1.3, label=axis, solid_joinstyle="round"
        )
    axes.set_xlim(0, seconds)
    axes.margins(y=0.06)
    # Room above the curves for the name and the legend.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    axes.set_ylabel(sensor.unit, labelpad=2)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(length=2, pad=2, labelbottom=last)
    axes.text(0.004, 0.96, name, transform=axes.transAxes, va="top", color=FAINT, fontsize=8)
    axes.legend(
        loc="upper right", ncols=len(sensor.axes), frameon=False, handlelength=1.0, columnspacing=1.0, borderpad=0.1
    )
    if last:
        axes.set_xlabel("seconds", labelpad=1)


def _field(axes: Any, series: np.ndarray) -> None:
    import torch

    from kdbench.data.readers.timeline import resample
    from kdbench.representations.gaf import gramian_angular_field

    field = gramian_angular_field(torch.from_numpy(resample(series, GAF_SAMPLES))).numpy()
    colours = np.zeros((3, *field.shape[1:]))
    # From -1 … 1 to 0 … 1.
    colours[: len(field)] = field[:3] / 2 + 0.5
    axes.imshow(colours.transpose(1, 2, 0).clip(0, 1), interpolation="lanczos")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
