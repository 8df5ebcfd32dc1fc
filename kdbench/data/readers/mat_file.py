"""One array of a MATLAB file: versions 4, 6 and 7 through scipy, version 7.3 through h5py where that is installed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kdbench.data.readers import mat5
from kdbench.text.wording import counted
from kdbench.util.extras import installing
from kdbench.util.forms import form_of

_NUMBERS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_HDF5 = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048)
"""Where an HDF5 file may begin; MATLAB writes 512 bytes of its own before."""
_MOST = 2**28
"""Elements of the largest array that is read."""
_SHOWN = 10
_HEAD = 512


def read(content: bytes, variable: str, shape: Sequence[int | None]) -> np.ndarray:
    """Reads one array of finite, real numbers.

    Sparse arrays are filled up. An array of one layer, whose last axis MATLAB leaves out, gets it back.

    Args:
        content: The whole file.
        variable: Name of the array.
        shape: Its shape; None where any length of at least one will do.

    Returns:
        The array in the type in which it is stored.

    Raises:
        ValueError: There is no such array; or it has another shape, other values than finite, real numbers that a
            32-bit float holds; or the file cannot be read.
    """
    with _problems(content):
        if any(content[at : at + len(_HDF5)] == _HDF5 for at in _USER_BLOCKS):
            array = _from_hdf5(content, variable, shape)
        else:
            array = _from_mat(content, variable, shape)
    array = _real(array, variable)
    if array.ndim == len(shape) - 1:
        array = array[..., np.newaxis]
    if np.issubdtype(array.dtype, np.inexact):
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            raise ValueError(f"'{variable}' has {counted(bad, 'value')} of NaN or infinity")
        large = int((np.abs(array) > np.finfo(np.float32).max).sum())
        if large:
            raise ValueError(f"'{variable}' has {counted(large, 'value')} beyond what a 32-bit float holds")
    return array


class _Unfit(Exception):
    """What the file holds is not what was asked for."""


@contextlib.contextmanager
def _problems(content: bytes) -> Iterator[None]:
    """Turns whatever a damaged file makes its reader raise, which depends on where the damage lies, into one error."""
    try:
        with np.errstate(all="ignore"):
            yield
    except _Unfit as error:
        raise ValueError(str(error)) from error
    except Exception as error:
        size = f"it holds {counted(len(content), 'byte')}"
        if (form := _form(content)) is not None:
            raise ValueError(f"it cannot be read as a MATLAB file (it is {form}); {size}") from error
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise ValueError(f"it cannot be read as a MATLAB file ({reason}); {size}") from error


def _form(content: bytes) -> str | None:
    """What the file is instead, where that can be told."""
    if content[126:128] in (b"IM", b"MI"):
        is_head = b"HDF5" in content[:116] and not any(content[at : at + 8] == _HDF5 for at in _USER_BLOCKS)
        return "the head of a file of version 7.3, without what belongs behind it" if is_head else None
    printable = content[:_HEAD].isascii() and b"\0" not in content[:_HEAD]
    return form_of(content[:_HEAD]) or ("a text" if printable else None)


def _from_mat(content: bytes, variable: str, shape: Sequence[int | None]) -> Any:
    import scipy.io
    import scipy.sparse

    variables: list[mat5.Variable] = []
    if content[126:128] in (b"IM", b"MI"):
        variables = mat5.variables(content)
        listed = [(entry.name, entry.shape, entry.kind) for entry in variables]
    else:
        listed = scipy.io.whosmat(io.BytesIO(content))
    _one_of([name for name, *_ in listed], variable)
    number, (_, stated, kind) = next((n, entry) for n, entry in enumerate(listed) if entry[0] == variable)
    # Looked at before it is read, so that a few bytes cannot ask for all memory.
    _check_kind(variable, kind, stated)
    _check_shape(variable, stated, kind, shape)
    if variables:
        content = variables[number].alone(most=16 * _MOST)
    array = scipy.io.loadmat(io.BytesIO(content), variable_names=[variable])[variable]
    if scipy.sparse.issparse(array):
        array = array.tocsc()
        return _dense(array.data, array.indices, array.indptr, array.shape[0])
    if not isinstance(array, np.ndarray):
        raise _Unfit(f"'{variable}' cannot be read ({str(array)[:80]})")
    return array


def _from_hdf5(content: bytes, variable: str, shape: Sequence[int | None]) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise _Unfit(
            f"it is a MATLAB 7.3 file, which is read where h5py is installed ({installing('mat73')}): save it with -v7"
        ) from error
    with h5py.File(io.BytesIO(content), "r") as file:
        _one_of([name for name in file if not name.startswith("#")], variable)
        if not isinstance(file.get(variable, getlink=True), h5py.HardLink):
            raise _Unfit(f"'{variable}' lies in another file")
        item = file[variable]
        kind = item.attrs.get("MATLAB_class", b"double")
        kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
        if isinstance(item, h5py.Group):
            if "MATLAB_sparse" not in item.attrs:
                raise _Unfit(f"'{variable}' is a struct")
            _check_kind(variable, kind, ())
            return _from_sparse(item, variable, shape)
        # MATLAB's order of axes is the other way round.
        stated = item.shape[::-1]
        if item.attrs.get("MATLAB_empty"):
            stated = tuple(int(n) for n in item[()]) if item.size <= _SHOWN else (0,)
        _check_kind(variable, kind, stated)
        _check_shape(variable, stated, kind, shape)
        if item.external or item.is_virtual:
            raise _Unfit(f"the values of '{variable}' lie in another file")
        array = item[()]
    if array.dtype.names == ("real", "imag"):
        array = array["real"] + 1j * array["imag"]
    return array.T


def _from_sparse(group: Any, variable: str, shape: Sequence[int | None]) -> np.ndarray:
    rows = int(group.attrs["MATLAB_sparse"])
    starts = group["jc"][()]
    _check_shape(variable, (rows, len(starts) - 1), "sparse", shape)
    places: Any = group["ir"][()] if "ir" in group else np.zeros(0)
    values: Any = group["data"][()] if "data" in group else np.zeros(0)
    if values.dtype.names == ("real", "imag"):
        values = values["real"] + 1j * values["imag"]
    return _dense(values, places.astype(np.int64), starts.astype(np.int64), rows)


def _dense(values: np.ndarray, places: np.ndarray, starts: np.ndarray, rows: int) -> np.ndarray:
    """A sparse array filled up; scipy would write to rows that do not exist.

    Args:
        values: The stored values.
        places: The row of each.
        starts: Where the values of each column start, and where the last ones end.
        rows: Number of rows.
    """
    count = int(starts[-1]) if len(starts) else -1
    places = places[: max(count, 0)]
    if count > min(len(places), len(values)) or starts[0] != 0 or (np.diff(starts) < 0).any():
        raise ValueError("the columns of a sparse array are damaged")
    if count and not 0 <= places.min() <= places.max() < rows:
        raise ValueError("the rows of a sparse array are damaged")
    array = np.zeros((rows, len(starts) - 1), values.dtype)
    np.add.at(array, (places, np.repeat(np.arange(len(starts) - 1), np.diff(starts))), values[:count])
    return array


def _one_of(present: Sequence[str], variable: str) -> None:
    count = list(present).count(variable)
    if count > 1:
        raise _Unfit(f"it has {counted(count, 'variable')} '{variable}'")
    if not count:
        named = [repr(name[:40]) for name in present[:_SHOWN]] + ["…"] * (len(present) > _SHOWN)
        raise _Unfit(f"it has no variable '{variable}' (it holds {', '.join(named) or 'nothing'})")


def _check_kind(variable: str, kind: str, shape: Sequence[int]) -> None:
    if kind not in (*_NUMBERS, "sparse"):
        raise _Unfit(f"'{variable}' is {tuple(shape)} {kind}")


def _check_shape(variable: str, stated: Sequence[int], kind: str, shape: Sequence[int | None]) -> None:
    stated = tuple(stated)
    full = (*stated, 1) if len(stated) == len(shape) - 1 and shape[-1] is None else stated
    fits = len(full) == len(shape) and all(n > 0 and want in (None, n) for n, want in zip(full, shape, strict=True))
    if not fits:
        shown = {"double": "float64", "single": "float32"}.get(kind, kind)
        raise _Unfit(f"'{variable}' is {stated} {shown}")
    if np.prod([float(n) for n in stated]) > _MOST:
        raise _Unfit(f"'{variable}' is {stated}, more than is read")


def _real(array: np.ndarray, variable: str) -> np.ndarray:
    if not np.iscomplexobj(array):
        if not np.issubdtype(array.dtype, np.number):
            raise ValueError(f"'{variable}' is {array.shape} {array.dtype}")
        return array
    if array.imag.any():
        raise ValueError(f"'{variable}' is complex: {counted(int((array.imag != 0).sum()), 'value')} of {array.size}")
    return array.real
