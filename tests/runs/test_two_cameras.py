"""A network that sees two cameras of a data set: what it is given, that both matter, and what each is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recordings import TRIALS, save, write_card, write_trial

from kdbench.errors import UsageError
from kdbench.recipes.changes import parse_overrides
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import RunResult, run

CAMERA = "representation: {name: clip}, encoder: {name: conv2plus1d, norm: group, widths: [4, 8, 8, WIDTH]}"
RECIPE = f"""
extends: student_only
student:
  branches:
    camera: {{sees: "video:depth", {CAMERA.replace("WIDTH", "8")}}}
    figure: {{sees: "video:skeleton", {CAMERA.replace("WIDTH", "12")}}}
  fusion: {{name: concat}}
  train: {{epochs: 2, batch_size: 8}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small recordings in the form of UTD-MHAD, their card, and a recipe of two cameras."""
    folder = tmp_path_factory.mktemp("cameras")
    (folder / "data/utd_mhad/Skeleton").mkdir(parents=True)
    for number, trial in enumerate(TRIALS):
        write_trial(folder / "data/utd_mhad", trial)
        drawn = np.random.default_rng(number)
        joints = np.cumsum(0.01 * drawn.standard_normal((30 + number, 20, 3)), axis=0) + np.arange(20)[:, None]
        save(folder / f"data/utd_mhad/Skeleton/{trial}_skeleton.mat", d_skel=joints.transpose(1, 2, 0))
    (folder / "card").mkdir()
    write_card(folder / "card")
    (folder / "two.yaml").write_text(RECIPE)
    return folder


@pytest.fixture
def given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("KDBENCH_CACHE", str(folder / "cache"))
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    card = next((folder / "card").rglob("card.yaml"))
    return {"method": str(folder / "two.yaml"), "dataset": str(card), "preset": "smoke", "data_dir": folder / "data"}


def opened(given: dict[str, Any]) -> RunContext:
    return context_for(RunRequest(**given, device="cpu"))


def trained(given: dict[str, Any], out: Path, *changes: str) -> RunResult:
    return run(**given, device="cpu", out=out, overrides=parse_overrides(changes))


def test_each_branch_is_given_the_clips_of_its_own_camera_and_both_matter(given: dict[str, Any]) -> None:
    context = opened(given)
    spec = context.run_spec.recipe.student
    assert spec is not None
    torch.manual_seed(0)
    network = context.build("student", spec).eval()
    assert network.heads == ("camera+figure",)
    trials = TRIALS[:4]
    loader = context.loader(trials, spec)
    (batch,) = loader.batches(list(range(4)), 4)
    inputs = network.represent(batch)
    data = context.run_spec.dataset
    for name, source in (("camera", "video"), ("figure", "video:skeleton")):
        clips = np.stack([data.clip(trial, source) for trial in trials])
        np.testing.assert_array_equal(batch.raw(network.reads[name]).numpy(), clips)
    assert not torch.equal(inputs[0], inputs[1])
    (features,) = network(inputs)
    assert features.embedding.shape == (4, 8 + 12)
    assert features.logits.shape == (4, len(data.card.classes))
    for changed in range(2):
        other = [x.roll(1, 0) if place == changed else x for place, x in enumerate(inputs)]
        (moved,) = network(other)
        assert not torch.allclose(moved.logits, features.logits)


@pytest.mark.slow
def test_a_result_says_what_each_camera_is_worth_and_does_without_one(given: dict[str, Any], tmp_path: Path) -> None:
    whole = trained(given, tmp_path)
    assert whole.result["conditions"]["test_modalities"] == ["video:depth", "video:skeleton"]
    worth = whole.result["metrics"]["without"]
    assert len(worth) == 2
    for camera in ("video:depth", "video:skeleton"):
        lacking = trained(given, tmp_path, f"without=[{camera}]").result
        assert lacking["conditions"]["test_modalities"] == [
            each for each in ("video:depth", "video:skeleton") if each != camera
        ]
        assert lacking["metrics"]["accuracy"] == worth[camera]["accuracy"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["without=[video:skeletn]"], "has no source 'video:skeletn'; did you mean 'video:skeleton'"),
        (["without=[video:depth, video:skeleton]"], "that is all that"),
        (["student.branches.figure.sees=video:thermal"], "thermal"),
    ],
)
def test_a_camera_that_is_not_there_is_refused(
    given: dict[str, Any], tmp_path: Path, changes: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        trained(given, tmp_path, *changes)
