"""`kdbench runs`: what a folder of runs holds, one of them, and what may be removed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from made_runs import make_run

from kdbench.recipes.resolve import resolve
from kdbench.runs.naming import rename
from kdbench.runs.overview import settings_text
from kdbench.util.paths import folder
from kdbench.util.records import read_json, write_json

Command = Callable[..., Any]


def recipe_of(method: str, *changes: str) -> dict[str, Any]:
    return {"recipe": resolve(method, "small", changes).model_dump(mode="json")}


def test_a_tuned_run_says_so(kdbench: Command, tmp_path: Path) -> None:
    make_run(tmp_path, "rkd", change=recipe_of("rkd", "student.losses.rkd.weight=2") | {"tuning": {"trials": 5}})
    (line,) = [line for line in kdbench("runs", "list", "--out", str(tmp_path)).out.splitlines() if "rkd" in line]
    assert "rkd (tuned)" in line
    assert json.loads(kdbench("runs", "list", "--out", str(tmp_path), "--format", "json").out)[0]["tuned"] is True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three finished runs, one that failed, a damaged one, and a folder in which a run only began."""
    root = tmp_path / "runs"
    make_run(root, "student_only", folder="student_only-u-s0-aaaa000000", change=recipe_of("student_only"))
    changed = recipe_of("rkd", "student.losses.rkd.weight=0.5", "student.losses.st.weight=1", "teacher.train.epochs=3")
    make_run(root, "rkd", 1, folder="rkd-u-s1-bbbb000000", change=changed)
    make_run(root, "rkd", 2, folder="rkd-u-s2-cccc000000", change=recipe_of("rkd"))
    rename(root / "rkd-u-s2-cccc000000", "regular, 2nd try")
    failed = {"message": "the loss became NaN", **recipe_of("rkd")}
    make_run(root, "rkd", 3, folder="rkd-u-s3-dddd000000", status="failed", change=failed)
    (root / "pkt-u-s0-eeee000000").mkdir()
    (root / "pkt-u-s0-eeee000000" / "run.json").write_text("5")
    (root / "at-u-s0-ffff000000").mkdir()
    (root / "at-u-s0-ffff000000" / ".lock").touch()
    for name in ("teacher-1", "teacher-2", "unused"):
        write_json(root / "teachers" / name / "teacher.json", {})
    return root


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (["--seed", "1"], [1]),
        (["--method", "rkd", "--preset", "small", "--protocol", "cross_subject"], [1, 2, 3]),
        (["--preset", "paper"], []),
        (["--protocol", "subject_specific"], []),
    ],
)
def test_runs_are_listed_by_seed_preset_and_protocol(
    options: list[str], seeds: list[int], kdbench: Command, root: Path
) -> None:
    done = kdbench("runs", "list", "--out", str(root), "--format", "json", *options)
    assert sorted(row["seed"] for row in json.loads(done.out)) == seeds


