"""What must not move while the code is rearranged: the names of runs and teachers, and the numbers of one small run.

`python tests/test_frozen.py` writes frozen.json anew; every line that changes there needs a reason in CHANGELOG.md.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import tiny

from kdbench.errors import UsageError
from kdbench.recipes import shipped
from kdbench.recipes.schema import PRESETS
from kdbench.runs.context import spec_for
from kdbench.runs.request import RunRequest

FROZEN = Path(__file__).with_name("frozen.json")
# The table of label vectors is shipped; the paper's language model is not.
TABLE = {"semantics": {"name": "table"}}
TRACKS: dict[str, dict[str, Any]] = {"": {}, "labels1": {"track": {"labels": 1}}, "labels0": {"track": {"labels": 0}}}
TRIED = {"paper": [""], "small": ["", "labels1"], "smoke": ["", "labels0"]}
assert tuple(TRIED) == PRESETS


def hashes(method: str, preset: str, track: str) -> list[str | None]:
    """The hashes of a method's run and of its teacher on motionsim, without the versions of libraries."""
    changes = TABLE | TRACKS[track]
    cell = spec_for(
        RunRequest(method, "motionsim", preset=preset, device="cpu", threads=1, overrides=changes),
        shown=False,
        look_ahead=True,
    )
    # A teacher that trains along has no folder of its own.
    teacher = next(iter(cell.teacher_folders), None)
    return [folder and folder.rpartition("-")[2] for folder in (cell.folder, teacher)]


def logits(out: Path) -> list[list[float]]:
    """The paper's method at its smallest, on a tiny world."""
    table = tiny("sgm_ft", out).predictions().set_index("trial").sort_index()
    return table[sorted(name for name in table if name.startswith("logit"))].to_numpy().tolist()


@pytest.fixture(scope="module")
def frozen() -> dict[str, Any]:
    return json.loads(FROZEN.read_text())


@pytest.fixture
def unversioned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("kdbench.runs.libraries.used_by", lambda *_: {})
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("unversioned")
@pytest.mark.parametrize("preset", PRESETS)
def test_runs_and_teachers_keep_their_names(frozen: dict[str, Any], preset: str) -> None:
    held = frozen["hashes"][preset]
    assert {place: hashes(*place.split(" ")) for place in held} == held


def test_a_run_keeps_its_numbers(frozen: dict[str, Any], tmp_path: Path) -> None:
    np.testing.assert_allclose(logits(tmp_path), frozen["logits"], atol=1e-3)


def every_hash(preset: str) -> Iterator[tuple[str, list[str | None]]]:
    for method in sorted({*shipped.names(), *shipped.aliases()}):
        for track in TRIED[preset]:
            # Not every method stands in every track.
            with suppress(UsageError):
                yield f"{method} {preset} {track}", hashes(method, preset, track)


def write() -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_TRACKING", "off")
        found = [[round(value, 5) for value in row] for row in logits(Path(folder))]
        patch.setattr("kdbench.runs.libraries.used_by", lambda *_: {})
        patch.setenv("KDBENCH_CACHE", folder)
        held = {preset: dict(sorted(every_hash(preset))) for preset in PRESETS}
    FROZEN.write_text(json.dumps({"logits": found, "hashes": held}, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    write()
