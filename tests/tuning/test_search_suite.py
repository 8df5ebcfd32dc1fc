"""Several methods under one budget: what is refused, resumed, told and written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import WORLD

import kdbench as package
from kdbench.errors import RunFailed, UsageError
from kdbench.grid.suite import Suite
from kdbench.recipes.resolve import resolve
from kdbench.tuning import suite as suites
from kdbench.tuning.recipes import check_folder
from kdbench.tuning.studies import standing
from kdbench.tuning.suite import SearchEntry, entries_of, search_all
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json

TEACHER = {"train": {"epochs": 8, "batch_size": 8}}
KD = {"name": "kd", "teacher": "raw", "set": {"teacher": TEACHER}}
TINY = ["--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--set", *WORLD]


def entries(out: Path, *names: Any, **options: Any) -> list[SearchEntry]:
    wanted = {"methods": names, "datasets": ["motionsim"], "preset": "smoke"}
    keys = {key: options.pop(key) for key in ("datasets", "protocols") if key in options}
    suite = Suite.model_validate(wanted | keys)
    return entries_of(suite, {"device": "cpu", "out": out}, WORLD, {"trials": 2} | options, Reporter())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two methods, tuned by two trials each, and their recipes."""
    out = tmp_path_factory.mktemp("runs")
    found = entries(out, "student_only", KD)
    ended = list(search_all(found, seeds=1, recipes=out / "tuned", reporter=Reporter()))
    assert all(outcome.error is None for outcome in ended)
    return out


@pytest.mark.slow
def test_every_method_has_the_same_budget_and_the_same_validation_part(tuned: Path) -> None:
    records = [read_json(tuned / f"tuned/{name}.search.json") for name in ("student_only", "kd+raw")]
    assert records[0]["budget"] == records[1]["budget"]
    assert records[0]["budget"]["trials"] == 2
    assert all(len(record["trials"]) == 2 for record in records)
    found = entries(tuned, "student_only", KD)
    assert len({entry.search.context.split.validation for entry in found}) == 1


def test_a_tuned_recipe_says_what_chose_it_and_where(tuned: Path) -> None:
    for stem, name in (("student_only", "student_only"), ("kd+raw", "hinton_raw")):
        recipe = resolve(str(tuned / f"tuned/{stem}.yaml"), "smoke")
        record = read_json(tuned / f"tuned/{stem}.search.json")
        assert recipe.name == name
        assert recipe.tuning is not None
        assert recipe.tuning.best == record["best"]["settings"]
        taught = {"teacher": "raw"} if stem == "kd+raw" else {}
        place = {"dataset": "motionsim", "protocol": "cross_subject", "preset": "smoke"}
        assert recipe.tuning.under == place | taught
        assert {"space", "trials", "trial_seeds", "versions", "budget", "protocol"} <= set(record)
        # Nothing of the machine that searched.
        assert str(tuned) not in json.dumps(record)


def test_a_tuned_recipe_is_the_winner_that_was_trained(tuned: Path) -> None:
    again = package.run(str(tuned / "tuned/kd+raw.yaml"), "motionsim", preset="smoke", device="cpu", out=tuned)
    assert again.reused
    assert "tuned_under" not in again.result["conditions"]


def test_tuned_methods_of_one_budget_stand_in_one_table_with_the_student_alone(tuned: Path) -> None:
    package.run("student_only", "motionsim", preset="smoke", device="cpu", out=tuned, overrides=WORLD)
    tables = package.compare(tuned).methods
    rows = {row["method"]: row for row in tables.to_dict("records")}
    assert set(rows) == {"student_only", "student_only (tuned)", "kd + raw (tuned)"}
    assert rows["student_only (tuned)"]["tuning"] == rows["kd + raw (tuned)"]["tuning"] == "tuned: 2 trials"
    assert rows["student_only"]["tuning"] == "defaults"
    groups = [set(table.group.rows) for table in package.compare(tuned).tables]
    assert sorted(map(sorted, groups)) == [["kd + raw (tuned)", "student_only (tuned)"], ["student_only"]]
    tuned_table = next(table for table in package.compare(tuned).tables if len(table.group.rows) == 2)
    assert "tuned: 2 trials" in tuned_table.group.title