def test_lists_runs_with_their_names_settings_and_state(kdbench: Command, root: Path) -> None:
    said = kdbench("runs", "list", "--out", str(root)).out
    lines = {line.split()[0]: line for line in said.splitlines()}
    assert "utd_mhad · cross_subject · small" in said
    assert "[teacher.train.epochs=3, st.weight=1, rkd.weight=0.5]" in lines["bbbb000000"]
    assert "regular, 2nd try" in lines["cccc000000"]
    assert "[" not in lines["cccc000000"]
    assert "failed" in lines["dddd000000"]
    assert "87.50" in lines["aaaa000000"]
    assert "damaged: pkt-u-s0-eeee000000: run.json holds int, expected an object" in said
    assert "damaged: at-u-s0-ffff000000: it holds no run.json" in said
    assert "6 runs, " in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--method", "rkd"], {"bbbb000000", "cccc000000", "dddd000000"}),
        (["--status", "finished", "--method", "rkd"], {"bbbb000000", "cccc000000"}),
        (["--status", "damaged"], {"eeee000000", "ffff000000"}),
        (["--name", "regular*"], {"cccc000000"}),
        (["--name", "*-s1-*"], {"bbbb000000"}),
        (["--dataset", "motionsim"], set()),
    ],
)
def test_filters(kdbench: Command, root: Path, options: list[str], expected: set[str]) -> None:
    told = json.loads(kdbench("runs", "list", "--out", str(root), "--format", "json", *options).out)
    assert {row["id"] for row in told} == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "smal"], "unknown preset 'smal'; did you mean 'small'?"),
        (["--protocol", "cross_subjct"], "unknown protocol 'cross_subjct'; did you mean 'cross_subject'?"),
        (["--method", "rdk"], "unknown method 'rdk'; did you mean 'rkd'"),
        (["--teacher", "gaf_fd"], "unknown teacher 'gaf_fd'; did you mean 'gaf_ft'"),
        (["--dataset", "utd_mha"], "unknown data set 'utd_mha'; did you mean 'utd_mhad'?"),
        (["--status", "finishd"], "unknown status 'finishd'; did you mean 'finished'?"),
        (["--dataset", "kitchen/card.yaml"], "there is no card file kitchen/card.yaml"),
    ],
)
def test_a_filter_that_names_nothing_is_refused(kdbench: Command, root: Path, options: list[str], said: str) -> None:
    refused = kdbench("runs", "list", "--out", str(root), *options)
    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.strip().splitlines()) == 2


def test_a_filter_that_is_right_and_finds_nothing_is_no_error(kdbench: Command, root: Path) -> None:
    assert "no such run" in kdbench("runs", "list", "--out", str(root), "--protocol", "loso_3").out
    told = kdbench("runs", "list", "--out", str(root), "--preset", "smoke", "--format", "csv").out
    assert told.startswith("folder,id,name,method,")
    assert len(told.splitlines()) == 1


def test_a_folder_that_keeps_a_former_name_is_shown_by_the_name_of_today(kdbench: Command, root: Path) -> None:
    make_run(root, "kd", folder="hinton-u-s0-9999000000", change=recipe_of("kd"))
    assert "hinton-u-s0-9999000000" in kdbench("runs", "show", "kd-u", "--out", str(root)).out


def test_runs_on_recordings_of_ones_own_are_meant_by_the_path_of_their_card(kdbench: Command, root: Path) -> None:
    card = yaml.safe_load((folder("datasets") / "utd_mhad/card.yaml").read_text())
    (root / "card.yaml").write_text(yaml.safe_dump(card))
    told = kdbench("runs", "list", "--out", str(root), "--format", "json", "--dataset", str(root / "card.yaml")).out
    assert {row["dataset"] for row in json.loads(told)} == {"utd_mhad"}


def test_a_table_for_other_programs(kdbench: Command, root: Path) -> None:
    rows = {
        row["id"]: row
        for row in csv.DictReader(io.StringIO(kdbench("runs", "list", "--format", "csv", "--out", str(root)).out))
    }
    assert json.loads(rows["bbbb000000"]["settings"])["student.losses.rkd.weight"] == 0.5
    assert rows["cccc000000"]["name"] == "regular, 2nd try"
    assert float(rows["aaaa000000"]["accuracy"]) == 0.875
    assert int(rows["aaaa000000"]["bytes"]) > 1000


def test_unknown_filters_are_refused(kdbench: Command, root: Path) -> None:
    assert "did you mean 'finished'" in kdbench("runs", "list", "--status", "finishd").err
    assert kdbench("runs", "list", "--format", "yaml").code == 2
    assert "no such run in" in kdbench("runs", "list", "--out", str(root / "nowhere")).out


@pytest.mark.usefixtures("eighty_columns")
def test_a_table_fits_a_narrow_terminal(kdbench: Command, root: Path) -> None:
    told = kdbench("runs", "list", "--out", str(root), "--method", "rkd").out
    lines = told.splitlines()[1:-1]
    assert max(map(len, lines)) <= 80
    assert "teacher.train.epochs=3," in told


