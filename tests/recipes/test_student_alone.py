"""`--teacher none`: a method's student without what teaches it, which its gain is over."""

from __future__ import annotations

import pytest

from kdbench.errors import UsageError
from kdbench.grid.suite import Suite
from kdbench.recipes.resolve import NO_TEACHER, PLAIN, STUDENTS_ALONE, resolve, student_alone_of
from kdbench.recipes.schema import PRESETS
from kdbench.recipes.shipped import names
from kdbench.runs.gain import UNTRAINED, is_alone


def recorded(name: str, preset: str = "smoke", *changes: str, teacher: str | None = None) -> dict[str, object]:
    return resolve(name, preset, changes, teacher=teacher).model_dump(mode="json")


def test_the_shipped_students_alone_are_those_that_are_named() -> None:
    found = {name for name in names() if is_alone(recorded(name))}
    assert found == set(STUDENTS_ALONE)
    transfer = {name for name in names() if is_alone(recorded(name) | {"track": {"labels": 0}})}
    assert transfer == set(UNTRAINED.values())


@pytest.mark.parametrize("preset", PRESETS[1:])
@pytest.mark.parametrize(
    ("method", "alone"),
    [
        ("kd", ("student_only", None)),
        ("dml", ("student_only", None)),
        ("series", ("student_only", None)),
        ("rkd_sensor", ("student_only_sensor", None)),
        ("kd_skeleton", ("student_only_skeleton", None)),
        ("smd", ("tsn", None)),
        ("sakdn_trn", ("trn", None)),
        ("vskd", ("vskd", NO_TEACHER)),
        ("tsn", None),
        ("untrained", None),
        ("teacher_only", None),
    ],
)
def test_every_method_has_the_student_alone_of_its_own_kind(
    method: str, alone: tuple[str, str | None] | None, preset: str
) -> None:
    assert student_alone_of(method, preset) == alone


def test_the_student_stays_and_its_teachers_go() -> None:
    whole, alone = resolve("vskd", "small"), resolve("vskd", "small", teacher=NO_TEACHER)
    assert alone.all_teachers == {}
    assert (alone.name, alone.method, alone.taught_by, alone.title) == ("vskd+none", "vskd", "none", "vskd + none")
    assert whole.student is not None
    assert alone.student is not None
    assert alone.student.architecture() == whole.student.architecture()
    assert (alone.student.train, alone.student.augment) == (whole.student.train, whole.student.augment)
    assert alone.model_dump(mode="json")["student"]["losses"] == PLAIN
    assert is_alone(alone.model_dump(mode="json"))


def test_a_student_of_ones_own_settings_has_one_of_its_own() -> None:
    assert student_alone_of("kd", "small", {"student": {"train": {"epochs": 3}}}) == ("student_only", None)
    assert student_alone_of("kd_r2plus1d", "small") == ("kd_r2plus1d", NO_TEACHER)
    changed = resolve("kd_r2plus1d", "small", ["student.train.epochs=3"], teacher=NO_TEACHER)
    assert changed.student is not None
    assert changed.student.train.epochs == 3


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ("kd", [], "the student of 'kd' alone is the method student_only"),
        ("tsn", [], "'tsn' is a student without a teacher"),
        ("untrained", [], "'untrained' is a student without a teacher"),
        ("teacher_only", [], "has no student"),
        ("vskd", ["teacher.train.epochs=3"], "leaves no teacher that teacher would change"),
        ("pskd_style", ["teachers.both=raw"], "leaves no teacher that teachers would change"),
        ("vskd", ["student.losses.ce.weight=2"], r"student\.losses\.ce\.weight changes nothing"),
    ],
)
def test_what_would_change_nothing_is_refused(method: str, changes: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(method, "smoke", changes, teacher=NO_TEACHER)


def test_several_teachers_are_not_replaced_by_one_and_may_be_left_out_together() -> None:
    with pytest.raises(UsageError, match=r"has several teachers \(accelerometer, skeleton, both\), none of which"):
        resolve("pskd_style", "smoke", teacher="raw")
    alone = ["student.losses={ce: {weight: 1}}", "student.losses.pskd=null", "teachers=null"]
    assert is_alone(recorded("pskd_style", "smoke", *alone))
    with pytest.raises(UsageError, match="'kd' has one teacher at most, so --set teachers=null changes nothing"):
        resolve("kd", "smoke", ["teachers=null"])


def test_a_grid_trains_one_student_alone_for_all_methods_that_have_it() -> None:
    suite = Suite.model_validate(
        {"methods": ["kd", "rkd", "smd", "vskd"], "teachers": ["none", "raw"], "datasets": ["motionsim"]}
    )
    pairs = [(pair.name, pair.teacher) for pair in suite.pairs()]
    assert pairs == [
        ("student_only", None),
        ("kd", "raw"),
        ("rkd", "raw"),
        ("tsn", None),
        ("smd", "raw"),
        ("vskd", "none"),
        ("vskd", "raw"),
    ]