def test_a_tuned_recipe_elsewhere_says_so(tuned: Path, tmp_path: Path) -> None:
    path = str(tuned / "tuned/student_only.yaml")
    # Nor would a search on top of it tell how many trials chose.
    with pytest.raises(UsageError, match="'student_only' is tuned already, by 2 trials") as refused:
        entries(tmp_path, path, protocols=["subject_specific"])
    assert refused.value.hint is not None
    assert refused.value.hint.endswith("kdbench search --method student_only")
    with pytest.raises(UsageError, match="there is no recipe file") as refused:
        package.run(str(tuned / "tuned/kd.yaml"), "motionsim", preset="smoke", device="cpu", out=tmp_path)
    assert "Did you mean" in str(refused.value)
    assert "kd+raw.yaml" in str(refused.value)
    with pytest.raises(UsageError, match="were chosen under the protocol 'cross_subject'") as refused:
        package.run(path, "motionsim", protocol="subject_specific", preset="smoke", device="cpu", out=tmp_path)
    assert "kdbench search --method student_only --dataset motionsim --protocol subject_specific" in str(refused.value)
    done = package.run(
        path,
        "motionsim",
        preset="smoke",
        device="cpu",
        out=tmp_path,
        overrides=["track.labels=1"],
    )
    assert done.result["conditions"]["tuned_under"] == {"track": None}
    assert any("tuned elsewhere (all labels and pairs)" in line for line in done.result["warnings"])


@pytest.mark.slow
def test_finished_studies_are_kept(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.tuning.trial import SearchTrial

    monkeypatch.setattr(SearchTrial, "__call__", lambda *_: pytest.fail("a trial was made again"))
    found = entries(tuned, "student_only", KD)
    before = {path: path.read_bytes() for path in (tuned / "tuned").iterdir()}
    ended = list(search_all(found, seeds=1, recipes=tuned / "tuned", reporter=Reporter()))
    assert all(outcome.error is None for outcome in ended)
    assert {path: path.read_bytes() for path in (tuned / "tuned").iterdir()} == before


@pytest.mark.slow
def test_a_method_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = suites.carry_out

    def failing(search: Any, *rest: Any) -> Any:
        if search.plan.stem == "kd+raw":
            raise RunFailed("the disk is full")
        return original(search, *rest)

    monkeypatch.setattr(suites, "carry_out", failing)
    found = entries(tmp_path, KD, "student_only", trials=1)
    ended = list(search_all(found, seeds=0, recipes=None, reporter=Reporter()))
    assert [outcome.error and outcome.error.message for outcome in ended] == ["the disk is full", None]


def test_everything_that_cannot_be_searched_is_refused_at_once(tmp_path: Path) -> None:
    silent = tmp_path / "silent.yaml"
    silent.write_text("extends: student_only\nsearch: {student.train.lr: null}\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("extends: student_only\nsearch: {student.train.rl: {around: 2}}\n")
    with pytest.raises(UsageError) as caught:
        entries(tmp_path, "student_only", str(silent), str(wrong))
    assert "2 methods cannot be searched" in caught.value.message
    assert "does not say what is searched" in caught.value.message
    assert "student.train.rl" in caught.value.message
    with pytest.raises(UsageError, match="student_only stands there more than once"):
        entries(tmp_path, "student_only", {"name": "student_only", "set": {"student": {"train": {"epochs": 3}}}})
    with pytest.raises(UsageError, match="a search is on one data set, and there are 2: motionsim, utd_mhad"):
        entries(tmp_path, "student_only", datasets=["motionsim", "utd_mhad"])


def test_a_folder_that_cannot_be_written_is_told_before_any_search(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--recipes .* cannot be made"):
        check_folder(tmp_path / "file" / "tuned")


def test_the_standing_of_a_study_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    (held,) = entries(tmp_path, "student_only")
    assert standing(held.search.plan, held.search.url) == []
    assert not list(tmp_path.iterdir())


def test_an_entry_is_plain_data(tmp_path: Path) -> None:
    (held,) = entries(tmp_path, "student_only")
    assert dataclasses.replace(held, name="a b/c d").stem == "c_d"


def test_what_is_wrong_with_several_methods_alike_is_said_once(tmp_path: Path) -> None:
    suite = Suite.model_validate({"methods": ["kd", "rkd", "sp", "dml"], "datasets": ["motionsim"], "preset": "smoke"})
    with pytest.raises(UsageError, match="4 methods cannot be searched") as refused:
        entries_of(suite, {"device": "cpu", "out": tmp_path}, ["track.labels=0"], {"trials": 2}, Reporter())
    assert refused.value.message.count("leaves no labels to choose an epoch or settings by") == 1
    assert "kd, rkd, sp: track.labels = 0" in refused.value.message
    # What is wrong with one alone has its own line.
    assert "(--labels 1 --teacher-labels same)" in refused.value.message
