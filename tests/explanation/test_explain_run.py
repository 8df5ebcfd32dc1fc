"""Explaining whole runs: what lies in the folder, what is made again, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import WORLD, tiny
from PIL import Image
from safetensors.torch import load_file, save_file

import kdbench
from kdbench.errors import DataError, UsageError
from kdbench.explanation import PARTS, cams
from kdbench.explanation.corruptions import CORRUPTIONS
from kdbench.explanation.gradcam import agreement, grad_cam
from kdbench.explanation.make import Explanation
from kdbench.explanation.page import write_page
from kdbench.explanation.reopen import open_context, open_reported, untrained
from kdbench.plotting.cams import Look, draw_clip
from kdbench.plotting.style import heated
from kdbench.runs.run import RunResult, run
from kdbench.runs.store import stored_run
from kdbench.types import SENSORS
from kdbench.util.files import sha256_of
from kdbench.util.records import read_json, write_json


@pytest.fixture(scope="module", autouse=True)
def few_looks() -> Iterator[None]:
    """Grad-CAM of the worst and of the best trial alone: drawing takes most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cams, "WORST", 1)
        patch.setattr(cams, "BEST", 1)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def alone(runs: Path) -> RunResult:
    return tiny("student_only", runs)


@pytest.fixture(scope="module")
def hinton(runs: Path) -> RunResult:
    return tiny("hinton", runs)


@pytest.fixture(scope="module")
def explained(hinton: RunResult, alone: RunResult, runs: Path) -> Explanation:
    return kdbench.explain("hinton", against="student_only", draws=1, out=runs, device="cpu")


@pytest.fixture
def copied(hinton: RunResult, tmp_path: Path) -> Path:
    """The run alone, without its teacher's folder, to be spoilt."""
    folder = tmp_path / "runs" / hinton.folder.name
    shutil.copytree(hinton.folder, folder, ignore=shutil.ignore_patterns("explain"))
    return folder


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = read_json(folder / "run.json")
    change(record)
    write_json(folder / "run.json", record)


@pytest.mark.slow
def test_every_part_is_made(explained: Explanation) -> None:
    assert explained.made == tuple(PARTS)
    assert explained.missing == {}
    for part in explained.record["parts"].values():
        assert part["notes"]
        for picture in part["pictures"]:
            with Image.open(explained.folder / picture["file"]) as image:
                image.verify()
    assert read_json(explained.folder / "explain.json") == explained.record


def test_the_page_shows_every_picture_and_runs_nothing(explained: Explanation) -> None:
    page = explained.page.read_text()
    shown = set(re.findall(r'<img src="([^"]+)"', page))
    assert shown == {picture["file"] for part in explained.record["parts"].values() for picture in part["pictures"]}
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_clip_is_shown_whole_and_at_its_speed(explained: Explanation) -> None:
    part = explained.record["parts"]["gradcam"]
    gifs = [picture["file"] for picture in part["pictures"] if picture["file"].endswith(".gif")]
    assert len(gifs) == len(part["numbers"]["trials"])
    with Image.open(explained.folder / gifs[0]) as image:
        assert image.n_frames > 1
        assert image.info["duration"] >= 20
        assert image.info["loop"] == 0


def test_undamaged_inputs_give_exactly_the_accuracy_of_the_run(explained: Explanation, hinton: RunResult) -> None:
    numbers = explained.record["parts"]["robustness"]["numbers"]
    assert numbers["clean"] == hinton.metrics["accuracy"]
    for points in numbers["curves"].values():
        assert points[0]["mean"] == hinton.metrics["accuracy"]
        assert all(0 <= point["mean"] <= 1 for point in points)
    assert any("For reporting alone" in note for note in explained.record["parts"]["robustness"]["notes"])


def test_the_table_of_classes_agrees_with_the_run(explained: Explanation, hinton: RunResult) -> None:
    table = explained.record["parts"]["classes"]["numbers"]["per_class"]
    assert {row["class"]: row["recall"] for row in table} == pytest.approx(hinton.metrics["per_class_recall"])
    assert sum(row["support"] for row in table) == hinton.metrics["n"]
    assert np.mean([row["f1"] for row in table]) == pytest.approx(hinton.metrics["macro_f1"])


