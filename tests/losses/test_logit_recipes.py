"""Recipes of the losses on logits, relations and contrast."""

from __future__ import annotations

import pytest

from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS

PAIRED = ("logits", "logit_standardisation", "dkd", "dist", "pkt", "cc", "crd", "crd_batch", "condrk", "pskd")
"""Methods whose pair with the teacher on raw series has a former name."""
METHODS = (*PAIRED, "nkd", "ttm", "wttm", "ofa", "sdd", "mlld", "ctkd", "cat_kd", "wsld")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_changes_the_students_losses_alone(method: str, preset: str) -> None:
    ours, hinton = resolve(method, preset), resolve("hinton", preset)
    assert ours.student is not None
    assert hinton.student is not None
    assert ours.student.model_copy(update={"losses": hinton.student.losses}) == hinton.student
    assert (ours.teacher, ours.data, ours.semantics) == (hinton.teacher, hinton.data, hinton.semantics)


@pytest.mark.parametrize("method", PAIRED)
def test_its_raw_variant_changes_the_teacher_alone(method: str) -> None:
    ours, raw = resolve(method, "small"), resolve(f"{method}_raw", "small")
    teacher = "teacher_only_raw" if method != "pskd" else "sgm_ft_raw"
    assert raw.teacher == resolve(teacher, "small").teacher
    assert raw.student == ours.student


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", ["mmd", "mmd_raw"])
def test_mmd_mixes_teachers_that_know_nothing_of_one_another(method: str, preset: str) -> None:
    ours = resolve(method, preset)
    assert ours.teacher is not None
    assert ours.student is not None
    assert ours.teacher == resolve("teacher_only_raw", preset).teacher
    assert (ours.teacher.representation.name, ours.teacher.fusion.name) == ("raw", "none")
    assert set(ours.teacher.losses) == {"ce"}
    assert set(ours.student.losses) == {"ce", "st_mix"}


def test_each_term_stands_beside_cross_entropy_and_nothing_else() -> None:
    for method in METHODS:
        student = resolve(method, "small").student
        assert student is not None
        assert "ce" in student.losses
        assert len(student.losses) == 2
