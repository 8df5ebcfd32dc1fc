"""Files that are written by every part of kdbench: whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.errors import RunFailed
from kdbench.util import files


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_appears_whole(tmp_path: Path, durable: bool):
    path = tmp_path / "new" / "file"
    with files.whole(path, durable=durable) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_in_the_block_keeps_the_earlier_file(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), files.whole(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_from_other_troubles(tmp_path: Path, code: int):
    error = files.unwritable(OSError(code, os.strerror(code)), tmp_path / "f", size=3 << 20, elsewhere="Or elsewhere.")
    assert error.message == f"the disk is full while writing {tmp_path / 'f'}; it needs 3 MiB"
    assert error.hint == "Free some space and repeat the same command: it goes on where it was. Or elsewhere."
    other = files.unwritable(PermissionError(errno.EACCES, "Permission denied"), tmp_path / "f")
    assert other.message == f"cannot write {tmp_path / 'f'}: Permission denied"


@pytest.mark.parametrize("call", ["records.write_json(path, list(range(200_000)))", "whole(path)"])
def test_a_limit_on_file_sizes_counts_as_a_full_disk_everywhere(tmp_path: Path, call: str):
    path = tmp_path / "big"
    code = f"""
import resource
from pathlib import Path
from kdbench.util import records
from kdbench.util.files import whole as opened
path = Path({str(path)!r})
def whole(path):
    with opened(path) as file:
        file.write(bytes(1_000_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
{call}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"the disk is full while writing {path}" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "in_the_way").write_text("")
    with pytest.raises(RunFailed, match=r"cannot write .*in_the_way"), files.whole(tmp_path / "in_the_way" / "file"):
        pass


def test_the_hash_is_that_of_sha256sum(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
