"""Files of a run: JSON, JSON lines, parquet and safetensors, whole or not there at all.

A file appears under its name only when it is complete and on the disk, so a killed writer leaves the old file.
Safetensors and sealed JSON hold the hash of their own content: what was changed since is told from what was written.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import DataError, RunFailed
from kdbench.util.files import sha256_of, unwritable, whole

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

MAX_JSON_BYTES = 64 << 20
"""What a file of JSON may hold; the largest of a run takes a hundredth of it."""
SEAL = "sha256"
"""Key of the hash of everything beside it, in sealed JSON and in the header of safetensors."""
_LABELS = ("name",)
"""Keys that a user may change at any time, and that change no number."""
ELSEWHERE = "--out FOLDER or KDBENCH_HOME=FOLDER puts runs elsewhere."
"""What to do where a run's folder cannot be written."""


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file, whole and flushed to the disk or not at all.

    Raises:
        RunFailed: The disk is full, or the folder cannot be written; the earlier file is as it was.
    """
    with whole(Path(path), size=len(data), elsewhere=ELSEWHERE) as file:
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
        DataError: The file is missing, cannot be read, or is not JSON.
    """
    return _loads(_content(Path(path)), path, "JSON")


def sealed(obj: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The object with the hash of its own content under `SEAL`.

    Args:
        obj: What will be written.
        path: Where to, for the error.

    Raises:
        RunFailed: A number is NaN or infinite; its key is named.
    """
    # Of what a reader will find: writing makes lists of tuples, and plain numbers of numpy's.
    return {**obj, SEAL: _seal(json.loads(_dumps(dict(obj), path)))}


def is_sealed(obj: Mapping[str, Any]) -> bool:
    """Whether an object is, to the last digit, what was sealed."""
    return obj.get(SEAL) == _seal(obj)


def _seal(obj: Mapping[str, Any]) -> str:
    content = {key: value for key, value in obj.items() if key not in (SEAL, *_LABELS)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of files of a folder, by name."""
    return {name: sha256_of(folder / name) for name in names}


def unlike(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """What is missing of a folder's files, or is not what was recorded; a sentence each.

    Args:
        folder: The folder.
        recorded: As `hashes` gave it.
    """
    faults = []
    for name, sha256 in recorded.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif sha256_of(path) != sha256:
            faults.append(f"{path} is not what was written, by its sha256")
    return faults


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
            # What a killed writer left of a line is written over.
            end = len(_whole_lines(file.read()))
            try:
                file.truncate(end)
                _write_all(file, line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise unwritable(error, path, size=len(line), elsewhere=ELSEWHERE) from error


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Writes all records as JSON lines, atomically; how a resumed run drops what came after its checkpoint."""
    write_bytes(path, "".join(_dumps(record, path) + "\n" for record in records).encode())


def read_jsonl(path: Path) -> list[Any]:
    """Reads JSON lines, without the torn last line of a killed writer; a missing file has none.

    Raises:
        DataError: The file cannot be read, or a line before the last is not JSON.
    """
    if not Path(path).exists():
        return []
    lines = _whole_lines(_content(Path(path))).split(b"\n")
    return [_loads(line, path, "JSON lines") for line in lines if line.strip()]


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors atomically, as `pack_safetensors` puts them.

    Raises:
        RunFailed: The file cannot be written.
    """
    write_bytes(path, pack_safetensors(tensors, metadata))


def pack_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors of any device as the bytes of safetensors; those that share memory are written apart.

    Args:
        tensors: Tensors by name.
        metadata: Strings for the header, which also gets the hash of everything. Equal tensors and strings make equal
            bytes.
    """
    from safetensors.torch import save

    seen: set[int] = set()
    flat: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        host = tensor.detach().cpu().contiguous()
        storage = host.untyped_storage().data_ptr()
        flat[name] = host.clone() if storage in seen else host
        seen.add(storage)
    header, data = _parted(save(flat))
    named = {"__metadata__": dict(sorted((metadata or {}).items())), **header}
    named["__metadata__"][SEAL] = _hash_of(named, data)
    text = json.dumps(named, separators=(",", ":")).encode()
    # The library aligns what follows to eight bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Reads all tensors of a file onto the CPU; see `open_safetensors`."""
    return open_safetensors(path)[0]


def open_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads all tensors of a file onto the CPU, and the strings of its header.

    Raises:
        DataError: The file is missing, truncated, or not safetensors; or it holds a hash of its content, and another
            content.
    """
    return unpack_safetensors(_content(Path(path)), Path(path))


def unpack_safetensors(content: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `pack_safetensors` put; `path` is where it comes from, for the messages of errors as of a file's."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        header, data = _parted(content)
    except (SafetensorError, ValueError, RecursionError, KeyError) as error:
        raise _broken(path, "safetensors", error) from error
    metadata = header.get("__metadata__") or {}
    if SEAL in metadata and metadata[SEAL] != _hash_of(header, data):
        raise _broken(path, "safetensors", ValueError("its content is not what was written, by its sha256"))
    return tensors, metadata


def _parted(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header of safetensors, and what follows it."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]


def _hash_of(header: Mapping[str, Any], data: memoryview) -> str:
    """Hash of safetensors: of the header but for the hash itself, and of all numbers."""
    strings = {key: value for key, value in header["__metadata__"].items() if key != SEAL}
    digest = hashlib.sha256(json.dumps({**header, "__metadata__": strings}, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Writes a table atomically, without its row index.

    Raises:
        RunFailed: The file cannot be written.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def _content(path: Path) -> bytes:
    """What a file holds.

    Raises:
        DataError: It is missing, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"there is no file {path}", hint=f"See what lies there: ls -la {shlex.quote(str(path.parent))}"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", hint=f"Look at it: ls -ld {path}") from error


def _loads(data: bytes, path: Path, kind: str) -> Any:
    try:
        if len(data) > MAX_JSON_BYTES:
            raise ValueError(f"it holds {len(data) >> 20} MiB, at most {MAX_JSON_BYTES >> 20} are read")
        return json.loads(data)
    except RecursionError:
        raise _broken(path, kind, ValueError("it is nested too deeply")) from None
    except ValueError as error:
        raise _broken(path, kind, error) from error


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
        raise RunFailed(
            f"{path} is not written: not a finite number: {where}",
            hint="Make these numbers finite, or null where there is none.",
        ) from error


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
