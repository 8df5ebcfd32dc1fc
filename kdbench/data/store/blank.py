"""A data set as it would be once it is prepared, with made-up recordings: for looking ahead, not for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdbench.data.readers.base import Reader, natural_key
from kdbench.data.store import layout
from kdbench.data.store.dataset import Dataset

NOT_PREPARED = "not prepared"
"""In place of a fingerprint."""
_SAMPLES = 64


def is_made_up(dataset: Dataset) -> bool:
    """Whether any of a data set's recordings are made up, those of a source beside included."""
    return any(each.fingerprint == NOT_PREPARED for each in (dataset, *dataset.beside.values()))


def blank(reader: Reader, view: str | None, reason: str, frames: int, frame_size: int) -> Dataset:
    """The trials of a data set, all with the same noise for recordings; reads none of them.

    Args:
        reader: The data set's reader, with its card and options.
        view: Video view, or None.
        reason: Why this view.
        frames: Frames of a clip.
        frame_size: Height and width of a frame, pixels.
    """
    import pandas as pd

    trials = sorted(reader.trials(), key=lambda trial: natural_key(trial.id))
    index = pd.DataFrame([{"trial": trial.id, "label": trial.label, **trial.columns} for trial in trials])
    noise, video = np.random.default_rng(0), None
    if view is not None:
        clip = noise.integers(0, 255, (reader.card.views[view].channels, frames, frame_size, frame_size), np.uint8)
        video = np.broadcast_to(clip, (len(trials), *clip.shape))
    sensors = {name: len(sensor.axes) for name, sensor in reader.card.sensors.items()}
    return Dataset(
        card=reader.card,
        index=index,
        fingerprint=NOT_PREPARED,
        series_fingerprint=NOT_PREPARED,
        view=view,
        view_reason=reason,
        frames=frames if view else 0,
        frame_size=frame_size if view else 0,
        packed=None,
        excluded={},
        unverified={},
        folder=Path(),
        place="",
        _layout={layout.start(name): np.zeros(len(trials), int) for name in sensors}
        | {layout.length(name): np.full(len(trials), _SAMPLES) for name in sensors},
        _rows={trial.id: row for row, trial in enumerate(trials)},
        _series={name: noise.standard_normal((_SAMPLES, axes)).astype(np.float32) for name, axes in sensors.items()},
        _video=video,
        _lacks={trial.id: names for trial in trials if (names := reader.lacks(trial))},
    )