def test_the_trials_add_up_against_the_other_run(explained: Explanation, hinton: RunResult, alone: RunResult) -> None:
    numbers = explained.record["parts"]["trials"]["numbers"]
    counts = numbers["against"]
    n = hinton.metrics["n"]
    assert len(numbers["wrong"]) == round(n * (1 - hinton.metrics["accuracy"]))
    assert counts["both_right"] + counts["only_this"] == round(n * hinton.metrics["accuracy"])
    assert counts["both_right"] + counts["only_other"] == round(n * alone.metrics["accuracy"])
    margins = [each["probability_of_predicted"] for each in numbers["wrong"]]
    assert margins == sorted(margins, reverse=True)
    gains = [each["probability_of_true"] - each["probability_of_true_there"] for each in counts["improved"]]
    assert gains == sorted(gains, reverse=True)
    assert all(gain > 0 for gain in gains)


def test_student_and_teacher_stand_side_by_side(explained: Explanation) -> None:
    numbers = explained.record["parts"]["embeddings"]["numbers"]
    assert set(numbers) == {"student", "teacher", "linear_cka"}
    assert 0 <= numbers["linear_cka"] <= 1


def test_a_repeated_call_makes_nothing(explained: Explanation, runs: Path) -> None:
    again = kdbench.explain("hinton", against="student_only", draws=1, out=runs, device="cpu")
    assert again.made == ()
    assert again.kept == tuple(PARTS)
    assert again.record == explained.record


def test_only_what_an_option_changes_or_what_is_gone_is_made_again(explained: Explanation, runs: Path) -> None:
    (explained.folder / "confusion_matrix.png").unlink()
    chosen = explained.record["parts"]["trials"]["numbers"]["wrong"] or [{"trial": hinton_trial(explained)}]
    trial = chosen[-1]["trial"]
    again = kdbench.explain("hinton", against="student_only", draws=1, trials=[trial], out=runs, device="cpu")
    assert again.made == ("classes", "gradcam")
    first = again.record["parts"]["gradcam"]["numbers"]["trials"][0]
    assert (first["trial"], first["why"]) == (trial, "asked for")
    fresh = kdbench.explain("hinton", against="student_only", only=["trials"], fresh=True, out=runs, device="cpu")
    assert fresh.made == ("trials",)


def hinton_trial(explained: Explanation) -> str:
    return explained.record["parts"]["gradcam"]["numbers"]["trials"][0]["trial"]


def test_the_map_of_a_trained_network_is_not_that_of_random_weights(hinton: RunResult, explained: Explanation) -> None:
    stored = stored_run(hinton.folder)
    context = open_context(stored, dataset=None, data_dir=None, device="cpu")
    opened = open_reported(stored, context)
    random = untrained(context, opened.role, opened.network, opened.spec)
    loader = context.loader(context.reported_trials(), opened.spec)
    found = []
    for batch in loader.batches(range(6), 1):
        with torch.no_grad():
            inputs = opened.network.represent(batch)
        pair = [grad_cam(net, inputs, int(batch.label), context.accelerator)[0] for net in (opened.network, random)]
        assert not torch.allclose(*pair)
        found.append(agreement(*pair))
    assert all(value is None or value < 0.95 for value in found)


def test_a_run_that_was_copied_without_its_teacher_says_what_is_missing(copied: Path) -> None:
    found = kdbench.explain(copied, only=["inputs", "embeddings"], device="cpu")
    assert "copy teachers/" in found.missing["inputs"]
    assert set(found.record["parts"]["embeddings"]["numbers"]) == {"student"}
    assert any("copy teachers/" in note for note in found.record["parts"]["embeddings"]["notes"])


def test_an_older_run_of_the_same_schema_opens(copied: Path) -> None:
    def older(record: dict[str, Any]) -> None:
        for key in ("split", "version", "representation", "weights", "packed"):
            record["conditions"].pop(key)
        record.pop("plugins")

    changed(copied, older)
    assert kdbench.explain(copied, only=["classes", "gradcam"], device="cpu").made == ("classes", "gradcam")


