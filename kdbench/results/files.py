"""Files of a run: JSON, JSON lines, parquet and safetensors, whole or not there at all.

A file appears under its name only when it is complete and on the disk, so a killed writer leaves the old file.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import DataError, RunFailed
from kdbench.files import unwritable, whole

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

_ELSEWHERE = "--out FOLDER or KDBENCH_HOME=FOLDER puts runs elsewhere."


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file, whole and flushed to the disk or not at all.

    Raises:
        RunFailed: The disk is full, or the folder cannot be written; the earlier file is as it was.
    """
    with whole(Path(path), size=len(data), elsewhere=_ELSEWHERE) as file:
        file.write(data)


def write_json(path: Path, obj: Any) -> None:
    """Writes strict, indented JSON atomically; paths and numpy scalars become plain values.

    Raises:
        RunFailed: A number is NaN or infinite (its key is named), or the file cannot be written.
    """
    write_bytes(path, (_dumps(obj, path, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: The file is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except ValueError as error:
        raise _broken(path, "JSON", error) from error


def append_jsonl(path: Path, obj: Any) -> None:
    """Appends one line of strict JSON and flushes it to the disk.

    A torn last line of a killed writer is cut off first; after a failed write the file is as it was.

    Raises:
        RunFailed: A number is NaN or infinite (its key is named), or the file cannot be written.
    """
    path = Path(path)
    line = (_dumps(obj, path) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            file.seek(0)
            end = len(_whole_lines(file.read()))
            try:
                file.truncate(end)
                _write_all(file, line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise unwritable(error, path, size=len(line), elsewhere=_ELSEWHERE) from error


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Writes all records as JSON lines, atomically; how a resumed run drops what came after its checkpoint."""
    write_bytes(path, "".join(_dumps(record, path) + "\n" for record in records).encode())


def read_jsonl(path: Path) -> list[Any]:
    """Reads JSON lines, without the torn last line of a killed writer; a missing file has none.

    Raises:
        DataError: A line before the last is not JSON.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in _whole_lines(data).splitlines() if line.strip()]
    except ValueError as error:
        raise _broken(path, "JSON lines", error) from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors of any device atomically; tensors that share memory are written apart.

    Args:
        path: The file.
        tensors: Tensors by name.
        metadata: Strings for the file's header.

    Raises:
        RunFailed: The file cannot be written.
    """
    from safetensors.torch import save

    seen: set[int] = set()
    flat: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        host = tensor.detach().cpu().contiguous()
        storage = host.untyped_storage().data_ptr()
        flat[name] = host.clone() if storage in seen else host
        seen.add(storage)
    write_bytes(path, save(flat, metadata=dict(metadata) if metadata else None))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Reads all tensors of a file onto the CPU.

    Raises:
        DataError: The file is missing, truncated, or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except SafetensorError as error:
        raise _broken(path, "safetensors", error) from error


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Writes a table atomically, without its row index.

    Raises:
        RunFailed: The file cannot be written.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def _write_all(file: io.FileIO, data: bytes) -> None:
    """Writes every byte; an unbuffered write may take a part only, on a disk that fills up."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _whole_lines(data: bytes) -> bytes:
    """The data up to its last newline."""
    return data[: data.rfind(b"\n") + 1]


def _dumps(obj: Any, path: Path, *, indent: int | None = None) -> str:
    try:
        return json.dumps(obj, allow_nan=False, ensure_ascii=False, indent=indent, default=_plain)
    except ValueError as error:
        where = ", ".join(_not_finite(obj)) or str(error)
        raise RunFailed(f"{path} is not written: not a finite number: {where}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _not_finite(value: Any, key: str = "") -> Iterator[str]:
    """Keys of all numbers that are NaN or infinite."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _not_finite(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _not_finite(item, f"{key}[{position}]")
    elif hasattr(value, "tolist"):
        yield from _not_finite(value.tolist(), key)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key} = {value}"


def _broken(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f"{path} is not whole, valid {kind}: {error}", hint=f"Delete it and repeat the command: rm {path}")
