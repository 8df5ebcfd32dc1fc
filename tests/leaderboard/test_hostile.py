"""Submissions that are made to hurt: each is named, costs little, and the others are checked all the same."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import board_runs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from test_board_verify import forge

from kdbench.errors import DataError
from kdbench.leaderboard import reading
from kdbench.leaderboard.add import add
from kdbench.leaderboard.build import build
from kdbench.leaderboard.check import check
from kdbench.leaderboard.entry import found
from kdbench.leaderboard.verify import verify


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest submission."""
    root = tmp_path_factory.mktemp("honest")
    return add(board_runs.runs(root / "runs", "kd"), root / "leaderboard")


@pytest.fixture
def victim(honest: Path, tmp_path: Path) -> Path:
    """A copy of it, on a board of its own."""
    place = tmp_path / "leaderboard" / "submissions" / Path(*honest.parts[-4:])
    return Path(shutil.copytree(honest, place))


def rows(count: int, logits: int = 1, trial: str = "a") -> pa.Table:
    zeros = pa.array(np.zeros(count, np.int32))
    values = pa.ListArray.from_arrays(
        np.arange(count + 1, dtype=np.int32) * logits, pa.array(np.zeros(count * logits, np.float32))
    )
    names = pa.DictionaryArray.from_arrays(zeros, [trial]).cast(pa.string())
    return pa.table({"seed": zeros, "trial": names, "label": zeros, "shuffle": zeros, "logits": values})


def table(made: Callable[[], pa.Table]) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        pq.write_table(made(), folder / "predictions.parquet", compression="zstd")
        return forge(folder)

    return change


def nested(depth: int) -> Callable[[Path], Path]:
    def edit(result: dict[str, Any]) -> None:
        deep: Any = 1
        for _ in range(depth):
            deep = {"a": deep}
        result["conditions"]["deep"] = deep

    return lambda folder: forge(folder, edit)


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        (folder / name).unlink()
        make(folder / name)
        return folder

    return change


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def picture(width: int, height: int, more: bytes = b"") -> Callable[[Path], Path]:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(more)) if more else b""
    data = b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")

    def change(folder: Path) -> Path:
        (folder / "grad_cam.png").write_bytes(data)
        return forge(folder, lambda result: result["files"].update({"grad_cam.png": ""}))

    return change


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nested 400 deep": (nested(400), "result.json is nested more than 20 levels deep"),
    "nested 5000 deep": (
        lambda folder: (
            (folder / "result.json").write_text('{"a":' * 5000 + "1" + "}" * 5000),
            folder,
        )[1],
        "result.json is not valid JSON",
    ),
    "a key twice": (
        lambda folder: ((folder / "result.json").write_text('{"id": 1, "id": 2}'), folder)[1],
        "the key 'id' stands twice",
    ),
    "a number of thousands of digits": (
        lambda folder: ((folder / "environment.json").write_text("[" + "9" * 4000 + "]"), forge(folder))[1],
        "does not fit into 64 bits",
    ),
    "ten million rows": (table(lambda: rows(10**7)), "declares 10000000 rows, expected at most 2000000"),
    "ten million logits in a row": (table(lambda: rows(1, 10**7)), "declares 10000000 logits per trial"),
    "names of a megabyte": (table(lambda: rows(1000, 27, "x" * 10**6)), "names of at most 200 letters"),
    "16 MB of conditions": (
        lambda folder: forge(folder, lambda result: result["conditions"].update(big=["x" * 1000] * 8000)),
        "expected at most 32768",
    ),
    "a pipe": (instead("recipe.yaml", os.mkfifo), "recipe.yaml is a named pipe, expected a file"),
    "a folder": (instead("environment.json", Path.mkdir), "environment.json is a folder, expected a file"),
    "a link to a device": (instead("recipe.yaml", lambda path: path.symlink_to("/dev/zero")), "recipe.yaml is a link"),
    "a file of a terabyte": (instead("predictions.parquet", sparse), "has 1099511627776 bytes, expected at most"),
    "a huge picture": (picture(2**31 - 1, 2**31 - 1), "grad_cam.png is not a whole PNG"),
    "a picture of many pixels": (picture(3999, 3999), "grad_cam.png has 3999 x 3999 pixels, expected at most"),
    "a picture with a bomb": (picture(4, 4, b"x" * 10**8), "grad_cam.png is not a whole PNG"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_is_named_and_the_others_are_checked(victim: Path, tmp_path: Path, name: str) -> None:
    board = tmp_path / "leaderboard"
    other = add(board_runs.runs(tmp_path / "runs", "rkd", base="rkd"), board)
    change, said = HOSTILE[name]
    folder = change(victim)
    checked = {held.folder: held.problems for held in verify(found(board))}
    assert checked.pop(other) == ()
    ((place, problems),) = checked.items()
    assert place == folder
    assert any(said in problem for problem in problems), problems
    with pytest.raises(DataError, match=folder.name):
        build(board, tmp_path / "site")


def test_links_on_a_board_are_named_and_never_followed(honest: Path, tmp_path: Path) -> None:
    root = tmp_path / "leaderboard" / "submissions"
    root.mkdir(parents=True)
    (root / "everything").symlink_to("/")
    (held,) = verify(found(tmp_path / "leaderboard"))
    assert held.problems == ("its folder is a link, or lies in one",)


@pytest.mark.slow
def test_a_reader_that_dies_or_hangs_costs_one_answer(honest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PROGRAM", "import os; os.abort()")
    reading._READER.close()
    with pytest.raises(DataError, match="it ends the process that reads it"):
        reading.arrays("predictions.parquet", b"x", classes=2)
    monkeypatch.setattr(reading, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(reading, "SECONDS", 0.5)
    with pytest.raises(DataError, match=r"it takes longer than 0 s|it takes longer than 1 s"):
        reading.arrays("predictions.parquet", b"x", classes=2)
    monkeypatch.undo()
    assert check(honest).problems == ()


@fuzz(60)
@given(data=st.data())
def test_whatever_a_byte_becomes_the_answer_is_a_named_problem(victim: Path, honest: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["result.json", "predictions.parquet", "recipe.yaml", "environment.json"]))
    content = bytearray((honest / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # The end of a parquet file is where its structure lies.
        at = data.draw(st.integers(max(0, len(content) - 3000), len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    (victim / name).write_bytes(content)
    try:
        problems = check(victim).problems
        assert problems or bytes(content) == (honest / name).read_bytes()
        assert not any("it cannot be checked" in problem for problem in problems), problems
    finally:
        (victim / name).write_bytes((honest / name).read_bytes())
