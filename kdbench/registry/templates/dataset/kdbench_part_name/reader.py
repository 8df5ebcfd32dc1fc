"""Reads `part_name`: one CSV file a trial, with a header line and a row per sample."""

from __future__ import annotations

import numpy as np
from kdbench import dataset
from kdbench.data.readers import text_series
from kdbench.data.readers.base import Reader, Recording, Trial
from kdbench.errors import DataError


@dataset("part_name")
class PartName(Reader):
    """CSV files of accelerometer and gyroscope; there is no video.

    A video view needs an entry under `views:` of the card, and its frames as `Recording.clip`.
    """

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """Reads one trial; see `Reader.read`."""
        hashes: dict[str, str] = {}
        series: dict[str, np.ndarray] = {}
        for name, sensor in self.card.sensors.items():
            path = str(sensor.file).format(trial=trial.id)
            content, hashes[path] = self.bytes_of(path, trial.id)
            try:
                # The other columns may hold anything: a time, a name.
                series[name] = text_series.read(content, sensor.columns or ())
            except ValueError as error:
                raise DataError(
                    f"trial {trial.id}: {path}: {error}; expected numbers between commas",
                    hint="Get the file again, or leave out what is broken: --exclude-broken",
                ) from error
        return Recording(series, hashes=hashes)
