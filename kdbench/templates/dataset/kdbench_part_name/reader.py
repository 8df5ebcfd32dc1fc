"""Reads `part_name`: one CSV file a trial, with a header line and a row a sample."""

from __future__ import annotations

import io

import numpy as np
from kdbench import dataset
from kdbench.data.reader import Reader, Recording, Trial
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
            table = self._table(content, path, trial.id)
            columns = list(sensor.columns or ())
            if max(columns) >= table.shape[1]:
                raise DataError(f"trial {trial.id}: {path} has {table.shape[1]} columns, expected {max(columns) + 1}")
            series[name] = np.ascontiguousarray(table[:, columns])
        return Recording(series, hashes=hashes)

    def _table(self, content: bytes, path: str, trial: str) -> np.ndarray:
        """The numbers of a file `(n, columns)`, float32."""
        try:
            return np.loadtxt(io.BytesIO(content), dtype=np.float32, delimiter=",", skiprows=1, ndmin=2)
        except ValueError as error:
            raise DataError(f"trial {trial}: {path}: {error}; expected numbers between commas") from error
