"""Arrays of MATLAB files of every version and type: read with their values, or named."""

from __future__ import annotations

import builtins
import io
import struct
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from kdbench.data import mat_file

VALUES = np.random.default_rng(0).normal(size=(30, 6)).round(3)
SHAPE = (None, 6)


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


@pytest.mark.parametrize(
    "content",
    [
        saved(d_iner=VALUES),
        saved(compressed=False, d_iner=VALUES),
        saved("4", d_iner=VALUES),
        big_endian(VALUES),
        saved_73(VALUES),
        saved_73(VALUES, block=False),
        saved(d_iner=scipy.sparse.csc_matrix(VALUES)),
        saved(d_iner=VALUES + 0j),
        saved(other="text", d_iner=VALUES, cells=np.array([[1, "a"]], object)),
        saved(d_iner=np.asfortranarray(VALUES)),
    ],
    ids=["7", "6", "4", "big-endian", "7.3", "hdf5", "sparse", "no imaginary part", "one of several", "fortran"],
)
def test_every_version_gives_the_same_values(content: bytes):
    found = mat_file.read(content, "d_iner", SHAPE)
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, VALUES)


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("write", [lambda values: saved(d_iner=values), lambda v: saved_73(v, kind="int16")])
def test_numbers_of_every_type(kind: type, write):
    values = np.arange(60).reshape(10, 6).astype(kind)
    assert np.array_equal(mat_file.read(write(values), "d_iner", SHAPE), values)


def sparse_73() -> bytes:
    array = scipy.sparse.csc_array(np.where(VALUES > 0, VALUES, 0))
    out = io.BytesIO()
    with h5py.File(out, "w", userblock_size=512) as file:
        group = file.create_group("d_iner")
        group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(len(VALUES))
        for name, values in (("data", array.data), ("ir", array.indices), ("jc", array.indptr)):
            group[name] = values
    return out.getvalue()


def test_a_sparse_array_of_7_3():
    assert np.array_equal(mat_file.read(sparse_73(), "d_iner", SHAPE), np.where(VALUES > 0, VALUES, 0))


def test_three_axes_keep_their_order_in_every_version():
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    for content in (saved(d_depth=values), saved_73(values, "d_depth", "uint16")):
        assert np.array_equal(mat_file.read(content, "d_depth", (2, 3, None)), values)


def test_a_single_layer_gets_back_the_axis_that_matlab_leaves_out():
    values = np.arange(6, dtype=np.uint16).reshape(2, 3)
    for content in (saved(d_depth=values), saved_73(values, "d_depth", "uint16")):
        assert np.array_equal(mat_file.read(content, "d_depth", (2, 3, None)), values[..., None])


def cells() -> np.ndarray:
    made = np.empty((30, 6), object)
    made[:] = 1.0
    return made


def changed(value: float) -> np.ndarray:
    values = VALUES.copy()
    values[3, 2] = value
    return values


COMPLEX_73 = np.zeros((30, 6), [("real", "f8"), ("imag", "f8")])
COMPLEX_73["imag"] = 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(d_iner=VALUES + 1j), "'d_iner' is complex: 180 values of 180"),
        (saved(d_iner=changed(1) * (1 + 0j) + scipy.sparse.csc_matrix(VALUES * 1j)), "'d_iner' is complex"),
        (saved(d_iner=cells()), r"'d_iner' is \(30, 6\) cell"),
        (saved(d_iner={"x": VALUES}), r"'d_iner' is \(1, 1\) struct"),
        (saved(d_iner="walk"), r"'d_iner' is \(1, 4\) char"),
        (saved(d_iner=VALUES > 0), r"'d_iner' is \(30, 6\) logical"),
        (saved(d_iner=VALUES[:0]), r"'d_iner' is \(0, 6\) float64"),
        (saved(d_iner=VALUES[:, :5]), r"'d_iner' is \(30, 5\) float64"),
        (saved(d_iner=VALUES.T), r"'d_iner' is \(6, 30\) float64"),
        (saved(d_iner=VALUES[None]), r"'d_iner' is \(1, 30, 6\) float64"),
        (saved(d_iner=scipy.sparse.csc_matrix((10**9, 5))), r"'d_iner' is \(1000000000, 5\) sparse"),
        (saved(d_iner=scipy.sparse.csc_matrix((10**9, 6))), "more than is read"),
        (saved(d_iner=changed(np.nan)), "'d_iner' has 1 value of NaN or infinity"),
        (saved(d_iner=changed(-np.inf)), "'d_iner' has 1 value of NaN or infinity"),
        (saved(d_iner=changed(1e39)), "'d_iner' has 1 value beyond what a 32-bit float holds"),
        (saved(D_iner=VALUES, d_inert=VALUES), r"no variable 'd_iner' \(it holds 'D_iner', 'd_inert'\)"),
        (saved(), r"no variable 'd_iner' \(it holds nothing\)"),
        (saved(**{f"v{k}": k for k in range(30)}), r"it holds 'v0', .*, 'v9', …\)"),
        (saved(d_iner=VALUES) + saved(d_iner=VALUES)[128:], "it has 2 variables 'd_iner'"),
        (saved_73(VALUES > 0, kind="logical", MATLAB_int_decode=1), r"'d_iner' is \(30, 6\) logical"),
        (saved_73(VALUES.astype(np.uint16), kind="char"), r"'d_iner' is \(30, 6\) char"),
        (saved_73(np.array([0, 6], np.uint64), MATLAB_empty=1), r"'d_iner' is \(0, 6\) float64"),
        (saved_73(COMPLEX_73), "'d_iner' is complex: 180 values of 180"),
        (saved_73(VALUES.T), r"'d_iner' is \(6, 30\) float64"),
        (saved_73(VALUES, "other"), r"no variable 'd_iner' \(it holds 'other'\)"),
        (saved_73(changed(np.nan)), "'d_iner' has 1 value of NaN or infinity"),
        (saved_73(VALUES)[:-300], r"cannot be read as a MATLAB file \(OSError: .*truncated"),
        (saved(d_iner=VALUES)[:-100], "cannot be read as a MATLAB file"),
        (saved(compressed=False, d_iner=VALUES)[:-100], "cannot be read as a MATLAB file"),
        (saved("4", d_iner=VALUES)[:-100], "cannot be read as a MATLAB file"),
        (b"", "cannot be read as a MATLAB file .* it holds 0 bytes"),
        (b"<html>404 Not Found</html>" * 20, "cannot be read as a MATLAB file"),
        (b"# Created by Octave 9.1\n# name: d_iner\n", "Octave's text format: save it with -v7"),
        (b"PK\x03\x04" + bytes(300), "cannot be read as a MATLAB file"),
    ],
)
def test_what_cannot_be_used_is_named(content: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        mat_file.read(content, "d_iner", SHAPE)


def test_without_h5py_a_7_3_file_says_how_to_save_it(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"MATLAB 7\.3 file, .*kdbench\[mat73\].*: save it with -v7"):
        mat_file.read(saved_73(VALUES), "d_iner", SHAPE)


def test_values_in_another_file_are_not_followed(tmp_path):
    (tmp_path / "values.bin").write_bytes(VALUES.tobytes())
    for link in (True, False):
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            if link:
                file["d_iner"] = h5py.ExternalLink(str(tmp_path / "values.bin"), "/x")
            else:
                place = [(str(tmp_path / "values.bin"), 0, VALUES.nbytes)]
                file.create_dataset("d_iner", (6, 30), dtype="f8", external=place)
        with pytest.raises(ValueError, match="in another file"):
            mat_file.read(out.getvalue(), "d_iner", SHAPE)
