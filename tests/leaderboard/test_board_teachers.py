"""Submissions of methods with several teachers, of teachers that train along, and of students of several branches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import board_runs
import pytest
from forked import kdbench
from helpers import WORLD

from kdbench.comparison.subjects import known_card
from kdbench.leaderboard.add import add
from kdbench.leaderboard.build import build
from kdbench.leaderboard.check import check
from kdbench.leaderboard.entry import content_id, load
from kdbench.leaderboard.tables import table
from kdbench.recipes.resolve import resolve
from kdbench.runs.store import stored_runs

SEVERAL = "radevski2023"
SENSORS = ["accelerometer", "gyroscope"]


def told(base: str) -> dict[str, Any]:
    """What runs of a method say of its several teachers, and of the time that these took."""
    teachers = resolve(base, "small").teachers
    named = {
        name: {"folder": f"of-{name}", "accuracy": 0.6 + place / 10, "macro_f1": 0.5}
        for place, name in enumerate(teachers)
    }
    return ({"teachers": named} if named else {}) | {"cost": {"teacher_seconds": 60.0}}


def submitted(tmp_path: Path, board: Path, base: str, **changes: Any) -> Path:
    return add(board_runs.runs(tmp_path / base, base, base=base, **told(base), **changes), board)


@pytest.mark.parametrize("base", [SEVERAL, "dml", "dmcl", "ensemble", "born_again"])
def test_a_method_of_any_teachers_can_be_submitted(tmp_path: Path, board: Path, base: str) -> None:
    held = check(submitted(tmp_path, board, base))
    assert held.problems == ()


def test_a_network_of_several_branches_can_be_submitted(tmp_path: Path, board: Path) -> None:
    named = resolve("keyless", "small").reported.sees(SENSORS)
    seen = ["video:depth" if name == "video" else name for name in dict.fromkeys(named)]
    assert len(seen) == 3
    runs = board_runs.runs(tmp_path / "keyless", "keyless", base="keyless", conditions={"test_modalities": seen})
    assert check(add(runs, board)).problems == ()


def test_each_teacher_stands_on_the_board(tmp_path: Path, board: Path) -> None:
    folder = submitted(tmp_path, board, SEVERAL)
    entry = load(folder)
    names = list(resolve(SEVERAL, "small").all_teachers)
    assert ["teacher", *entry.result.seeds[0].claims.teachers] == names
    (row,) = table([check(folder)]).rows
    assert row.teacher is None
    assert list(row.teachers) == names
    assert row.each_teacher == "teacher 60.00, video 60.00"
    assert row.training_seconds == pytest.approx(241 + 60)
    build(board, tmp_path / "site")
    pages = "".join(path.read_text() for path in (tmp_path / "site").rglob("index.html"))
    assert row.each_teacher in pages


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda claims: claims.pop("teachers"), "and says nothing of it"),
        (lambda claims: claims["teachers"].update(other=claims["teachers"]["x"]), "no teacher 'other'"),
    ],
)
def test_teachers_are_those_of_the_recipe(tmp_path: Path, board: Path, change: Any, said: str) -> None:
    folder = submitted(tmp_path, board, SEVERAL)
    content = json.loads((folder / "result.json").read_text())
    for seed in content["seeds"]:
        claims: Mapping[str, Any] = seed["claims"]
        claims["teachers"]["x"] = next(iter(claims["teachers"].values()))  # type: ignore[index]
        change(claims)
        claims.get("teachers", {}).pop("x", None)  # type: ignore[attr-defined]
    content["id"] = content_id(content)
    (folder / "result.json").write_text(json.dumps(content))
    assert any(said in problem for problem in check(folder).problems)


def test_a_board_names_what_it_ranks_by(tmp_path: Path, board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_macro_f1(name: str) -> Any:
        card = known_card(name)
        assert card is not None
        return card.model_copy(update={"metric": "macro_f1"})

    for module in ("tables", "intervals"):
        monkeypatch.setattr(f"kdbench.leaderboard.{module}.known_card", by_macro_f1)
    for method, right in (("student_only", 0.5), ("kd", 0.8)):
        add(board_runs.runs(tmp_path / method, method, base=method, right=right), board)
    build(board, tmp_path / "site")
    page = " ".join((tmp_path / "site/utd_mhad/cross_subject/index.html").read_text().split())
    assert "The data set is ranked by macro F1." in page
    assert "Gain: macro F1 minus that of student_only" in page
    assert "Row minus column, in points of macro F1" in page
    rows = json.loads((tmp_path / "site/utd_mhad/cross_subject/table.json").read_text())["rows"]
    best, alone = rows
    assert (best["method"], best["metric"]) == ("kd", "macro_f1")
    assert best["gain"] == pytest.approx(best["macro_f1"] - alone["macro_f1"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("c2kd", ()),
        ("pskd_style", ()),
        ("lhar_style", ()),
        ("kd", ("teacher.folds=2",)),
        ("kd", ("teacher=imu_depth", "--video=depth")),
        ("student_only", ("selection.rule=best-val",)),
    ],
    ids=lambda value: "".join(value) or "as-shipped",
)
def test_trained_runs_of_a_system_are_submitted(
    tmp_path: Path, board: Path, system: str, changes: tuple[str, ...]
) -> None:
    teacher = [change.partition("=")[2] for change in changes if change.startswith("teacher=")]
    options = [change for change in changes if change.startswith("--")]
    settings = [change for change in changes if change not in options and not change.startswith("teacher=")]
    settings += [
        f"{key}.train={{epochs: {4 if key == 'student' else 16}, batch_size: 8}}"
        for key, spec in resolve(system, "smoke").by_key.items()
        if not spec.joint
    ]
    done = kdbench(
        *("run", "--method", system, "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu"),
        *("--seeds", "3", "--out", tmp_path / "runs"),
        *options,
        *(word for name in teacher for word in ("--teacher", name)),
        *(word for change in (*WORLD, *settings) for word in ("--set", change)),
    )
    assert done.returncode == 0, done.stderr
    runs, _ = stored_runs(tmp_path / "runs")
    folder = add([run.folder for run in runs], board)
    assert check(folder).problems == ()
    best = {seed.seed: seed.claims.best_epoch for seed in load(folder).result.seeds}
    told = {run.seed: (run.result["best_epoch"] or {}).get("epoch") for run in runs}
    assert best == told
    assert all(told.values()) == ("selection.rule=best-val" in changes)
