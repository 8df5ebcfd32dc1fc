"""Which versions a run's numbers depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import WORLD, tiny

from kdbench.runs import libraries
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest


def cell(method: str, *overrides: str):
    return context_for(
        RunRequest(method, "motionsim", preset="smoke", overrides=[*WORLD, *overrides], device="cpu")
    ).run_spec


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch):
    """Raises the version of a library."""
    real = libraries.version

    def raise_version(library: str) -> None:
        monkeypatch.setattr(libraries, "version", lambda name: "99.0" if name == library else real(name))

    return raise_version


@pytest.mark.parametrize(("library", "matters"), [("torch", True), ("timm", True), ("pyts", False), ("av", False)])
def test_a_run_and_a_teacher_go_by_the_versions_that_they_depend_on(newer, library: str, matters: bool) -> None:
    found = cell("hinton")
    before = found.folder, found.teacher_folders[0], found.conditions()
    newer(library)
    after = found.folder, found.teacher_folders[0], found.conditions()
    assert [then != now for then, now in zip(before, after, strict=True)] == [matters] * 3


def test_a_loss_of_another_library_brings_its_version() -> None:
    plain = cell("hinton")
    bridged = cell("hinton", "student.losses.torchdistill:PKTLoss.weight=1")
    assert "torchdistill" not in plain.conditions()["libraries"]
    assert bridged.conditions()["libraries"]["torchdistill"] == libraries.installed()["torchdistill"]
    # The loss is the student's.
    assert bridged.teacher_folders[0] == plain.teacher_folders[0]


def test_video_files_bring_the_library_that_reads_them() -> None:
    assert "av" in libraries.used_by([], "RGB/{trial}_color.avi")
    assert "av" not in libraries.used_by([], None)
    assert {"torch", "torchvision", "timm", "numpy", "scipy", "kdbench"} == set(libraries.used_by([]))


def test_a_library_that_is_not_there_is_said() -> None:
    assert libraries.version("no-such-library") == "not installed"


@pytest.mark.slow
def test_other_versions_train_anew_and_keep_what_was_there(newer, tmp_path: Path) -> None:
    old = tiny("student_only", tmp_path)
    newer("torch")
    new = tiny("student_only", tmp_path)
    assert not new.reused
    assert new.folder != old.folder
    assert new.result["conditions"]["libraries"]["torch"] == "99.0"
    assert (old.folder / "run.json").is_file()
