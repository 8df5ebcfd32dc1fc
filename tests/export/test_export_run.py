"""Exports of whole runs: they predict what the run has stored, say how well, and leave nothing behind where not."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import scipy.io
from exports import a_run, an_export, colour_file, depth_file, inertial_file, world
from forked import kdbench as command
from helpers import tiny

import kdbench
from kdbench.errors import DataError, RunFailed, UsageError
from kdbench.export.make import export_run
from kdbench.students.feeds import feeds_of
from kdbench.students.schema import CARD, RECORD
from kdbench.students.stream import Stream
from kdbench.util.files import sha256_of
from kdbench.util.progress import Reporter

SENSOR = "student_only_sensor"
GAF = ("student.representation.name=gaf", "student.representation.image_size=32", "student.encoder.name=conv2d")
CASES = [
    pytest.param("student_only", "onnx", (), marks=pytest.mark.slow),
    pytest.param("student_only", "torch", (), marks=pytest.mark.slow),
    pytest.param(SENSOR, "onnx", (), marks=pytest.mark.slow),
    pytest.param(SENSOR, "onnx", GAF, marks=pytest.mark.slow),
]


def stored(method: str, *overrides: str) -> pd.DataFrame:
    table = a_run(method, *overrides).predictions().set_index("trial")
    return table[[name for name in table.columns if name.startswith("logit_")]]


@pytest.mark.parametrize(("method", "form", "overrides"), CASES)
def test_a_loaded_student_predicts_each_file_as_the_run_did(method: str, form: str, overrides: tuple[str, ...]) -> None:
    made = an_export(method, form, *overrides)
    student = kdbench.load_student(made.folder)
    logits = stored(method, *overrides)
    assert made.export.parity.trials == len(logits) == 12
    for trial, row in logits.iterrows():
        file = depth_file(str(trial)) if method == "student_only" else inertial_file(str(trial))
        said = student.predict(file)
        expected = np.exp(row.to_numpy() - row.max())
        np.testing.assert_allclose(said.probabilities, expected / expected.sum(), atol=2e-4)
        assert said.label == student.classes[int(row.argmax())]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "overrides"), [("student_only", ()), (SENSOR, GAF)])
def test_a_graph_takes_many_trials_at_once_and_holds_no_batch(method: str, overrides: tuple[str, ...]) -> None:
    made = an_export(method, "onnx", *overrides)
    (entry,) = made.export.inputs
    draw = np.random.default_rng(0)
    if method == "student_only":
        frames = (entry.channels, entry.frames, entry.frame_size, entry.frame_size)
        many = draw.integers(0, 256, (3, *frames), np.uint8)
    else:
        many = draw.standard_normal((3, len(entry.axes), entry.samples), np.float32)
    program = kdbench.load_student(made.folder).program
    alone = np.concatenate([program({entry.tensor: one[np.newaxis]}) for one in many])
    np.testing.assert_allclose(program({entry.tensor: many}), alone, atol=1e-5)
    constants = onnx.load(made.folder / "model.onnx").graph.initializer
    assert sum(int(np.prod(each.dims)) for each in constants) <= 1.1 * made.export.parameters


@pytest.mark.slow
def test_an_export_holds_what_it_says() -> None:
    made = an_export("student_only", "onnx")
    record = json.loads((made.folder / RECORD).read_text())
    assert {path.name for path in made.folder.iterdir()} == {RECORD, CARD, "model.onnx"}
    assert record["files"] == {name: sha256_of(made.folder / name) for name in (CARD, "model.onnx")}
    (video,) = record["inputs"]
    assert (video["view"], video["kind"], video["unit"], video["rate_hz"]) == ("depth", "person_depth", "mm", 30)
    assert [each.partition(":")[0] for each in video["needs_trial"]] == ["crop", "range"]
    assert record["parity"]["inputs"] == {"video": "files"}
    assert record["parity"]["largest_difference"] <= 1e-4
    result = a_run("student_only").result
    assert record["parameters"] == result["cost"]["parameters"]
    assert record["flops"] == result["cost"]["flops"]
    assert record["scores"]["accuracy"] == result["metrics"]["accuracy"]
    assert record["latency"]["threads"] == 1
    assert str(world()) not in (made.folder / RECORD).read_text() + (made.folder / CARD).read_text()


@pytest.mark.slow
def test_the_model_card_names_data_licence_subjects_and_limits() -> None:
    text = (an_export("student_only", "onnx").folder / CARD).read_text()
    for part in ("## Data", "Licence of the recordings: Made freely available", "## Subjects", "## Limits"):
        assert part in text
    table = a_run("student_only").predictions()
    for subject in ("2", "4"):
        mine = table[table["trial"].str.contains(f"_s{subject}_")]
        scores = mine[[name for name in table.columns if name.startswith("logit_")]].to_numpy()
        share = 100 * (scores.argmax(1) == mine["label"].to_numpy()).mean()
        assert f"| {subject} | {len(mine)} | {share:.2f} |" in text


@pytest.mark.slow
def test_a_loaded_student_takes_arrays() -> None:
    student = kdbench.load_student(an_export("student_only", "torch").folder)
    trial = str(stored("student_only").index[0])
    frames = np.moveaxis(scipy.io.loadmat(depth_file(trial))["d_depth"], -1, 0)
    said, of_file = student.predict({"video": frames}), student.predict(depth_file(trial))
    np.testing.assert_array_equal(said.probabilities, of_file.probabilities)


@pytest.mark.slow
def test_an_export_that_predicts_otherwise_is_not_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(world() / "cache"))
    # The same preprocessing but for the margin around the person, as a change of the code would be.
    monkeypatch.setattr("kdbench.data.readers.depth.MARGIN", 0.6)
    with pytest.raises(RunFailed, match=r"of 12 trials differ") as caught:
        export_run(
            a_run("student_only").folder,
            format="torch",
            to=tmp_path / "student",
            dataset=str(world() / "card.yaml"),
            data_dir=world() / "data",
        )
    assert "a1_s2" in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_no_export_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        export_run(a_run("student_only").folder, to=tmp_path, format="torch")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_what_lies_beside_an_earlier_export_is_never_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(world() / "cache"))
    student = tmp_path / "student"
    shutil.copytree(an_export("student_only", "torch").folder, student)
    (student / CARD).write_text("of an earlier run")
    told: list[str] = []
    reporter = Reporter()
    monkeypatch.setattr(reporter, "message", told.append)
    again = functools.partial(export_run, a_run("student_only").folder, to=student, format="torch", reporter=reporter)
    (student / "windows.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"holds windows\.csv beside an export, which would be lost"):
        again()
    (student / "windows.csv").unlink()
    again(dataset=str(world() / "card.yaml"), data_dir=world() / "data")
    assert told[0] == f"replacing the export in {student}"
    assert (student / CARD).read_text().startswith("# student_only on")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["truncated", "changed", "missing", "record"])
def test_a_damaged_export_is_refused(what: str, tmp_path: Path) -> None:
    source = an_export("student_only", "torch").folder
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights, record = tmp_path / "model.safetensors", tmp_path / RECORD
    content = weights.read_bytes()
    if what == "truncated":
        weights.write_bytes(content[:-100])
    elif what == "changed":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif what == "missing":
        weights.unlink()
    else:
        record.write_text(record.read_text().replace('"unit": "mm"', '"unit": "m"'))
    named = "is missing" if what == "missing" else "is not what was written, by its sha256"
    with pytest.raises(DataError, match=named):
        kdbench.load_student(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form", "said"), [(None, "tflite", "unknown format of an export"), ("no_such_run", "onnx", "no_such_run")]
)
def test_a_wrong_request_is_named(name: str | None, form: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        export_run(name or a_run("student_only").folder, format=form, out=world() / "runs", to=tmp_path / "student")


@pytest.mark.slow
def test_eight_bits_are_measured_and_can_be_loaded() -> None:
    made = an_export("student_only_sensor", "onnx", int8=True)
    eight = made.export.int8
    assert eight is not None
    assert made.export.files[eight.file] == sha256_of(made.folder / eight.file)
    student, exact = kdbench.load_student(made.folder, int8=True), kdbench.load_student(made.folder)
    table = a_run("student_only_sensor").predictions()
    said = [(student.predict(inertial_file(trial)), exact.predict(inertial_file(trial))) for trial in table["trial"]]
    right = [one.label == student.classes[label] for (one, _), label in zip(said, table["label"], strict=True)]
    assert eight.scores.accuracy == pytest.approx(np.mean(right))
    assert eight.agreement == pytest.approx(np.mean([one.label == other.label for one, other in said]))
    assert any(not np.array_equal(one.probabilities, other.probabilities) for one, other in said)
    assert eight.calibration == 12
    assert "in 8 bits" in (made.folder / CARD).read_text().lower()


@pytest.mark.slow
def test_options_without_an_effect_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(world() / "cache"))
    with pytest.raises(UsageError, match="--int8 is for ONNX"):
        export_run(a_run("student_only").folder, format="torch", int8=True, to=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "video", "named"),
    [
        (SENSOR, "depth", "the accelerometer of the window, not of the recording, resampled to 64 samples"),
        ("student_only", "rgb", "frames of the video spread over the window, not over the recording"),
    ],
)
def test_what_windows_cost_is_measured_for_every_student(method: str, video: str, named: str) -> None:
    made = an_export(method, "torch", causal=True, video=video)
    causal = made.export.causal
    assert causal is not None
    assert made.export.needs_trial == {}
    assert named in causal.method
    # Nothing of their preprocessing but the length depends on what comes later.
    assert causal.running.accuracy == causal.whole.accuracy
    student, table = kdbench.load_student(made.folder), a_run(method, video=video).predictions()
    file_of = inertial_file if method == SENSOR else colour_file
    right = 0
    for trial, label in zip(table["trial"], table["label"], strict=True):
        *_, last = Stream(student).watch(feeds_of(student, [str(file_of(trial))], speed=0))
        right += int(last.smoothed.argmax()) == label
    assert causal.windows.accuracy == pytest.approx(right / len(table))
    assert "as a stream of windows" in (made.folder / CARD).read_text()


@pytest.mark.slow
def test_what_windows_cost_a_generated_clip_is_not_measured(tmp_path: Path) -> None:
    made = tiny("student_only", tmp_path / "runs")
    with pytest.raises(UsageError, match="only prepared clips are at hand") as caught:
        export_run(made.folder, causal=True, to=tmp_path / "student")
    assert str(caught.value.hint) == "Leave it out: no files hold the clips of a generated data set."


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("student.sensors=[accelerometer, gyroscope]", "student.fusion.name=concat"), id="joined"),
        pytest.param(("student.sensors=[accelerometer, gyroscope]",), id="two heads"),
        pytest.param((*GAF, "student.representation.length=native"), id="native lengths"),
    ],
)
def test_any_network_is_rebuilt_for_torch(overrides: tuple[str, ...]) -> None:
    made = an_export(SENSOR, "torch", *overrides)
    assert made.export.parity.largest_difference <= 1e-5
    student = kdbench.load_student(made.folder)
    trial = str(stored(SENSOR, *overrides).index[0])
    said = student.predict({source: inertial_file(trial) for source in student.sources})
    assert said.label == student.classes[int(stored(SENSOR, *overrides).loc[trial].argmax())]


@pytest.mark.slow
def test_a_student_of_colour_video_takes_films() -> None:
    made = an_export("student_only", "torch", video="rgb")
    assert made.export.parity.inputs == {"video": "files"}
    assert made.export.needs_trial == {}
    student = kdbench.load_student(made.folder)
    table = a_run("student_only", video="rgb").predictions().set_index("trial")
    logits = table[[name for name in table.columns if name.startswith("logit_")]]
    for trial, row in logits.iloc[:3].iterrows():
        said = student.predict(colour_file(str(trial)))
        assert said.confidence == pytest.approx(np.exp(row - row.max()).max() / np.exp(row - row.max()).sum(), abs=1e-4)
    with pytest.raises(DataError, match="recorded at 30 Hz, and the student was trained at 15 Hz"):
        student.predict(np.zeros((20, 48, 64, 3), np.uint8), rate_hz=30)


@pytest.mark.slow
def test_native_lengths_have_no_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(world() / "cache"))
    overrides = (*GAF, "student.representation.length=native")
    with pytest.raises(UsageError, match="enters the network at its native length") as caught:
        export_run(
            a_run(SENSOR, *overrides).folder,
            to=tmp_path / "student",
            dataset=str(world() / "card.yaml"),
            data_dir=world() / "data",
        )
    assert "--format torch" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_student_that_predicts_by_its_batch_mates_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(world() / "cache"))
    coupled = ("student.sensors=[accelerometer, gyroscope]", "student.fusion.name=ft")
    with pytest.raises(UsageError, match=r"predicts a trial by its batch mates \(fusion 'ft'\)"):
        export_run(
            a_run(SENSOR, *coupled).folder,
            format="torch",
            to=tmp_path / "student",
            dataset=str(world() / "card.yaml"),
            data_dir=world() / "data",
        )


@pytest.mark.slow
def test_a_run_on_a_card_of_ones_own_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a data set of one's own") as caught:
        export_run(a_run("student_only").folder, to=tmp_path / "export", data_dir=world() / "data")
    assert caught.value.hint is not None
    assert "--dataset" in caught.value.hint


@pytest.mark.slow
def test_a_student_of_ones_own_films_takes_a_film(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "examples/make_recordings.py"
    subprocess.run([sys.executable, script, tmp_path / "kitchen"], check=True)
    card = tmp_path / "kitchen/card.yaml"
    on = ("--dataset", card)
    for words in (
        ("data", "init", tmp_path / "kitchen", "--yes"),
        ("run", "--method", "student_only", "--preset", "smoke", "--out", tmp_path / "runs", *on),
        ("export", "student_only", "--out", tmp_path / "runs", "--to", tmp_path / "student", *on),
    ):
        done = command(*words)
        assert done.returncode == 0, done.stderr
    film = tmp_path / "kitchen/anna/wave_1.mp4"
    said = kdbench.load_student(tmp_path / "student").predict(film)
    assert said.label in ("wave", "clap")
