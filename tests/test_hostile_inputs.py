"""Whatever stands in a file that a user writes: plain sentences of a bounded length come out, in bounded time."""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.card import load_card
from kdbench.data.download.unpack import unpack
from kdbench.data.readers.base import grid
from kdbench.data.splits import protocol_names
from kdbench.data.store import manifest
from kdbench.errors import KdbenchError
from kdbench.grid.suite import load_suite
from kdbench.recipes.resolve import resolve
from kdbench.semantic_spaces.table import read_table
from kdbench.util import paths, plain_yaml

ODD = st.sampled_from(
    [None, True, 0, -1, 10**6, 10**30, 1.5, float("inf"), float("nan"), "", "x" * 5000, "../..", "a\tb", "\x1b[31m",
     "{action}", "{a!r}", "{action:>9999999}", [], [1], [[1]], {}, {"a": 1}, {"name": "x"}, ["a", "a"], "2020-01-01",
     "007"]
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["set", "drop", "rename"]), ODD), min_size=1, max_size=3
)
JUNK = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.binary(max_size=20)), min_size=1, max_size=5)
FUZZ = fuzz(40)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    recipe = {key: value for key, value in resolve("sgm_ft", "small").model_dump(mode="json").items() if key != "name"}
    suite = {
        "methods": ["rkd", {"name": "sp", "set": {}}],
        "datasets": ["motionsim"],
        "seeds": [0, 1],
        "preset": "smoke",
    }
    return {
        "recipe": plain_yaml.dump(recipe | {"extends": ["hinton"], "presets": {"small": {"precision": "bf16"}}}),
        "card": (paths.folder("datasets") / "utd_mhad/card.yaml").read_text(encoding="utf-8"),
        "suite": plain_yaml.dump(suite),
    }


def held(read: Callable[[], object], longest: int = 5000) -> None:
    """Reads something; only the project's own errors may come out, and short ones."""
    refusal = None
    try:
        read()
    except KdbenchError as error:
        refusal = error
    assert refusal is None or (len(str(refusal)) < longest and refusal.exit_code in {2, 3})


def used(kind: str, path: Path) -> None:
    """Reads a file as the commands do."""

    def read() -> None:
        if kind == "recipe":
            resolve(str(path), "small")
        elif kind == "suite":
            load_suite(str(path))
        else:
            card = load_card(path)
            protocol_names(card)
            if card.trials is not None:
                grid(card)

    held(read)


def edited(content: Any, edits: list[tuple[int, str, Any]]) -> Any:
    """A copy in which some values are others, some keys are gone or renamed."""
    content = copy.deepcopy(content)
    for place, how, value in edits:
        spots = list(_spots(content))
        holder, key = spots[place % len(spots)] if spots else ({}, "")
        if how == "set":
            holder[key] = copy.deepcopy(value)
        elif how == "drop":
            del holder[key]
        elif isinstance(holder, dict):
            holder[f"{key}s"] = holder.pop(key)
    return content


def _spots(value: Any) -> Any:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _spots(inner)


def damaged(content: bytes, junk: list[tuple[int, int, bytes]]) -> bytes:
    """Bytes of which some stretches are others."""
    for place, length, other in junk:
        start = place % (len(content) + 1)
        content = content[:start] + other + content[start + length :]
    return content


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recipe", "card", "suite"])
@FUZZ
@given(edits=EDITS)
def test_odd_values_and_keys(
    kind: str, texts: dict[str, str], tmp_path: Path, edits: list[tuple[int, str, Any]]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(plain_yaml.dump(edited(plain_yaml.parse(texts[kind], "it"), edits)), encoding="utf-8")
    used(kind, path)


@pytest.mark.parametrize("kind", ["recipe", "card", "suite"])
@FUZZ
@given(junk=JUNK)
def test_damaged_files(kind: str, texts: dict[str, str], tmp_path: Path, junk: list[tuple[int, int, bytes]]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(damaged(texts[kind].encode(), junk))
    used(kind, path)


@FUZZ
@given(
    key=st.sampled_from(["student.train.lr", "student.losses.st.weight", "student", "data.options", "x", "a..b", ""]),
    value=st.text(alphabet="[]{}:,&*!a1. -'\"#~\n", max_size=30) | st.text(max_size=10),
)
def test_overrides(key: str, value: str) -> None:
    with contextlib.suppress(KdbenchError):
        resolve("hinton", "small", [f"{key}={value}"])


@FUZZ
@given(junk=JUNK)
def test_damaged_manifests_and_tables(tmp_path: Path, junk: list[tuple[int, int, bytes]]) -> None:
    folder = paths.folder("datasets") / "utd_mhad"
    card = load_card("utd_mhad")
    (tmp_path / "card.yaml").write_bytes((folder / "card.yaml").read_bytes())
    (tmp_path / str(card.manifest)).write_bytes(damaged((folder / str(card.manifest)).read_bytes()[:3000], junk))
    table = next(folder.glob("label_vectors_*.csv"))
    (tmp_path / "table.csv").write_bytes(damaged(table.read_bytes()[:3000], junk))
    own = card.model_copy()
    own._folder = tmp_path
    held(lambda: manifest.load(own), 1000)
    held(lambda: read_table(tmp_path / "table.csv"), 1000)


@FUZZ
@given(junk=JUNK)
def test_damaged_archives(tmp_path: Path, junk: list[tuple[int, int, bytes]]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"d/{number}.txt", b"x" * 500 * number)
    (tmp_path / "a.zip").write_bytes(damaged(buffer.getvalue(), junk))
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with contextlib.suppress(KdbenchError):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert {each.name for each in tmp_path.iterdir()} <= {"a.zip", "out"}