def test_other_data_are_refused(copied: Path) -> None:
    changed(copied, lambda record: record["conditions"].update(fingerprint="0" * 64))
    with pytest.raises(DataError, match="made with other data: fingerprint 000000000000") as caught:
        kdbench.explain(copied, only=["gradcam"], device="cpu")
    assert "--data-dir" in str(caught.value)


def test_another_split_is_refused(copied: Path) -> None:
    changed(copied, lambda record: record["conditions"].update(split="0" * 10))
    with pytest.raises(DataError, match="has changed since"):
        kdbench.explain(copied, only=["gradcam"], device="cpu")


def test_weights_of_another_training_are_refused(copied: Path) -> None:
    path = copied / "student.safetensors"
    weights = load_file(path)
    weights["classifiers.0.bias"] = torch.tensor([0.0, 0.0, 0.0, 1e6])
    save_file(weights, path)
    with pytest.raises(DataError, match="are not of one run"):
        kdbench.explain(copied, only=["gradcam"], device="cpu")


def test_weights_of_another_network_are_refused(copied: Path) -> None:
    path = copied / "student.safetensors"
    save_file({"classifiers.0.weight": torch.zeros(4, 3)}, path)
    with pytest.raises(DataError, match="does not fit the student"):
        kdbench.explain(copied, only=["gradcam"], device="cpu")


@pytest.mark.parametrize("name", ["student.safetensors", "predictions.parquet"])
def test_a_missing_or_truncated_file_is_named(copied: Path, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=name):
        kdbench.explain(copied, only=["gradcam"], device="cpu")
    path.unlink()
    with pytest.raises(DataError, match=name):
        kdbench.explain(copied, only=["gradcam"], device="cpu")


def test_a_damaged_explanation_is_made_again(copied: Path) -> None:
    (copied / "explain").mkdir()
    (copied / "explain" / "explain.json").write_text('{"format": ')
    assert kdbench.explain(copied, only=["classes"], device="cpu").made == ("classes",)


@pytest.mark.parametrize(
    "text", ["[]", '{"format": 2, "parts": []}', '{"format": 2, "parts": {"classes": {}, "trials": {"key": "x"}}}']
)
def test_an_explanation_of_another_shape_is_made_again(copied: Path, text: str) -> None:
    (copied / "explain").mkdir()
    (copied / "explain" / "explain.json").write_text(text)
    found = kdbench.explain(copied, only=["classes"], device="cpu")
    assert (found.made, set(found.record["parts"])) == (("classes",), {"classes"})


def test_metrics_that_the_predictions_do_not_give_are_refused(copied: Path) -> None:
    changed(copied, lambda record: record["metrics"].update(accuracy=0.987))
    with pytest.raises(DataError, match=r"run.json says accuracy 0.987000, its predictions give") as caught:
        kdbench.explain(copied, only=["classes"], device="cpu")
    assert copied.name in str(caught.value)
    assert not (copied / "explain").exists()


def test_labels_that_are_not_those_of_the_data_are_refused(copied: Path) -> None:
    path = copied / "predictions.parquet"
    table = pd.read_parquet(path)
    swapped = table.assign(label=(table["label"] + 1) % 4)
    logits = [f"logit_{k}" for k in range(4)]
    swapped[logits] = table[[logits[k - 1] for k in range(4)]].to_numpy()
    swapped.to_parquet(path)
    changed(copied, lambda record: record["files"].update({path.name: sha256_of(path)}))
    with pytest.raises(DataError, match="has other labels than the data set"):
        kdbench.explain(copied, only=["gradcam"], device="cpu")


@pytest.mark.parametrize(("group", "key"), [("conditions", "part"), ("metrics", "per_class_recall"), ("view", "name")])
def test_what_a_run_lacks_is_named(copied: Path, group: str, key: str) -> None:
    changed(copied, lambda record: record[group].pop(key))
    with pytest.raises(DataError, match=f"run.json: {group}.{key} is missing"):
        kdbench.explain(copied, only=["classes"], device="cpu")


