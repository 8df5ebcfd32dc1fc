"""The gain of a sensor student is taken over the sensor student alone; the command names the run that is missing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.cli.run import show
from kdbench.runs.run import run
from kdbench.util.progress import LineReporter


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))


def shown(method: str, out: Path) -> tuple[str, dict]:
    result = run(method, "basic_motions", preset="smoke", out=out, device="cpu")
    text = io.StringIO()
    show(result, Console(file=text, width=160))
    return text.getvalue(), result.result


@pytest.mark.slow
def test_the_gain_of_a_sensor_student(tmp_path: Path):
    text, alone_missing = shown("hinton_sensor", tmp_path / "one")
    assert alone_missing["gain"] is None
    assert "gain: run student_only_sensor with the same options" in text
    text, alone = shown("student_only_sensor", tmp_path / "two")
    assert "gain over" not in text
    assert "gain: run" not in text
    assert alone["conditions"]["test_modalities"] == ["accelerometer"]
    for number, torn in enumerate(("[]", '{"schema_version": 1}')):
        other = tmp_path / "two" / f"student_only_sensor-a-s0-{number}"
        other.mkdir()
        (other / "run.json").write_text(torn)
    text, taught = shown("hinton_sensor", tmp_path / "two")
    assert "gain over student_only_sensor" in text
    assert taught["gain"]["accuracy"] == pytest.approx(taught["metrics"]["accuracy"] - alone["metrics"]["accuracy"])
    assert taught["metrics"]["accuracy"] == alone_missing["metrics"]["accuracy"]
    assert taught["cost"]["flops"] > 0


def test_the_title_has_the_name_the_settings_and_whether_the_test_part_chose(tmp_path: Path):
    said = io.StringIO()
    result = run(
        "hinton_sensor",
        "basic_motions",
        preset="smoke",
        reporter=LineReporter(Console(file=said)),
        out=tmp_path,
        device="cpu",
        name="[mine]",
        overrides=["selection.rule=best-test", "student.train.epochs=1"],
    )
    text = io.StringIO()
    show(result, Console(file=text, width=160))
    title = text.getvalue().partition("accuracy")[0]
    assert "[mine]: kd_sensor, basic_motions" in title
    assert "seed 0 (oracle)" in title
    assert "selection.rule=best-test" in title
    after = said.getvalue().rpartition("student 1/1")[2].splitlines()
    assert after[1:3] == ["evaluating", "writing pictures and the result"]
