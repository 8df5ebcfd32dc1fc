"""What is told of a recipe that does not fit a data set, before anything of the data is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import UsageError
from kdbench.grid.ahead import check_networks
from kdbench.runs.context import spec_for
from kdbench.runs.request import RunRequest
from kdbench.runs.sources import open_for


def request(method: str, dataset: str = "motionsim", **options: Any) -> RunRequest:
    return RunRequest(method, dataset, preset="smoke", device="cpu", **options)


def missing(*sources: str) -> Any:
    return spec_for(request("hamlet", overrides=[f"without=[{', '.join(sources)}]"]), look_ahead=True)


def test_the_view_that_is_seen_as_video_may_be_taken_away_by_its_own_name() -> None:
    spec = missing("video:depth")
    assert spec.recipe.without == ("video",)
    assert spec.conditions()["test_modalities"] == ["accelerometer", "gyroscope"]
    assert spec.folder == missing("video").folder
    assert missing("video:depth", "video").recipe.without == ("video",)


@pytest.mark.parametrize("names", ["video", "video:depth", "video:depth, video"])
def test_all_that_is_seen_cannot_be_taken_away(names: str) -> None:
    asked = request("student_only", overrides=[f"without=[{names}]"])
    with pytest.raises(UsageError, match=f"--without {names}: that is all that 'student_only' sees at test"):
        spec_for(asked, look_ahead=True)


def test_another_view_than_the_one_that_is_seen_cannot_be_taken_away(data_dir: Path) -> None:
    asked = request("hamlet", "utd_mhad", video="depth", data_dir=data_dir, overrides=["without=[video:rgb]"])
    with pytest.raises(UsageError, match="--without video:rgb: 'hamlet' sees video:depth at test") as caught:
        spec_for(asked, look_ahead=True)
    assert "--without video, or let it see the other view: --video rgb" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no source 'video:side'"):
        missing("video:side")


def test_the_only_view_of_a_data_set_needs_no_choice() -> None:
    spec = spec_for(request("kd", teacher="imu_depth"), look_ahead=True)
    assert spec.dataset.view == "depth"
    with pytest.raises(UsageError, match="and one more view"):
        spec_for(request("kd", "utd_mhad", teacher="imu_depth"), look_ahead=True)


@pytest.mark.parametrize(("method", "phase"), [("vskd", "student"), ("smd", "teacher")])
def test_a_sensor_of_several_of_its_kind_is_to_be_chosen(method: str, phase: str) -> None:
    with pytest.raises(UsageError, match=f"{phase}.sensors: mmact has no sensor 'accelerometer'") as caught:
        spec_for(request(method, "mmact"), look_ahead=True)
    for sensor in ("accelerometer_phone", "accelerometer_watch"):
        assert f"--set {phase}.sensors='[{sensor}]'" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("method", "teacher", "change", "told"),
    [
        ("kd", "raw", "teacher.encoder.name=conv2d", "teacher.encoder 'conv2d' takes image"),
        ("student_only", None, "student.encoder.name=conv1d", "student.encoder 'conv1d' takes series"),
        ("student_only", None, "student.fusion.name=ft", "student.fusion 'ft' couples the batch"),
    ],
)
def test_a_short_form_that_does_not_fit_is_told_before_any_data_is_read(
    method: str, teacher: str | None, change: str, told: str, tmp_path: Path
) -> None:
    recipe = request(method, "utd_mhad", teacher=teacher, overrides=[change]).recipe
    # There is nothing that could be read.
    with pytest.raises(UsageError, match=told):
        open_for(recipe, "utd_mhad", video="depth", data_dir=tmp_path, exclude_broken=False)


def test_a_file_of_weights_that_is_broken_is_named_once_with_what_would_do(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no tensors")
    spec = spec_for(request("kd", teacher="raw", overrides=[f"teacher.weights={path}"]), look_ahead=True)
    with pytest.raises(UsageError, match="the file is not whole, valid safetensors") as caught:
        check_networks(spec)
    assert caught.value.message.count("broken.safetensors") == 1
    assert "what torch.save writes is none" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "told", "hint"),
    [
        ("teacher.fusion.maps_of=kamera", "fusion.maps_of has no branch 'kamera'", "leave maps_of out"),
        (
            "teacher.fusion.heads=5",
            "5 heads do not divide the hidden width 16: expected 1, 2, 4, 8, 16",
            "--set teacher.fusion.heads=4",
        ),
        (
            "teacher.branches.camera.pooling.heads=3",
            "pooling 'attention': 3 heads do not divide the width 16: expected 1, 2, 4, 8, 16",
            "--set teacher.branches.camera.pooling.heads=2",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_told_with_those_that_do(change: str, told: str, hint: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        spec_for(request("hamlet", overrides=[change]), look_ahead=True)
    assert hint in str(caught.value.hint)