def test_an_encoder_that_is_gone_is_named_with_what_brought_it(copied: Path) -> None:
    plugin = {"kind": "encoder", "name": "my_net", "distribution": "my-nets", "version": "1.2"}

    def change(record: dict[str, Any]) -> None:
        record["recipe"]["student"]["encoder"]["name"] = "my_net"
        record["plugins"] = [plugin]

    changed(copied, change)
    with pytest.raises(DataError, match=r"the encoder 'my_net' of my-nets 1\.2, which is not there") as caught:
        kdbench.explain(copied, only=["gradcam"], device="cpu")
    assert "--plugin FILE" in str(caught.value.hint)


def test_a_loss_that_is_gone_is_not_needed(copied: Path) -> None:
    changed(copied, lambda record: record["recipe"]["student"]["losses"].update(my_loss={"weight": 1.0}))
    assert kdbench.explain(copied, only=["gradcam"], device="cpu").made == ("gradcam",)


def test_a_run_is_not_set_against_itself(hinton: RunResult) -> None:
    with pytest.raises(UsageError, match="against itself"):
        kdbench.explain(hinton.folder, against=hinton.folder, device="cpu")


def test_heat_is_the_only_colour_over_a_colour_picture() -> None:
    picture = np.array([[[255, 0, 0], [0, 255, 0], [85, 85, 85]]], np.uint8)
    cold, hot = heated(picture, np.zeros((1, 3))), heated(picture, np.ones((1, 3)))
    # Red, green and grey of one brightness are shown alike: violet where cold, yellow where hot.
    assert (cold == cold[0, 0]).all()
    assert (hot == hot[0, 0]).all()
    red, green, blue = cold[0, 0].astype(int)
    assert green < red < blue
    red, green, blue = hot[0, 0].astype(int)
    assert blue + 60 < min(red, green)


@pytest.mark.parametrize("name", ["tennis forehand", "a class with a name that is much longer than the others"])
def test_the_names_of_the_rows_lie_inside_the_sheet(tmp_path: Path, name: str) -> None:
    clip = np.full((1, 4, 8, 8), 200, np.uint8)
    heat = np.ones((1, 4, 8, 8), np.float32)
    look = Look(
        "t", "asked for", "t", "t", {"predicted": 0}, {"predicted": name}, [heat], [[heat[0]]], ["4×8×8 cells"], 2.0
    )
    draw_clip(look, clip, tmp_path)
    with Image.open(tmp_path / "t.png") as image:
        assert (np.asarray(image.convert("L"))[:, :2] > 250).all()


def test_another_run_under_other_conditions_is_refused(copied: Path, alone: RunResult) -> None:
    changed(copied, lambda record: record["conditions"].update(preset="small"))
    with pytest.raises(UsageError, match=r"other conditions .*\n  preset: small here, smoke there"):
        kdbench.explain(copied, against=alone.folder, device="cpu")
    assert not (copied / "explain").exists()


def test_misspelt_parts_and_trials_get_the_near_misses(hinton: RunResult) -> None:
    with pytest.raises(UsageError, match="did you mean 'gradcam'"):
        kdbench.explain(hinton.folder, only=["gradcams"])
    with pytest.raises(UsageError, match="the test part has no trial") as caught:
        kdbench.explain(hinton.folder, trials=["a1_s1"])
    assert "Trials are named like" in str(caught.value)
    with pytest.raises(UsageError, match="0 draws"):
        kdbench.explain(hinton.folder, draws=0)


