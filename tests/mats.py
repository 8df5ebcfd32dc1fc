"""MATLAB files of every version, written by the tests themselves."""

from __future__ import annotations

import io
import struct
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse

VALUES = np.random.default_rng(0).normal(size=(30, 6)).round(3)


def saved(version: str = "5", *, compressed: bool = True, **variables: Any) -> bytes:
    """A MATLAB file of version 4 or of the later ones, packed (7) or not (6)."""
    out = io.BytesIO()
    scipy.io.savemat(out, variables, format=version, do_compression=compressed and version == "5")
    return out.getvalue()


def saved_73(values: np.ndarray, name: str = "d_iner", kind: str = "double", block: bool = True, **attributes) -> bytes:
    """A MATLAB 7.3 file: HDF5 behind 512 bytes of MATLAB's own, axes in MATLAB's order."""
    out = io.BytesIO()
    with h5py.File(out, "w", userblock_size=512 if block else 0) as file:
        item = file.create_dataset(name, data=np.asarray(values).T)
        for key, value in {"MATLAB_class": np.bytes_(kind), **attributes}.items():
            item.attrs[key] = value
    content = bytearray(out.getvalue())
    if block:
        content[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    return bytes(content)


def big_endian(values: np.ndarray, name: str = "d_iner") -> bytes:
    """A file of version 6 as a big-endian machine writes it."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    flags, size = struct.pack(">II", 6, 0), struct.pack(">2i", *values.shape)
    body = element(6, flags) + element(5, size) + element(1, name.encode())
    body += element(9, values.T.astype(">f8").tobytes())
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x100) + b"MI" + element(14, body)


def sparse_73() -> bytes:
    array = scipy.sparse.csc_array(np.where(VALUES > 0, VALUES, 0))
    out = io.BytesIO()
    with h5py.File(out, "w", userblock_size=512) as file:
        group = file.create_group("d_iner")
        group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(len(VALUES))
        for name, values in (("data", array.data), ("ir", array.indices), ("jc", array.indptr)):
            group[name] = values
    return out.getvalue()