@pytest.mark.usefixtures("eighty_columns")
def test_each_run_has_one_line_on_a_narrow_terminal_which_says_what_it_leaves_out(
    kdbench: Command, tmp_path: Path
) -> None:
    make_run(tmp_path, "hinton_wrong_trials_raw", folder="rkd-u-s0-aaaa000000")
    make_run(tmp_path, "hinton_wrong_trials_raw", 1, folder="rkd-u-s1-bbbb000000", status="failed")
    rename(tmp_path / "rkd-u-s0-aaaa000000", "a name of twenty-seven char")
    said = kdbench("runs", "list", "--out", str(tmp_path)).out
    head, *lines = said[said.index("id   ") :].splitlines()
    assert head.split() == ["id", "name", "method", "seed", "accuracy"]
    assert lines[0].split()[0] == "aaaa000000"
    assert "a name of twenty-seven char  kd_wrong_trials + raw " in lines[0]
    assert lines[1].split() == ["bbbb000000", "kd_wrong_trials", "+", "raw", "1", "failed"]
    assert lines[2].startswith("Left out at 80 columns: size and age.")
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("eighty_columns")
def test_a_name_without_room_is_whole_below_its_run(kdbench: Command, tmp_path: Path) -> None:
    oracle = recipe_of("rkd", "selection.rule=best-test")
    make_run(tmp_path, "hinton_wrong_trials_raw", folder="rkd-u-s0-aaaa000000", change=oracle)
    rename(tmp_path / "rkd-u-s0-aaaa000000", "a name of thirty-seven characters now")
    lines = kdbench("runs", "list", "--out", str(tmp_path)).out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("aaaa000000"))
    assert max(map(len, lines[place - 1 :])) <= 80
    assert "a name of thirty- ..." in lines[place]
    assert "(oracle) 87.50" in lines[place]
    assert "name a name of thirty-seven characters now" in lines[place + 1]


def test_an_age_outlives_a_new_name(kdbench: Command, root: Path) -> None:
    folder = root / "rkd-u-s2-cccc000000"
    write_json(folder / "run.json", {**read_json(folder / "run.json"), "finished": "2020-01-02T03:04:05+00:00"})
    rename(folder, "another name")
    told = json.loads(kdbench("runs", "list", "--out", str(root), "--format", "json", "--name", "another name").out)
    assert told[0]["written"] == "2020-01-02T03:04:05+00:00"


def test_a_schedule_is_said_as_yaml() -> None:
    said = settings_text({"student.losses.st.weight": {"schedule": "linear", "start": 0.0, "end": 1.0}})
    assert said == "st.weight={schedule: linear, start: 0, end: 1}"


def test_shows_one_run_by_what_it_is_called(kdbench: Command, root: Path) -> None:
    for called in ("bbbb", "bbbb000000", "rkd-u-s1-bbbb000000", "rkd-u-s1", str(root / "rkd-u-s1-bbbb000000")):
        assert json.loads(kdbench("runs", "show", called, "--format", "json", "--out", str(root)).out)["seed"] == 1
    # The folder alone says where it lies.
    there = kdbench("runs", "show", str(root / "rkd-u-s1-bbbb000000"), "--format", "json")
    assert json.loads(there.out)["seed"] == 1
    failed = kdbench("runs", "show", "dddd", "--out", str(root)).out
    assert "failed: the loss became NaN" in failed
    assert "protocol: cross_subject" in failed
    several = kdbench("runs", "show", "rkd", "--out", str(root))
    assert several.code == 2
    assert "'rkd' stands for 3 runs" in several.err
    assert "no run in" in kdbench("runs", "show", "nobody", "--out", str(root)).err


