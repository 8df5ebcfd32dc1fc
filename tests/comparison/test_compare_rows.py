"""Which runs make a row, which are chosen, and that every run which stands in no table is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, make_study, network
from typer.testing import CliRunner

import kdbench
from kdbench.cli import app
from kdbench.comparison.text_tables import left_out, text_tables
from kdbench.errors import DataError, UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.naming import rename


def _losses(weight: float, **more: Any) -> dict[str, Any]:
    return network({"ce": {"weight": 1.0}, "st": {"weight": weight}, **more})


def _changed(method: str, *changes: str) -> dict[str, Any]:
    return resolve(method, "small", changes).model_dump(mode="json")


def _rows(found: kdbench.comparison.Comparison) -> list[str]:
    return sorted(found.methods["method"])


def test_recipes_of_one_method_are_rows_by_themselves(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20}, seeds=2)
    for weight in (1.0, 0.5):
        for seed in range(2):
            make_run(tmp_path, "mine", seed, student=_losses(weight), folder=f"mine-{weight}-{seed}")
    found = kdbench.compare(tmp_path)
    assert _rows(found) == ["mine [st.weight=0.5]", "mine [st.weight=1]", "student_only"]
    assert not left_out(found)
    assert found.methods["accuracy"].notna().all()


def test_the_recipe_as_shipped_keeps_the_plain_name(tmp_path: Path) -> None:
    for number, changes in enumerate(([], ["student.losses.st.weight=0.5"])):
        make_run(tmp_path, "sgm_ft", folder=f"sgm_ft-{number}", change={"recipe": _changed("sgm_ft", *changes)})
    assert _rows(kdbench.compare(tmp_path)) == ["sgm_ft", "sgm_ft [st.weight=0.5]"]


def test_a_changed_recipe_says_so_also_where_no_other_of_its_method_is(tmp_path: Path) -> None:
    make_run(tmp_path, "student_only")
    make_run(tmp_path, "kd", change={"recipe": _changed("kd", "student.losses.cosine.weight=1")})
    found = kdbench.compare(tmp_path)
    assert _rows(found) == ["kd [cosine.weight=1]", "student_only"]
    assert not found.tables[0].group.shared
    (alone,) = kdbench.compare(tmp_path, methods=["kd"]).methods["method"]
    assert alone == "kd [cosine.weight=1]"


def test_what_all_have_otherwise_than_shipped_is_said_once(tmp_path: Path) -> None:
    fewer = ["student.train.epochs=3", "teacher.train.epochs=2"]
    for number, more in enumerate(([], ["student.losses.st.weight=0.5"])):
        make_run(tmp_path, "sgm_ft", folder=f"sgm_ft-{number}", change={"recipe": _changed("sgm_ft", *fewer, *more)})
    make_run(tmp_path, "student_only", change={"recipe": _changed("student_only", fewer[0])})
    found = kdbench.compare(tmp_path)
    assert _rows(found) == ["sgm_ft", "sgm_ft [st.weight=0.5]", "student_only"]
    said = "unlike the shipped recipes, those of this table have teacher.train.epochs=2, train.epochs=3"
    assert said in text_tables(found)[0].notes


def test_a_setting_that_another_recipe_has_no_use_for_is_said_once_too(tmp_path: Path) -> None:
    make_run(tmp_path, "student_only")
    make_run(tmp_path, "hinton_random_teacher_raw")
    fewer = "teacher.train.epochs=2"
    make_run(tmp_path, "hinton_raw", change={"recipe": _changed("hinton_raw", fewer)})
    # A setting of one recipe alone is its own.
    expected = [f"kd + raw [{fewer}]", "kd + raw_random", "student_only"]
    assert _rows(kdbench.compare(tmp_path)) == expected
    make_run(tmp_path, "rkd_raw", change={"recipe": _changed("rkd_raw", fewer)})
    expected = ["kd + raw", "kd + raw_random", "rkd + raw", "student_only"]
    assert _rows(kdbench.compare(tmp_path)) == expected
    make_run(tmp_path, "rkd", change={"recipe": _changed("rkd", "compile=true")})
    assert "rkd [compile=true]" in _rows(kdbench.compare(tmp_path))


def test_a_recipe_that_differs_at_one_seed_is_another_row(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20}, seeds=2)
    make_run(tmp_path, "kd", 0)
    make_run(tmp_path, "kd", 1, change={"recipe": _changed("kd", "student.losses.st.weight=3")})
    found = kdbench.compare(tmp_path)
    assert _rows(found) == ["kd", "kd [st.weight=3]", "student_only"]
    notes = " ".join(text_tables(found)[0].notes)
    assert "kd: seed 1 not run" in notes
    assert "kd [st.weight=3]: seed 0 not run" in notes


def test_recipes_that_differ_in_many_settings_have_short_names_of_their_own(tmp_path: Path) -> None:
    for number in range(3):
        more = {f"loss_{place}": {"weight": 1.0 + number} for place in range(9)}
        make_run(tmp_path, "best", folder=f"best-{number}", student=_losses(1.0, **more))
    make_run(tmp_path, "best", folder="best-few", student=_losses(1.0))
    rows = _rows(kdbench.compare(tmp_path))
    assert len(set(rows)) == 4
    assert all(row.startswith("best [") and len(row) < 90 for row in rows)
    assert any("no loss_0" in row for row in rows)


def test_a_named_run_shows_under_its_name(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20}, seeds=1)
    make_run(tmp_path, "kd")
    halved = _changed("kd", "student.losses.st.weight=0.5")
    make_run(tmp_path, "kd", change={"name": "half the weight", "recipe": halved}, folder="named")
    found = kdbench.compare(tmp_path)
    assert _rows(found) == ["half the weight", "kd", "student_only"]
    assert _rows(kdbench.compare(tmp_path, methods=["half the weight"])) == ["half the weight"]


def test_a_row_is_of_one_recipe_whatever_its_runs_are_called(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=3)
    rename(next(tmp_path.glob("kd-s1-*")), "a better day")
    found = kdbench.compare(tmp_path)
    assert _rows(found) == ["kd", "student_only"]
    assert found.methods["missing_seeds"].tolist() == [0, 0]
    notes = " ".join(text_tables(found)[0].notes)
    assert "kd: seed 1 is named 'a better day'; a row is called by a name that all its seeds have" in notes
    for seed in (0, 2):
        rename(next(tmp_path.glob(f"kd-s{seed}-*")), "a better day")
    assert _rows(kdbench.compare(tmp_path)) == ["a better day", "student_only"]


def test_only_a_row_with_a_result_is_shown(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=2)
    make_run(tmp_path, "rkd", 1, wrong=16)
    make_run(tmp_path, "sp", 0, status="failed")
    found = kdbench.compare(tmp_path)
    main = text_tables(found)[0]
    assert [row[0] for row in main.rows] == ["kd", "student_only", "rkd"]
    assert main.rows[2][1:] == ("gaf_ft", "80.00 (1 seed)", "–", "–", "not ranked")
    assert "sp: seed 0 failed; seed 1 not run" in main.notes


def test_a_name_that_reads_like_another_row_is_told_from_it(tmp_path: Path) -> None:
    make_run(tmp_path, "kd", change={"recipe": _changed("kd", "student.losses.st.weight=0.5")})
    make_run(tmp_path, "rkd", wrong=20, change={"name": "kd [st.weight=0.5]"})
    found = kdbench.compare(tmp_path)
    rows = _rows(found)
    assert len(set(rows)) == 2
    assert all(row.startswith("kd [st.weight=0.5, ") for row in rows)
    assert not found.left_out


def test_a_table_says_what_its_named_rows_are(tmp_path: Path) -> None:
    changed = _changed("student_only", "student.train.lr=0.01")
    make_run(tmp_path, "student_only", change={"name": "hot", "recipe": changed})
    make_run(tmp_path, "hinton")
    assert "hot is student_only [train.lr=0.01]" in text_tables(kdbench.compare(tmp_path))[0].notes


def test_one_name_for_two_methods_is_two_rows(tmp_path: Path) -> None:
    for method in ("kd", "rkd"):
        make_run(tmp_path, method, change={"name": "mine"})
    assert _rows(kdbench.compare(tmp_path)) == ["mine [method=kd]", "mine [method=rkd]"]


def test_a_name_moves_no_cursor(tmp_path: Path) -> None:
    make_run(tmp_path, "kd", change={"name": "red \x1b[31m\rname"})
    done = CliRunner().invoke(app, ["compare", "--out", str(tmp_path)])
    assert "red ?[31m?name" in done.output
    assert "\x1b[31m" not in done.output


def test_a_repeat_is_named_and_left_out(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=2)
    original = make_run(tmp_path, "rkd", folder="a-rkd")
    make_run(tmp_path, "rkd", folder="b-rkd")
    make_run(tmp_path, "rkd", folder="c-rkd", wrong=30)
    found = kdbench.compare(tmp_path)
    assert _rows(found).count("rkd") == 1
    why = {one.folder.name: one.why for one in found.left_out}
    assert why["b-rkd"] == "the same recipe, conditions and seed as a-rkd"
    assert why["c-rkd"] == "the same recipe, conditions and seed as a-rkd, though not the same result"
    # Where the first of them cannot be used, a repeat stands in for it.
    (original / "predictions.parquet").unlink()
    again = kdbench.compare(tmp_path)
    cells = again.seeds.set_index(["method", "seed"])
    assert cells.loc[("rkd", 0), "folder"] == "b-rkd"
    assert "it is missing" in {one.folder.name: one.why for one in again.left_out}["a-rkd"]


def test_every_run_without_a_place_is_named_with_the_reason(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=2)
    (make_run(tmp_path, "kd", 7, folder="lost") / "predictions.parquet").unlink()
    make_run(tmp_path, "rkd", 9, status="interrupted", folder="stopped")
    make_run(tmp_path, "rkd", 0, status="failed", folder="elsewhere", train__epochs=77)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{")
    found = kdbench.compare(tmp_path)
    notes = " ".join(text_tables(found)[0].notes)
    assert "kd: seed 7 unusable: predictions.parquet cannot be read: it is missing" in notes
    assert "rkd: seeds 0, 1 not run; seed 9 interrupted" in notes
    lines = " ".join(left_out(found))
    assert "elsewhere: failed, and no run under its conditions is finished" in lines
    assert "torn" in lines
    assert found.methods.set_index("method").loc["kd", "missing_seeds"] == 0


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    make_study(root, {"student_only": 20, "kd": 8, "hinton_raw": 9, "rkd": 12}, seeds=2)
    make_run(root, "rkd", 0, change={"name": "trial run"}, student=_losses(0.1), folder="named-run")
    return root


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        ({"runs": ["kd*"]}, {"kd", "kd + raw"}),
        ({"runs": ["kd", "student_only"]}, {"kd", "kd + raw", "student_only"}),
        ({"runs": ["named-run"]}, {"trial run"}),
        ({"runs": ["trial*"]}, {"trial run"}),
        ({"runs": ["*-s0-*", "*-s1-*"]}, {"student_only", "kd", "kd + raw", "rkd"}),
        ({"exclude": ["kd*", "trial run"]}, {"student_only", "rkd"}),
        ({"runs": ["kd*"], "exclude": ["*_raw"]}, {"kd"}),
        ({"methods": ["rkd"], "exclude": ["trial run"]}, {"rkd"}),
    ],
)
def test_runs_are_chosen_by_folder_name_or_method(study: Path, chosen: dict[str, Any], rows: set[str]) -> None:
    assert set(_rows(kdbench.compare(study, **chosen))) == rows


def test_runs_are_chosen_by_their_paths(study: Path, tmp_path: Path) -> None:
    paths = sorted(study.glob("kd-s*")) + sorted(study.glob("student_only-*"))
    found = kdbench.compare(tmp_path / "nowhere", runs=paths)
    assert _rows(found) == ["kd", "student_only"]
    assert _rows(kdbench.compare(tmp_path / "nowhere", runs=[study], exclude=["rkd"])) == [
        "kd",
        "kd + raw",
        "student_only",
    ]
    done = CliRunner().invoke(app, ["compare", *map(str, paths), "--format", "csv"])
    assert done.exit_code == 0
    assert done.output.count("\n") == 3


def test_a_row_is_chosen_by_its_name_and_keeps_it(tmp_path: Path) -> None:
    for weight in (1.0, 0.5):
        make_run(tmp_path, "mine", student=_losses(weight), folder=f"mine-{weight}")
    make_run(tmp_path, "student_only")
    for chosen in ({"runs": ["mine [st.weight=0.5]"]}, {"methods": ["mine [st.weight=0.5]"]}):
        assert _rows(kdbench.compare(tmp_path, **chosen)) == ["mine [st.weight=0.5]"]


def test_a_choice_of_nothing_is_explained(study: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown run in .* 'hintn'; did you mean 'hinton'"):
        kdbench.compare(study, runs=["hintn"])
    with pytest.raises(UsageError, match="unknown run in"):
        kdbench.compare(study, exclude=["nobody*"])
    with pytest.raises(DataError, match="no finished run"):
        kdbench.compare(study, runs=["rkd"], exclude=["*"])


@pytest.mark.parametrize("key", ["device", "threads", "libraries__torch"])
def test_what_a_run_does_not_record_keeps_it_apart_and_is_named(tmp_path: Path, key: str) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=2)
    value = {"device": "cpu", "threads": 1, "libraries__torch": "2.99"}[key]
    make_study(tmp_path, {"student_only": 20, "kd": 8, "rkd": 8}, seeds=2, **{key: value})
    found = kdbench.compare(tmp_path)
    assert [len(table.rows) for table in found.tables] == [3, 2]
    (one,) = found.apart(found.tables[1])
    assert one.key == key.replace("__", ".")
    assert str(one) == f"{one.key} ({value} against {'2.11.0' if '.' in one.key else 'not recorded'})"
    across = kdbench.compare(tmp_path, allow_different=[one.key])
    assert len(across.tables) == 1
    assert len(across.methods) == 5


def test_a_library_that_one_run_does_without_is_no_difference(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20}, seeds=2)
    make_study(tmp_path, {"sgm_ft": 8}, seeds=2, libraries={"torch": "2.11.0", "transformers": "4"})
    make_study(tmp_path, {"rkd": 8}, seeds=2, libraries={"torch": "2.11.0", "torchdistill": "1"})
    (table,) = kdbench.compare(tmp_path).tables
    assert [row.gain is not None for row in table.rows] == [True, True, False]
    make_study(tmp_path, {"late": 8}, seeds=2, libraries={"torch": "2.11.0", "transformers": "5"})
    found = kdbench.compare(tmp_path)
    assert {frozenset(row.method for row in each.rows) for each in found.tables} == {
        frozenset({"student_only", "sgm_ft", "rkd"}),
        frozenset({"student_only", "rkd", "late"}),
    }
    (one,) = found.apart(found.tables[1])
    assert (one.key, {*one.values}) == ("libraries.transformers", {"4", "5"})


def test_names_in_json_are_those_of_the_rows(study: Path) -> None:
    done = CliRunner().invoke(app, ["compare", "--out", str(study), "--exclude", "trial run", "--format", "json"])
    content = json.loads(done.output)
    assert {one["method"] for one in content["methods"]} == {"student_only", "kd", "kd + raw", "rkd"}
    assert {one["family"] for one in content["pairs"]} == {"tested"}
