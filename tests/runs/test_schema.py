"""An edited or damaged `run.json`: every reader names it in a sentence, and goes on with the other runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run

import kdbench
from kdbench.errors import KdbenchError
from kdbench.grid.state import read_state
from kdbench.runs.find import find_runs
from kdbench.runs.gain import gain_now
from kdbench.runs.overview import overview
from kdbench.runs.removal import unused_teachers
from kdbench.runs.schema import checked
from kdbench.runs.store import stored_run
from kdbench.util.records import read_json, write_json

VALUES: tuple[Any, ...] = (5, 10**400, "x", [1], {"x": 1})


def mutated(result: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A result with each of its keys, at any depth, taken out and replaced by each of `VALUES`."""
    paths: list[tuple[str, ...]] = []

    def walk(held: Any, path: tuple[str, ...]) -> None:
        for key, value in held.items() if isinstance(held, dict) else ():
            paths.append((*path, key))
            walk(value, (*path, key))

    walk(result, ())
    for path in paths:
        for value in (..., *VALUES):
            made = copy.deepcopy(result)
            place = made
            for key in path[:-1]:
                place = place[key]
            if value is ...:
                del place[path[-1]]
            else:
                place[path[-1]] = value
            yield f"{'.'.join(path)} = {value}"[:80], made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_run(tmp_path, "student_only", wrong=20, folder="student_only-u-s0-aaaa000000")
    make_run(tmp_path, "hinton", wrong=8, folder="hinton-u-s0-bbbb000000")
    return tmp_path


@pytest.mark.slow
def test_no_edit_of_a_result_breaks_what_reads_it(root: Path) -> None:
    path = root / "hinton-u-s0-bbbb000000" / "run.json"
    sound, alone = read_json(path), dict(stored_run(root / "student_only-u-s0-aaaa000000").result)
    passed, crashed = 0, []
    for what, result in mutated(sound):
        try:
            try:
                checked(json.loads(json.dumps(result)))
            except KdbenchError:
                continue
            passed += 1
            path.write_text(json.dumps(result))
            assert overview(root)[0].folder == path.parent
            assert len(find_runs("*", root)) == 2
            gain_now(root, result)
            gain_now(root, alone)
            read_state(path.parent)
            unused_teachers(root)
            kdbench.compare(root)
        except KdbenchError:
            continue
        except Exception as error:
            crashed.append(f"{what}: {type(error).__name__}: {error}")
    assert not crashed
    assert passed > 50


def test_a_student_alone_whose_metrics_were_edited_is_no_baseline(root: Path) -> None:
    taught = dict(stored_run(root / "hinton-u-s0-bbbb000000").result)
    assert gain_now(root, taught).accuracy == pytest.approx(12 / 80)
    path = root / "student_only-u-s0-aaaa000000" / "run.json"
    result = read_json(path)
    result["metrics"]["accuracy"] = 0.01
    write_json(path, result)
    assert gain_now(root, taught).record() is None
