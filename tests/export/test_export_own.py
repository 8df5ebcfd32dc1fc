"""Exports of students of one's own recordings whose files are longer than trials: cut by a clock, or into windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from own_folders import ACTIONS, card, even, film, sensor_logger, trials, write_card

import kdbench
from kdbench.export.make import Exported, export_run
from kdbench.runs.run import run
from kdbench.students.feeds import feeds_of
from kdbench.students.stream import Stream

SMOKE = {"preset": "smoke", "device": "cpu"}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def exported(folder: Path, path: Path, method: str) -> Exported:
    done = run(method, str(path), out=folder / "runs", **SMOKE)
    return export_run(done.folder, dataset=str(path), out=folder / "runs", to=folder / f"export-{method}")


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Recordings in which the camera runs for a second longer than the phone; and their card."""
    folder = tmp_path_factory.mktemp("clocked")
    for turn, (subject, action, number) in enumerate(trials()):
        name = f"{subject}/{action}_{number}"
        sensor_logger(folder / f"{name}.csv", action, even(), scale=1 + turn / 100)
        film(folder / f"{name}.mp4", action, 4.0)
    return folder, write_card(folder, card())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "ending"), [("student_only", "mp4"), ("student_only_sensor", "csv")])
def test_a_student_of_files_that_a_clock_cuts_takes_whole_files(
    clocked: tuple[Path, Path], method: str, ending: str
) -> None:
    folder, path = clocked
    made = exported(folder, path, method)
    whole = made.export.alone
    assert whole is not None
    assert whole.trials == 4
    origin = {"student_only": "prepared", "student_only_sensor": "series"}[method]
    assert list(made.export.parity.inputs.values()) == [origin]
    student = kdbench.load_student(made.folder)
    files = [folder / f"cleo/{action}_{number}.{ending}" for action in ACTIONS for number in (1, 2)]
    said = [student.predict(file).label for file in files]
    truth = [action for action in ACTIONS for _ in (1, 2)]
    assert whole.scores.accuracy == np.mean([a == b for a, b in zip(said, truth, strict=True)])
    assert "given whole files, accuracy is" in (made.folder / "model_card.md").read_text()


@pytest.mark.slow
def test_a_student_of_windows_watches_a_longer_film(tmp_path: Path) -> None:
    for subject in ("anna", "ben", "cleo"):
        sensor_logger(tmp_path / f"{subject}/day.csv", "wave", even(8.0))
        film(tmp_path / f"{subject}/day.mp4", "wave", 8.0)
        (tmp_path / f"{subject}/day.labels.csv").write_text("start,end,label\n0,4,wave\n4,8,clap\n")
    sources = {
        "accelerometer": {"path": "{subject}/{day}.csv"},
        "rgb": {"path": "{subject}/{day}.mp4"},
    }
    rule = {"seconds": 2.0, "stride_s": 1.0, "annotations": "{subject}/{day}.labels.csv"}
    content = card(**sources)
    content["files"] |= {"windows": rule}
    del content["files"]["label"]
    content["protocols"]["cross_subject"]["disjoint"] = ["recording"]
    made = exported(tmp_path, write_card(tmp_path, content), "student_only")
    assert made.export.window.seconds == 2.0
    assert made.export.alone is None
    assert "trained on windows of 2 s" in (made.folder / "model_card.md").read_text()
    student = kdbench.load_student(made.folder)
    film_ = tmp_path / "cleo/day.mp4"
    seen = list(Stream(student).watch(feeds_of(student, [str(film_)], speed=0)))
    assert [round(each.end, 2) for each in seen] == [2 + k / 2 for k in range(13)]
    assert student.predict(film_).notes == (
        "it lasts 8 s, and recordings of the training 2 s in the median: if it is more than one action, let windows "
        "slide over it: kdbench stream",
    )
    film(tmp_path / "blink.mp4", "wave", 0.2)
    assert student.predict(tmp_path / "blink.mp4").notes == (
        "it lasts 0.2 s, and recordings of the training 2 s in the median: too little of an action may be in it",
    )
