"""A run by its folder or by the beginning of its name, and what is said where that names none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import least

from kdbench.errors import DataError, UsageError
from kdbench.runs.find import find_run, find_runs

RECORD = least(dataset="motionsim")


def made(root: Path, name: str, /, **changes: Any) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RECORD | changes))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("rkd-motionsim-s0-aa", "rkd-motionsim-s1-bb", "rkd_raw-motionsim-s0-cc"):
        made(tmp_path, name)
    return tmp_path


def test_a_folder_is_found_wherever_it_lies(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = made(tmp_path_factory.mktemp("elsewhere"), "sp-x")
    assert find_run(elsewhere, root).folder == elsewhere
    assert find_run(str(elsewhere), root).method == "rkd"


def test_a_beginning_is_enough_where_it_is_unique(root: Path) -> None:
    assert find_run("rkd-motionsim-s1", root).folder.name == "rkd-motionsim-s1-bb"
    assert find_run("rkd_", root).folder.name == "rkd_raw-motionsim-s0-cc"


@pytest.mark.parametrize("word", ["kd-kitchen", "kd-kit*-s0-*"])
def test_a_folder_that_keeps_a_former_name_is_found_by_the_methods_name_of_today(root: Path, word: str) -> None:
    made(root, "hinton-kitchen-s0-dd", method="kd")
    made(root, "hinton-lab-s0-ee", method="kd")
    assert find_run(word, root).folder.name == "hinton-kitchen-s0-dd"


def test_a_whole_name_wins_over_those_that_go_on_behind_it(root: Path) -> None:
    made(root, "rkd-motionsim-s0-aab")
    assert find_run("rkd-motionsim-s0-aa", root).folder.name == "rkd-motionsim-s0-aa"


def test_an_ambiguous_beginning_lists_what_it_may_mean(root: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_run("rkd-", root)
    assert "2 runs" in str(caught.value)
    assert "rkd-motionsim-s0-aa" in str(caught.value)
    assert "rkd-motionsim-s1-bb" in str(caught.value)
    assert "rkd_raw" not in str(caught.value)


def test_a_misspelt_name_gets_the_near_misses(root: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean\n(.*\n)*  rkd-motionsim-s0-aa"):
        find_run("rdk-motionsim-s0-aa", root)


def test_a_name_like_no_other_gets_all_of_them(root: Path) -> None:
    with pytest.raises(UsageError, match=r"There are 3:\n(.*\n)*  rkd_raw-motionsim-s0-cc"):
        find_run("zzz", root)


def test_an_empty_store_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds none") as caught:
        find_run("rkd", tmp_path / "nothing")
    assert "--out FOLDER" in str(caught.value)


def test_a_folder_that_is_no_run_is_named(root: Path) -> None:
    (root / "teachers" / "rkd-t").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"rkd-t is not the folder of a run: it holds no run\.json"):
        find_run(str(root / "teachers" / "rkd-t"), root)


def test_a_half_written_run_is_refused(root: Path) -> None:
    made(root, "half", status="running", metrics=None)
    with pytest.raises(UsageError, match="status is 'running'"):
        find_run("half", root)


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"schema_version": 99}', "schema version 99"), ("{", "not whole, valid JSON"), ("[]", "holds list")],
)
def test_a_broken_run_names_its_file(root: Path, text: str, said: str) -> None:
    folder = made(root, "broken")
    (folder / "run.json").write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        find_run("broken", root)
    assert str(folder / "run.json") in str(caught.value)


def test_a_run_is_known_by_its_id_and_by_the_name_it_was_given(root: Path) -> None:
    made(root, "sp-motionsim-s0-dd01", name="mine", method="sp")
    made(root, "sp-motionsim-s1-ee01", name="mine", method="sp", seed=1)
    assert find_run("dd01", root).folder.name == "sp-motionsim-s0-dd01"
    assert find_run("ee", root).folder.name == "sp-motionsim-s1-ee01"
    assert [run.seed for run in find_runs("mine", root)] == [0, 1]
    assert [run.seed for run in find_runs("m?ne", root)] == [0, 1]
    with pytest.raises(UsageError, match=r"2 runs in .* are meant by 'mine'"):
        find_run("mine", root)
    with pytest.raises(UsageError, match=r"did you mean\n  mine"):
        find_run("mime", root)
