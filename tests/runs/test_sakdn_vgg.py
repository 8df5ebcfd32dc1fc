"""SAKDN's own teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import WORLD

from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run
from kdbench.runs.training import records_of


def test_it_is_the_published_one_at_paper() -> None:
    spec = resolve("teacher_only", "paper", teacher="sakdn_vgg").reported
    assert spec.encoder is not None
    assert spec.encoder.name == "vgg16"
    assert spec.fusion.params == {"stem": True, "layers": [300, 300], "dropout": 0.5}
    assert {name: term.weight for name, term in spec.losses.items()} == {"ce": 0.5, "se": 0.5}
    assert spec.losses["se"].params == {"distance": "absolute"}
    student = resolve("sakdn_trn", "paper").student
    assert student is not None
    weights = {name: term.weight for name, term in student.losses.items()}
    assert weights == {"ce": 1, "st": 0.01, "gsdm": 1, "semantic_hint": 1}


def test_batchnorm_stays_refused_below_its_gates() -> None:
    changes = [*WORLD, "teacher.encoder.norm=batch"]
    request = RunRequest("teacher_only", "motionsim", preset="smoke", teacher="sakdn_vgg", overrides=changes)
    with pytest.raises(UsageError, match="tie each prediction to its batch twice"):
        context_for(request)


def test_it_learns_and_teaches_its_student(tmp_path: Path) -> None:
    changes = [*WORLD, "teacher.train.batch_size=8", "teacher.train.epochs=16", "student.train.epochs=2"]
    done = run(
        "sakdn_trn", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=changes, teacher="sakdn_vgg"
    )
    first, *later = [record["loss"] for record in records_of(next(tmp_path.glob("teachers/*")))]
    assert min(later) < first
    assert done.result["teacher"]["inductive"]
    assert done.result["conditions"]["test_modalities"] == ["video:depth"]
