from __future__ import annotations

import gc
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kdbench.util import numpy_files


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Threads take turns within a parse: garbage is collected often, and a collection runs Python code."""

    def in_python(phase: str, info: dict[str, int]) -> None:
        sum(range(50))

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    gc.callbacks.append(in_python)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)
    gc.callbacks.remove(in_python)


def written(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    if arrays:
        np.savez(file, **arrays)
    else:
        np.save(file, np.arange(12, dtype=np.float32).reshape(3, 4))
    return file.getvalue()


@pytest.mark.usefixtures("many_switches")
def test_threads_that_read_at_once_read_what_is_there():
    content = written()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: numpy_files.load(content), range(8000)))
    expected = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert all(np.array_equal(array, expected) for array in read)


def test_of_an_archive_the_named_arrays_are_read(tmp_path: Path):
    path = tmp_path / "a.npz"
    path.write_bytes(written(a=np.arange(3), b=np.ones(2)))
    assert list(numpy_files.archive(path)) == ["a", "b"]
    assert np.array_equal(numpy_files.archive(path, ["b"])["b"], np.ones(2))
    with pytest.raises(KeyError, match="c"):
        numpy_files.archive(path, ["c"])


def test_a_file_is_mapped(tmp_path: Path):
    path = tmp_path / "a.npy"
    path.write_bytes(written())
    assert isinstance(numpy_files.load(path, mmap_mode="r"), np.memmap)


def test_a_single_array_is_no_archive():
    with pytest.raises(ValueError, match="single array"):
        numpy_files.archive(written())


def test_objects_are_refused():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        numpy_files.load(file.getvalue())
