"""What a search may try: declared, given, or by default; and every way to get it wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import kdbench
from kdbench.errors import UsageError
from kdbench.recipes.changes import nested, parse_overrides
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS, Recipe
from kdbench.recipes.search_space import Range
from kdbench.recipes.shipped import BUILTIN
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.tuning.choosers import check_choosers, check_grid
from kdbench.tuning.space import is_integer, points, searchable, space_of, unsearched, value_at


def recipe(method: str = "sgm_ft", *overrides: str) -> Recipe:
    return resolve(method, "smoke", overrides)


def written(folder: Path, search: str, name: str = "mine") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(f"extends: rkd\n{search}")
    return str(path)


def test_a_range_lies_around_the_recipes_own_value_at_every_preset() -> None:
    for preset, rate in (("paper", 5e-5), ("small", 2e-3), ("smoke", 5e-3)):
        space = space_of(resolve("sgm_ft", preset))
        assert set(space) == {
            *(f"student.losses.{name}.weight" for name in ("st", "sgm", "se")),
            "student.losses.st.temperature",
            "student.train.lr",
        }
        weight, held = space["student.losses.st.weight"], space["student.train.lr"]
        assert weight.log
        assert (weight.low, weight.high) == (pytest.approx(0.1 / 30, rel=1e-4), pytest.approx(3, rel=1e-4))
        assert space["student.losses.st.temperature"] == Range(low=1, high=16, log=True)
        assert (held.low, held.high) == (pytest.approx(rate / 10), pytest.approx(rate * 10))


def test_a_change_moves_the_range() -> None:
    assert space_of(recipe("rkd", "student.losses.rkd.weight=5"))["student.losses.rkd.weight"].high == 150


def test_a_temperature_that_only_the_loss_knows_has_a_range_too(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "student: {losses: {rkd: null, st: {weight: 1}}}\nsearch: {student.losses.st.temperature: {around: 2}}",
    )
    assert space_of(recipe(path))["student.losses.st.temperature"] == Range(low=2, high=8, log=True)


def test_a_schedule_is_searched_where_it_ends() -> None:
    space = space_of(recipe("rkd", "student.losses.rkd.weight.schedule=linear"))
    assert space["student.losses.rkd.weight.to"].high == pytest.approx(30)


def test_what_is_given_takes_the_place_of_what_is_declared(tmp_path: Path) -> None:
    declared = written(tmp_path, "search:\n  student.train.lr: {low: 0.001, high: 0.1}\n")
    assert space_of(recipe(declared)) == {
        "student.losses.rkd.weight": Range(low=0.0333333, high=30, log=True),
        "student.train.lr": Range(low=0.001, high=0.1),
    }
    assert space_of(recipe(declared), ["student.losses.rkd.weight=1..2"]) == {
        "student.losses.rkd.weight": Range(low=1, high=2)
    }


@pytest.mark.parametrize("removed", ["st", "sgm", "se"])
def test_a_removed_loss_takes_what_was_searched_of_it_along(removed: str, tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: sgm_ft\nstudent: {{losses: {{{removed}: null}}}}\n")
    for held in (recipe(str(child)), recipe("sgm_ft", f"student.losses.{removed}=null")):
        assert not [key for key in held.search if f".{removed}." in key]
        assert len(held.search) == len(recipe().search) - (2 if removed == "st" else 1)


def test_a_removed_network_takes_what_was_searched_of_it_along() -> None:
    assert list(recipe("teacher_only").search) == ["teacher.train.lr"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("student.losses.rdk.weight", "is about a loss that the student does not have; it has ce, rkd"),
        ("student.losses.st.weight", "is about a loss that the student does not have; it has ce, rkd"),
        ("data.frames", "is about neither the teacher nor the student"),
    ],
)
def test_a_space_of_what_the_recipe_lacks_is_refused_by_every_command(key: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipe 'mine'") as caught:
        recipe(written(tmp_path, f"search: {{{key}: {{around: 2}}}}\n"))
    assert f"search: {key} {said}" in caught.value.message


def test_a_space_of_a_network_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: student_only\nsearch: {teacher.train.lr: {around: 2}}\n")
    with pytest.raises(UsageError, match=r"teacher\.train\.lr is about a teacher, and the recipe has none"):
        recipe(str(path))


def test_a_key_that_only_a_search_can_tell_to_be_wrong_is_told_by_it(tmp_path: Path) -> None:
    held = recipe(written(tmp_path, "search: {student.losses.rkd.wieght: {around: 2}}\n"))
    with pytest.raises(UsageError, match=r"did you mean 'student\.losses\.rkd\.weight'"):
        space_of(held)


def test_nothing_lies_around_zero() -> None:
    with pytest.raises(UsageError, match=r"rkd\.weight = 0 is not above zero, so there is no range around it"):
        space_of(recipe("rkd", "student.losses.rkd.weight=0"))


def test_a_recipe_that_declares_nothing_says_what_to_write(tmp_path: Path) -> None:
    silent = written(tmp_path, "search: {student.losses.rkd.weight: null, student.train.lr: null}\n")
    with pytest.raises(UsageError, match="the recipe 'mine' does not say what is searched") as caught:
        space_of(recipe(silent))
    assert "--space student.train.lr=1e-4..1e-2:log" in str(caught.value.hint)


def test_weights_that_are_left_as_they_are_are_named() -> None:
    held = recipe("rkd", "student.losses.sp.weight=100", "student.losses.at={weight: {schedule: linear}}")
    assert unsearched(held, space_of(held)) == ["student.losses.sp.weight", "student.losses.at.weight"]


SCALED = re.compile(r"\.(weight|temperature|lr)(\.to)?$")


@pytest.mark.parametrize("method", sorted(BUILTIN))
def test_every_shipped_recipe_declares_what_is_worth_searching(method: str) -> None:
    for preset in PRESETS:
        held = resolve(method, preset)
        space = space_of(held)
        assert not unsearched(held, space)
        assert any(key.endswith(".train.lr") for key in space)
        temperatures = [key for key in searchable(held) if re.match(r"student\.losses\.[^.]+\.temperature$", key)]
        assert set(temperatures) <= set(space)
        for key, values in space.items():
            own = value_at(held, key)
            assert values.low is not None
            assert values.high is not None
            assert values.low < own < values.high
            assert values.log or not SCALED.search(key)
        for end in ("low", "high"):
            resolve(method, preset, nested({key: getattr(values, end) for key, values in space.items()}))


def test_a_recipe_drops_what_it_inherits(tmp_path: Path) -> None:
    parent = written(tmp_path, "search:\n  student.train.lr: {low: 0.1, high: 1}\n", "parent")
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: {parent}\nsearch:\n  student.train.lr: null\n")
    assert list(recipe(str(child)).search) == ["student.losses.rkd.weight"]


def test_a_declared_space_changes_no_run(tmp_path: Path) -> None:
    plain = written(tmp_path / "a", "")
    searching = written(tmp_path / "b", "search:\n  student.train.lr: {low: 0.1, high: 1}\n")
    assert "search" not in recipe(searching).model_dump()
    folders = {
        context_for(RunRequest(path, "motionsim", preset="smoke", device="cpu", overrides=_WORLD)).run_spec.folder
        for path in (plain, searching)
    }
    assert len(folders) == 1


_WORLD = ["data.options={actions: 4, subjects: 4, trials: 3}"]


def test_the_conditions_and_the_name_tell_who_chose() -> None:
    path = "student.train.lr"
    record = {"budget": {"trials": 3}, "study": "mine", "space": {path: {"low": 0.1, "high": 1}}, "best": {path: 0.2}}
    world = parse_overrides(_WORLD)
    alone, tuned = (
        context_for(
            RunRequest("student_only", "motionsim", preset="smoke", device="cpu", overrides=world | more)
        ).run_spec
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
        ("{around: 1}", "expected more than 1.0"),
        ("{around: 2, low: 1}", "around stands alone"),
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
    check_grid("grid", steps)
    with pytest.raises(UsageError, match="c is a range without steps"):
        check_grid("grid", {**steps, "c": Range(low=0, high=1)})
    for names in (("tpi", "none"), ("tpe", "medain")):
        with pytest.raises(UsageError, match="did you mean"):
            check_choosers(*names)


def test_dotted_keys_become_nested_ones() -> None:
    values = {"student.train.lr": 0.1, "student.losses.st.weight": 2}
    assert nested(values) == {"student": {"train": {"lr": 0.1}, "losses": {"st": {"weight": 2}}}}


@pytest.mark.parametrize("wrong", [{"sampler": "tep"}, {"pruner": "medain"}, {"space": ["student.train.lr=1.."]}])
def test_wrong_words_are_refused_before_data_are_prepared(
    wrong: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"did you mean|expected numbers"):
        kdbench.search("rkd", "motionsim", preset="smoke", out=tmp_path / "runs", **wrong)
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert not (tmp_path / "runs").exists()
