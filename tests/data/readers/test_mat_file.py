"""Arrays of MATLAB files of every version and type: read with their values, or named."""

from __future__ import annotations

import builtins
import io
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse
from mats import VALUES, big_endian, saved, saved_73, sparse_73

from kdbench.data.readers import mat_file

SHAPE = (None, 6)


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
        saved("4", d_iner=scipy.sparse.csc_matrix(VALUES)),
        saved(d_iner=VALUES + 0j),
        saved(other="text", d_iner=VALUES, cells=np.array([[1, "a"]], object)),
        saved(d_iner=np.asfortranarray(VALUES)),
    ],
    ids=[
        "7",
        "6",
        "4",
        "big-endian",
        "7.3",
        "hdf5",
        "sparse",
        "sparse 4",
        "no imaginary part",
        "one of several",
        "fortran",
    ],
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
        (b"<html>404 Not Found</html>" * 20, r"cannot be read as a MATLAB file \(it is a web page\)"),
        (b"# Created by Octave 9.1\n# name: d_iner\n", "Octave's text format: save it with -v7"),
        (b"PK\x03\x04" + bytes(300), "it is a zip archive: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS instead of the file"),
        (b"Octave-1-L" + bytes(300), "Octave's binary format: save it with -v7"),
        (b"\x1f\x8b" + bytes(300), "a gzip archive: unpack it"),
        (b"\x93NUMPY\x01" + bytes(300), "an array of numpy"),
        (b"t,x,y\n1,2,3\n" * 40, "it is a text"),
        (
            b"MATLAB 7.3 MAT-file, HDF5 schema 1.00".ljust(124) + b"\0\x02IM" + bytes(400),
            "the head of a file of version 7.3",
        ),
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
    with pytest.raises(ValueError, match=r"MATLAB 7\.3 file, .*\[mat73\].*: save it with -v7"):
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
