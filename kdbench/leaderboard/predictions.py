"""The predictions of a submission: a table that is held to what it declares before a row of it is unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.leaderboard.faults import fault
from kdbench.leaderboard.files import read_bytes
from kdbench.leaderboard.reading import arrays
from kdbench.leaderboard.schema import PREDICTIONS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

COLUMNS = ("seed", "trial", "label", "shuffle", "logits")
MOST_ROWS = 2 * 10**6
"""Rows of an honest table: seeds × shuffles × test trials, with a wide margin."""
MOST_LOGITS = 2**27
"""Numbers in all rows together: half a GiB."""
_MOST_UNPACKED = 2**30
_MOST_GROUPS = 10_000
_LONGEST_TRIAL = 200
_ROWS = 2**16


@dataclass(frozen=True)
class SubmittedPredictions:
    """The rows of `predictions.parquet`.

    Attributes:
        seed: `(N,)`.
        trial: `(N,)`, strings.
        label: `(N,)`.
        shuffle: `(N,)`: number of the order in which the test part was seen; 0 where that does not matter.
        logits: `(N, K)`.
    """

    seed: np.ndarray
    trial: np.ndarray
    label: np.ndarray
    shuffle: np.ndarray
    logits: np.ndarray

    def at(self, rows: np.ndarray) -> SubmittedPredictions:
        """Some of the rows, by a mask or by positions."""
        columns = (self.seed, self.trial, self.label, self.shuffle, self.logits)
        return SubmittedPredictions(*(column[rows] for column in columns))

    def of_seed(self, seed: int) -> SubmittedPredictions:
        """The rows of a seed, by shuffle and then by trial."""
        if seed not in self._by_seed:
            own = self.at(self.seed == seed)
            self._by_seed[seed] = own.at(np.lexsort((own.trial, own.shuffle)))
        return self._by_seed[seed]

    @cached_property
    def _by_seed(self) -> dict[int, SubmittedPredictions]:
        return {}


def read_predictions(folder: Path, classes: int) -> SubmittedPredictions:
    """Reads a submission's `predictions.parquet`.

    Args:
        folder: The submission.
        classes: How many logits a trial may have at most.

    Raises:
        DataError: It is missing, broken or too large, or has other columns, a null, or rows of unlike numbers of
            logits.
    """
    return SubmittedPredictions(*arrays(PREDICTIONS, read_bytes(folder, PREDICTIONS), classes=classes))


def unpacked(data: bytes, classes: int) -> list[np.ndarray]:
    """What a `predictions.parquet` holds, in the order of `SubmittedPredictions`; errors as in `read_predictions`.

    Args:
        data: The file's content.
        classes: How many logits a trial may have at most.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        _check_declared(pq.ParquetFile(pa.BufferReader(data)), classes)
        # A name that is repeated a million times stays one name.
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=["trial"])
        # Single-threaded: the files are small, and a pool costs more than it saves.
        batches = list(_bounded(file.iter_batches(_ROWS, use_threads=False)))
        table = pa.Table.from_batches(batches, schema=batches[0].schema if batches else file.schema_arrow)
    except (OSError, ValueError, NotImplementedError, pa.ArrowException) as error:
        raise fault(f"{PREDICTIONS} cannot be read: {_said(error)}") from error
    try:
        return _plain(table)
    except (ValueError, TypeError, AttributeError, NotImplementedError, pa.ArrowException) as error:
        raise fault(f"{PREDICTIONS} is not a table of predictions: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


def _check_declared(file: pq.ParquetFile, classes: int) -> None:
    """What the file says of itself: columns, rows, and what they take."""
    metadata = file.metadata
    names = file.schema_arrow.names
    if sorted(names) != sorted(COLUMNS):
        shown = ", ".join(name[:40] for name in names[:12])
        raise fault(f"{PREDICTIONS} has the columns {shown}; expected {', '.join(COLUMNS)}")
    for column in file.schema_arrow:
        if not _kind_of(column.name)(column.type):
            kind = str(column.type)[:60]
            what = "the trials are not names" if column.name == "trial" else f"its {column.name} column holds {kind}"
            raise fault(f"{PREDICTIONS} is not a table of predictions: {what}")
    if metadata.num_rows > MOST_ROWS:
        raise fault(f"{PREDICTIONS} declares {metadata.num_rows} rows, expected at most {MOST_ROWS}")
    if metadata.num_row_groups > _MOST_GROUPS:
        raise fault(f"{PREDICTIONS} has {metadata.num_row_groups} row groups, expected at most {_MOST_GROUPS}")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    unpacked = sum(chunk.total_uncompressed_size for chunk in chunks)
    values = sum(chunk.num_values for chunk in chunks if chunk.path_in_schema.startswith("logits"))
    if values > metadata.num_rows * classes:
        per_trial = values // max(metadata.num_rows, 1)
        raise fault(f"{PREDICTIONS} declares {per_trial} logits per trial, expected one for each of {classes} classes")
    if unpacked > _MOST_UNPACKED or values > MOST_LOGITS:
        raise fault(f"{PREDICTIONS} is too large when it is unpacked: {unpacked} bytes, {values} logits")


def _kind_of(column: str) -> Callable[[pa.DataType], bool]:
    from pyarrow import types

    if column == "trial":
        return lambda kind: types.is_string(kind) or types.is_large_string(kind)
    if column == "logits":
        return lambda kind: (types.is_list(kind) or types.is_large_list(kind)) and types.is_floating(kind.value_type)
    return types.is_integer


def _bounded(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Stops where the rows turn out to be more than their file declared."""
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > _MOST_UNPACKED:
            raise fault(f"{PREDICTIONS} is too large when it is unpacked: more than {_MOST_UNPACKED} bytes")
        yield batch


def _plain(table: pa.Table) -> list[np.ndarray]:
    import pyarrow as pa

    seed, trial, label, shuffle, logits = (table[name].combine_chunks() for name in COLUMNS)
    if any(column.null_count for column in (seed, trial, label, shuffle, logits)):
        raise ValueError("a value is missing")
    if isinstance(trial, pa.ChunkedArray):
        trial = trial.unify_dictionaries().combine_chunks()
    if not isinstance(trial, pa.DictionaryArray):
        trial = trial.dictionary_encode()
    known = trial.dictionary.to_pylist()
    if not all(isinstance(name, str) and len(name) <= _LONGEST_TRIAL for name in known):
        raise ValueError(f"the trials are not names of at most {_LONGEST_TRIAL} letters")
    lengths = np.asarray(logits.value_lengths())
    if len(lengths) == 0 or (lengths != lengths[0]).any():
        raise ValueError("the rows have unlike numbers of logits, or there is none")
    values = logits.flatten()
    if values.null_count:
        raise ValueError("a logit is missing")
    integers = [np.asarray(column).astype(np.int64, casting="safe") for column in (seed, label, shuffle)]
    return [
        integers[0],
        np.array(known, dtype=str)[np.asarray(trial.indices)],
        integers[1],
        integers[2],
        values.to_numpy(zero_copy_only=False).reshape(len(lengths), -1).astype(np.float32, casting="same_kind"),
    ]