def test_removes_what_is_named_and_says_what_that_frees(kdbench: Command, root: Path) -> None:
    done = kdbench("runs", "rm", "regular*", "eeee", "--yes", "--out", str(root))
    assert "removed 2 runs, " in done.out
    left = {path.name for path in root.iterdir()}
    assert "rkd-u-s2-cccc000000" not in left
    assert "pkt-u-s0-eeee000000" not in left
    assert {"rkd-u-s1-bbbb000000", "student_only-u-s0-aaaa000000", "teachers"} <= left


def test_asks_first(kdbench: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "nothing is removed" in kdbench("runs", "rm", "bbbb", "--out", str(root)).out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    refused = kdbench("runs", "rm", "bbbb", "--out", str(root))
    assert refused.code == 2
    assert "--yes" in refused.err
    assert (root / "rkd-u-s1-bbbb000000").is_dir()


def test_removes_the_teachers_that_no_run_uses(kdbench: Command, root: Path) -> None:
    # A damaged run may use any of them.
    kept = kdbench("runs", "rm", "--teachers", "--yes", "--out", str(root))
    assert "nothing to remove" in kept.out
    kdbench("runs", "rm", "eeee", "--yes", "--out", str(root))
    kdbench("runs", "rm", "--teachers", "--yes", "--out", str(root))
    assert {path.name for path in (root / "teachers").iterdir()} == {"teacher-1", "teacher-2"}
    kdbench("runs", "rm", "bbbb", "--teachers", "--yes", "--out", str(root))
    assert {path.name for path in (root / "teachers").iterdir()} == {"teacher-2"}


def test_the_teachers_of_an_unfinished_run_stay(kdbench: Command, root: Path) -> None:
    mine, other = "utd_mhad-cross_subject-small-s3-0123456789", "utd_mhad-cross_subject-small-s9-0123456789"
    for name in (mine, other):
        write_json(root / "teachers" / name / "teacher.json", {})
    kdbench("runs", "rm", "eeee", "--yes", "--out", str(root))
    kdbench("runs", "rm", "--teachers", "--yes", "--out", str(root))
    assert (root / "teachers" / mine).is_dir()
    assert not (root / "teachers" / other).exists()


def test_never_removes_what_is_being_made_or_lies_elsewhere(kdbench: Command, root: Path, tmp_path: Path) -> None:
    held = root / "rkd-u-s1-bbbb000000"
    with FileLock(held / ".lock"):
        refused = kdbench("runs", "rm", "bbbb", "aaaa", "--yes", "--out", str(root))
    assert refused.code == 2
    assert "another process is making it" in refused.err
    assert held.is_dir()
    assert (root / "student_only-u-s0-aaaa000000").is_dir()
    elsewhere = make_run(tmp_path / "others", "rkd")
    (root / "link-u-s0-abcdef0123").symlink_to(elsewhere, target_is_directory=True)
    for named in (str(elsewhere), "link-u-s0-abcdef0123", "../others", "..", str(root)):
        assert kdbench("runs", "rm", named, "--yes", "--out", str(root)).code == 2
    assert read_json(elsewhere / "run.json")["method"] == "rkd"
    assert (root / "teachers" / "unused").is_dir()


def test_what_a_killed_removal_left_goes_with_the_next_one(kdbench: Command, root: Path) -> None:
    (root / ".removed-0123").mkdir()
    kdbench("runs", "rm", "eeee", "--yes", "--out", str(root))
    assert not (root / ".removed-0123").exists()


def test_control_characters_of_a_file_do_not_reach_the_terminal(kdbench: Command, root: Path) -> None:
    result = read_json(root / "rkd-u-s3-dddd000000" / "run.json")
    write_json(root / "rkd-u-s3-dddd000000" / "run.json", result | {"name": "a\x1b]0;b\x07", "message": "\x1b[2Jgone"})
    for words in (("list",), ("show", "dddd")):
        said = kdbench("runs", *words, "--out", str(root)).out
        assert "\x1b" not in said
        assert "?" in said