@pytest.mark.slow
def test_a_sensor_student_is_explained_over_its_series(tmp_path: Path) -> None:
    sees = ["student.sensors=[accelerometer, gyroscope]", "student.fusion={name: spamfm}", "student.train.batch_size=8"]
    changes = [*WORLD, *sees]
    done = run("student_only_sensor", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=changes)
    found = kdbench.explain(done.folder, only=["gradcam", "inputs", "robustness"], draws=1, device="cpu")
    parts = found.record["parts"]
    assert found.missing == {}
    assert parts["inputs"]["numbers"]["sources"] == ["accelerometer", "gyroscope"]
    assert (found.folder / "student_inputs.png").is_file()
    assert set(parts["gradcam"]["numbers"]["grid"]) == {"accelerometer", "gyroscope"}
    assert all(len(grid) == 1 for grid in parts["gradcam"]["numbers"]["grid"].values())
    assert set(parts["robustness"]["numbers"]["curves"]) == set(CORRUPTIONS[SENSORS])
    assert parts["robustness"]["numbers"]["clean"] == pytest.approx(done.metrics["accuracy"], abs=1e-12)
    assert any("couples the trials" in note for note in parts["gradcam"]["notes"])


@pytest.mark.slow
def test_a_run_of_a_teacher_alone_is_explained_over_its_images(tmp_path: Path) -> None:
    done = tiny("teacher_only", tmp_path)
    found = kdbench.explain(done.folder, only=["gradcam", "inputs", "embeddings"], device="cpu")
    parts = found.record["parts"]
    assert found.missing == {}
    assert all(len(grid) == 2 for grid in parts["gradcam"]["numbers"]["grid"].values())
    assert set(parts["embeddings"]["numbers"]) == {"teacher"}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    part = {
        "title": hostile,
        "missing": hostile,
        "notes": [hostile],
        "pictures": [{"file": 'x" onerror="alert(1).png', "caption": hostile}],
        "tables": [{"title": hostile, "columns": [hostile], "rows": [[hostile]]}],
    }
    write_page(tmp_path / "index.html", {"run": hostile, "facts": {hostile: hostile}, "parts": {hostile: part}})
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page
    assert 'onerror="' not in page
    assert page.count("&lt;script&gt;") >= 8


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe", {"a": 1}),
        ("teacher", "../../x"),
        ("teacher", {}),
        ("metrics", {"n": 5}),
        ("conditions", {"part": []}),
    ],
)
def test_a_damaged_entry_of_a_run_is_named(tmp_path: Path, key: str, value: object) -> None:
    import json

    import made_runs

    from kdbench.errors import DataError
    from kdbench.explanation.make import explain

    folder = made_runs.make_run(tmp_path, "hinton")
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"view": {"name": "depth"}} | {key: value}))
    with pytest.raises(DataError, match=r"run\.json"):
        explain(folder, only=["trials"])


@pytest.mark.slow
def test_a_network_with_several_sources_is_explained_by_branch(tmp_path: Path) -> None:
    recipe = tmp_path / "both.yaml"
    recipe.write_text(
        "extends: raw\n"
        "branches:\n"
        "  wrist: {sees: accelerometer, representation: {name: raw}, encoder: {name: conv1d, widths: [8, 8, 16, 16]}}\n"
        "  camera: {sees: video, representation: {name: clip},"
        " encoder: {name: conv2plus1d, widths: [8, 8, 16, 16]}}\n"
        "fusion: {name: concat}\n"
    )
    changes = ["teacher.train.epochs=8", "teacher.train.batch_size=8"]
    result = tiny("teacher_only", tmp_path, *changes, teacher=str(recipe))
    without = result.metrics["without"]
    assert set(without) == {"accelerometer", "video"}
    explanation = kdbench.explain(result.folder, only=["gradcam", "inputs", "robustness"], draws=1)
    names = [path.name for path in explanation.folder.iterdir()]
    assert any(name.endswith("_wrist.png") for name in names)
    assert any(name.endswith("_camera.gif") for name in names)
    numbers = read_json(explanation.folder / "explain.json")
    assert {"video: noise", "sensors: noise"} <= set(numbers["parts"]["robustness"]["numbers"]["curves"])


@pytest.mark.slow
def test_an_ensemble_is_no_one_network_to_explain(tmp_path: Path) -> None:
    changes = ["teacher.train.epochs=8", "teacher.train.batch_size=8", "teacher.seeds=2"]
    result = tiny("teacher_only", tmp_path, *changes, teacher="raw")
    with pytest.raises(DataError, match="is 2 networks, and one network is explained"):
        kdbench.explain(result.folder, only=["gradcam"])
