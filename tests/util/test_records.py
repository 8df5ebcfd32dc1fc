"""Files of a run are whole or not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kdbench.errors import DataError, RunFailed
from kdbench.util import records as files


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flush to the disk fails, as on a full one."""

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


WRITERS = {
    "json": lambda path: files.write_json(path, {"a": 1}),
    "jsonl": lambda path: files.write_jsonl(path, [{"a": 1}]),
    "safetensors": lambda path: files.write_safetensors(path, {"a": torch.ones(3)}),
    "parquet": lambda path: files.write_parquet(path, pd.DataFrame({"a": [1]})),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_keeps_the_old_file_and_says_what_to_do(kind: str, tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RunFailed) as caught:
        WRITERS[kind](path)
    assert caught.value.message == f"the disk is full while writing {path}; it needs 1 MiB"
    assert "it goes on where it was" in str(caught.value.hint)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_that_cannot_be_made_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("a file")
    with pytest.raises(RunFailed, match=r"cannot write .*in_the_way"):
        WRITERS[kind](tmp_path / "in_the_way" / "file")


@pytest.mark.parametrize("kind", WRITERS)
def test_folders_are_made_and_nothing_else_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    WRITERS[kind](path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_json_takes_numpy_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"n": np.float32(0.5), "v": np.arange(3), "p": Path("a/b"), "name": "swipe ×"})
    assert files.read_json(path) == {"n": 0.5, "v": [0, 1, 2], "p": "a/b", "name": "swipe ×"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan"), np.array([1.0, np.inf])])
def test_json_refuses_what_is_not_finite_and_names_the_key(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"not a finite number: metrics\.losses\[1\]"):
        files.write_json(tmp_path / "x.json", {"metrics": {"losses": [1.0, bad]}})
    assert not list(tmp_path.iterdir())


def test_the_torn_last_line_of_a_killed_writer_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    files.append_jsonl(path, {"epoch": 1})
    with path.open("a") as file:
        file.write('{"epoch": 2, "loss": 0.')
    assert files.read_jsonl(path) == [{"epoch": 1}]
    files.append_jsonl(path, {"epoch": 2})
    assert files.read_jsonl(path) == [{"epoch": 1}, {"epoch": 2}]


def test_a_failed_append_leaves_the_lines_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    files.append_jsonl(path, {"epoch": 1})
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunFailed, match="the disk is full"):
        files.append_jsonl(path, {"epoch": 2})
    assert path.read_bytes() == before


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl is not whole, valid JSON lines"):
        files.read_jsonl(path)


def test_a_missing_log_is_empty_and_a_missing_file_is_named(tmp_path: Path) -> None:
    assert files.read_jsonl(tmp_path / "none.jsonl") == []
    with pytest.raises(DataError, match=r"there is no file .*none\.json"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"there is no file .*none\.safetensors"):
        files.read_safetensors(tmp_path / "none.safetensors")


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    weight = torch.randn(3, 4)
    tensors = {
        "weight": weight,
        "tied": weight,
        "transposed": weight.T,
        "row": weight[1],
        "half": weight.bfloat16(),
        "count": torch.tensor(3),
        "scalar": torch.tensor(0.5, requires_grad=True),
    }
    path = tmp_path / "x.safetensors"
    files.write_safetensors(path, tensors, metadata={"format": "pt"})
    held = files.read_safetensors(path)
    assert held.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert held[name].dtype == tensor.dtype
        assert torch.equal(held[name], tensor.detach())


@pytest.mark.parametrize("length", [0, 4, 40])
def test_a_truncated_weight_file_is_named(length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    files.write_safetensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"x\.safetensors is not whole, valid safetensors") as caught:
        files.read_safetensors(path)
    assert str(path) in str(caught.value.hint)


def test_parquet_round_trip(tmp_path: Path) -> None:
    table = pd.DataFrame({"trial": ["a1_s1_t1", "a2_s1_t1"], "logit_0": [0.5, -1.25]})
    files.write_parquet(tmp_path / "x.parquet", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), table)


def test_a_reader_sees_the_old_or_the_new_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"run": "old"})
    seen: list[Any] = []
    flush = os.fsync

    def look(number: int) -> None:
        flush(number)
        seen.append(json.loads(path.read_text()))

    monkeypatch.setattr(os, "fsync", look)
    files.write_json(path, {"run": "new"})
    assert seen == [{"run": "old"}]
    assert files.read_json(path) == {"run": "new"}
