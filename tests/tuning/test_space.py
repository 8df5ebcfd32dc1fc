"""What a search may try: declared, given, or by default; and every way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import UsageError
from kdbench.ranges import Range
from kdbench.recipe import Recipe
from kdbench.resolution import parse_overrides, resolve
from kdbench.setting import settle
from kdbench.tuning.choosers import check_choosers
from kdbench.tuning.space import default_space, is_integer, nested, points, space_of


def recipe(method: str = "sgm_ft", *overrides: str) -> Recipe:
    return resolve(method, "smoke", overrides)


def written(folder: Path, search: str, name: str = "mine") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(f"extends: rkd\n{search}")
    return str(path)


def test_by_default_weights_the_temperature_and_the_rate_are_searched() -> None:
    space = default_space(recipe())
    assert set(space) == {
        *(f"student.losses.{name}.weight" for name in ("st", "sgm", "se")),
        "student.losses.st.temperature",
        "student.train.lr",
    }
    weight = space["student.losses.st.weight"]
    assert weight.log
    assert weight.low == pytest.approx(0.1 / 30, rel=1e-4)
    assert weight.high == pytest.approx(3, rel=1e-4)
    assert space["student.losses.st.temperature"] == Range(low=1, high=16, log=True)


def test_a_temperature_that_only_the_loss_knows_is_searched_too() -> None:
    hinted = recipe("student_only", "student.losses.st.weight=1")
    assert "student.losses.st.temperature" in default_space(hinted)


def test_without_a_student_the_teachers_rate_is_searched() -> None:
    assert list(default_space(recipe("teacher_only"))) == ["teacher.train.lr"]


def test_a_schedule_is_searched_where_it_ends() -> None:
    space = default_space(recipe("rkd", "student.losses.rkd.weight.schedule=linear"))
    assert space["student.losses.rkd.weight.to"].high == pytest.approx(30)


def test_what_the_recipe_declares_takes_the_place_of_the_default(tmp_path: Path) -> None:
    declared = written(tmp_path, "search:\n  student.train.lr: {low: 0.001, high: 0.1, log: true}\n")
    found = space_of(recipe(declared), ["student.losses.rkd.weight=1..2"])
    assert found == {
        "student.losses.rkd.weight": Range(low=1, high=2),
        "student.train.lr": Range(low=0.001, high=0.1, log=True),
    }


def test_a_recipe_drops_what_it_inherits(tmp_path: Path) -> None:
    parent = written(tmp_path, "search:\n  student.train.lr: {low: 0.1, high: 1}\n", "parent")
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: {parent}\nsearch:\n  student.train.lr: null\n")
    assert recipe(str(child)).search == {}


def test_a_declared_space_changes_no_run(tmp_path: Path) -> None:
    plain = written(tmp_path / "a", "")
    searching = written(tmp_path / "b", "search:\n  student.train.lr: {low: 0.1, high: 1}\n")
    assert "search" not in recipe(searching).model_dump()
    folders = {
        settle(path, "motionsim", preset="smoke", device="cpu", overrides=_WORLD).cell.folder
        for path in (plain, searching)
    }
    assert len(folders) == 1


_WORLD = ["data.options={actions: 4, subjects: 4, trials: 3}"]


def test_the_conditions_and_the_name_tell_who_chose() -> None:
    path = "student.train.lr"
    record = {"budget": {"trials": 3}, "study": "mine", "space": {path: {"low": 0.1, "high": 1}}, "best": {path: 0.2}}
    world = parse_overrides(_WORLD)
    alone, tuned = (
        settle("student_only", "motionsim", preset="smoke", device="cpu", overrides=world | more).cell
        for more in ({}, {"tuning": record})
    )
    assert alone.folder != tuned.folder
    assert alone.conditions()["tuning"] == "defaults"
    assert tuned.conditions()["tuning"] == {"trials": 3}
    # Two methods with a rate of their own, found under one budget, may be compared.
    assert tuned.conditions()["train"]["lr"] == "searched"
    assert tuned.conditions()["train"]["epochs"] == alone.conditions()["train"]["epochs"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("student.losses.rkd.weight=3..1", "the range is empty: low (3) must lie below high (1)"),
        ("student.losses.rkd.weight=1..1", "the range is empty"),
        ("student.losses.rkd.weight=0..1:log", "a logarithmic range starts above zero, and low is 0"),
        ("student.losses.rkd.weight=a..b", "expected numbers around"),
        ("student.losses.rkd.weight=1..2:cubic", "'cubic' after the colon, expected log"),
        ("student.losses.rkd.weight=nan..1", "finite number"),
        ("student.losses.rkd.weight=1", "choices need at least two different values"),
        ("student.losses.rkd.weight", "cannot read the search space"),
        ("student.losses.rdk.weight=1..2", "did you mean 'student.losses.rkd.weight'"),
        ("data.frames=4..8", "unknown key of the search space 'data.frames'"),
        ("student.encoder.name=1..2", "student.encoder.name = 'conv2plus1d' is not a number"),
        ("student.train.epochs=1..2", "every trial gets the same budget"),
    ],
)
def test_a_wrong_space_is_explained(given: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        space_of(recipe("rkd"), [given])
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("{low: 2, high: 1}", "search.student.train.lr"),
        ("{low: 1}", "expected both low and high, or choices"),
        ("{low: 1, high: 2, choices: [1, 2]}", "choices stand alone"),
        ("{low: 1, high: 2, lgo: true}", "did you mean 'low' or 'log'"),
        ("{low: 1, high: 2, log: true, step: 1}", "log and step exclude each other"),
    ],
)
def test_a_wrong_declaration_is_explained(tmp_path: Path, declared: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"mine|key") as caught:
        recipe(written(tmp_path, f"search:\n  student.train.lr: {declared}\n"))
    assert said in str(caught.value)


def test_whole_numbers_stay_whole() -> None:
    held = recipe("rkd")
    assert is_integer(held, "student.train.batch_size", Range(low=4, high=32))
    assert not is_integer(held, "student.train.lr", Range(low=1, high=2))


def test_a_grid_needs_an_end() -> None:
    steps = {"a": Range(low=0, high=1, step=0.25), "b": Range(choices=(1, 2, 3))}
    assert points(steps) == 15
    check_choosers("grid", "none", steps)
    with pytest.raises(UsageError, match="c is a range without steps"):
        check_choosers("grid", "none", {**steps, "c": Range(low=0, high=1)})
    for names in (("tpi", "none"), ("tpe", "medain")):
        with pytest.raises(UsageError, match="did you mean"):
            check_choosers(*names, steps)


def test_dotted_keys_become_nested_ones() -> None:
    values = {"student.train.lr": 0.1, "student.losses.st.weight": 2}
    assert nested(values) == {"student": {"train": {"lr": 0.1}, "losses": {"st": {"weight": 2}}}}
