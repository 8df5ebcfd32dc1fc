"""`kdbench export` and `kdbench predict`, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exports import a_run, an_export, depth_file, world

import kdbench as library
from kdbench.cli.predict import recordings_of
from kdbench.errors import UsageError


@pytest.fixture(scope="module", autouse=True)
def _made() -> None:
    """Makes the export before a test begins to listen, since preparing its data is told on the error stream."""
    an_export("student_only", "torch")


@pytest.mark.slow
def test_a_table_names_each_recording_and_its_class(kdbench: Callable[..., Any]) -> None:
    folder, files = an_export("student_only", "torch").folder, [depth_file("a1_s2_t1"), depth_file("a2_s2_t1")]
    done = kdbench("predict", str(folder), *map(str, files), "--top", "1")
    student = library.load_student(folder)
    assert (done.code, done.err) == (0, "")
    for file in files:
        (line,) = [line for line in done.out.splitlines() if str(file) in line]
        said = student.predict(file)
        assert said.label in line
        assert f"{100 * said.confidence:.1f}" in line


@pytest.mark.slow
def test_json_holds_every_probability(kdbench: Callable[..., Any]) -> None:
    folder, file = an_export("student_only", "torch").folder, depth_file("a1_s2_t1")
    done = kdbench("predict", str(folder), str(file), "--json")
    (found,) = json.loads(done.out)["predictions"]
    student = library.load_student(folder)
    said = student.predict(file)
    assert found["label"] == said.label
    assert list(found["probabilities"]) == list(student.classes)
    assert found["probabilities"][said.label] == pytest.approx(said.confidence, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--class", "wave"], 2, "unknown class of this student 'wave'"),
        (["--class", "wave", "--json"], 2, "has no effect beside it"),
        (["--rate", "10"], 3, "is recorded at 10 Hz, and the student was trained at 30 Hz"),
        (["--rate", "0"], 2, "rate_hz = 0.0: expected a number above 0"),
        (["--int8"], 2, "has no network in 8 bits"),
        (["missing.mat"], 3, "missing.mat cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], code: int, said: str, kdbench: Callable[..., Any]) -> None:
    done = kdbench("predict", str(an_export("student_only", "torch").folder), str(depth_file("a1_s2_t1")), *arguments)
    assert done.code == code
    assert said in done.err
    # The other recording has its answer, whatever this one is.
    assert ("a1_s2_t1" in done.out) == (arguments == ["missing.mat"])


@pytest.mark.slow
def test_a_bad_recording_leaves_the_answers_for_the_others(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    folder, good = str(an_export("student_only", "torch").folder), [depth_file("a1_s2_t1"), depth_file("a2_s2_t1")]
    (tmp_path / "wave.csv").write_text("x,y,z\n1,2,3\n")
    words = [str(good[0]), "missing.mat", str(tmp_path / "wave.csv"), str(good[1])]
    done = kdbench("predict", folder, *words, "--json")
    found = json.loads(done.out)
    assert done.code == 3
    assert [each["recording"] for each in found["predictions"]] == [str(path) for path in good]
    assert [each["recording"] for each in found["failed"]] == words[1:3]
    assert "2 of 4 recordings cannot be predicted\n- missing.mat cannot be read" in done.err
    assert "this student sees video" in done.err
    table = kdbench("predict", folder, *words)
    assert table.code == 3
    assert all(str(path) in table.out for path in good)
    assert "missing.mat" not in table.out
    assert kdbench("predict", folder, "missing.mat").out == ""


@pytest.mark.slow
def test_export_tells_parity_and_cost(
    kdbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world()
    monkeypatch.setenv("KDBENCH_CACHE", str(root / "cache"))
    options = ["--dataset", str(root / "card.yaml"), "--data-dir", str(root / "data"), "--out", str(root / "runs")]
    to = tmp_path / "student"
    done = kdbench("export", a_run("student_only").folder.name, "--format", "torch", "--to", str(to), *options)
    assert done.code == 0
    assert "parity: 12 trials of the test part, largest difference of a logit" in done.out
    assert str(to) in done.out
    assert library.load_student(to).classes


class _Two:
    sources = ("accelerometer", "gyroscope")


def test_several_sources_are_named() -> None:
    words = ["accelerometer=a1.csv", "accelerometer=a2.csv", "gyroscope=g1.csv", "gyroscope=g2.csv"]
    assert list(recordings_of(_Two(), words).values()) == [  # type: ignore[arg-type]
        {"accelerometer": "a1.csv", "gyroscope": "g1.csv"},
        {"accelerometer": "a2.csv", "gyroscope": "g2.csv"},
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a1.csv"], "does not say which of them it is"),
        (["accelerometer=a1.csv"], "there are 1 of the accelerometer, 0 of the gyroscope"),
        (["magnetometer=m.csv"], "magnetometer"),
    ],
)
def test_sources_that_do_not_fit_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recordings_of(_Two(), words)  # type: ignore[arg-type]
