"""Protocols whose test part shows performances that also train: the cameras differ, the sensors do not."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.cli.run import show
from kdbench.data.card import load_card
from kdbench.data.splits import rule_of
from kdbench.errors import UsageError
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import RunResult, run

WORLD = ["data.options={actions: 3, subjects: 4, trials: 2, cameras: 2}"]
SHORT = ["teacher.train.epochs=8", "teacher.train.batch_size=8", "student.train.epochs=1"]


def test_the_shipped_protocols_across_views_say_that_sensors_leak() -> None:
    card = load_card("mmact")
    assert [name for name in card.protocols if rule_of(card, name).sensors_leak] == ["cross_view"]


@pytest.mark.parametrize("method", ["teacher_only", "student_only_sensor", "hinton_sensor"])
def test_a_network_that_sees_sensors_is_not_reported_where_they_leak(method: str) -> None:
    with pytest.raises(UsageError) as caught:
        context_for(
            RunRequest(method, "motionsim", protocol="cross_view", preset="smoke", device="cpu", overrides=WORLD)
        )
    assert caught.value.message.startswith(
        "protocol 'cross_view' of 'motionsim' tests on performances that also train, as other cameras saw them: "
        "the sensors are the same recordings in both parts"
    )
    assert caught.value.hint is not None
    assert "--protocol cross_subject or subject_specific or loso_1" in caught.value.hint
    assert "cross_view" not in caught.value.hint


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    out = tmp_path_factory.mktemp("runs")
    return {
        protocol: run(
            "hinton", "motionsim", protocol=protocol, preset="smoke", device="cpu", out=out, overrides=WORLD + SHORT
        )
        for protocol in ("cross_view", "cross_subject")
    }


def _shown(result: RunResult) -> str:
    console = Console(file=StringIO(), width=200)
    show(result, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.slow
def test_a_teacher_whose_sensors_leak_is_marked_and_a_video_student_is_not(taught: dict[str, RunResult]) -> None:
    result = taught["cross_view"].result
    assert result["teacher"]["leaks"] is True
    assert "leaks" not in result["metrics"]
    (warning,) = [text for text in result["warnings"] if "sensors" in text]
    assert warning.startswith(
        "under protocol 'cross_view' the teacher's sensors of the test part are those that it was"
    )
    assert "teacher (leaks: trained on these sensor recordings)" in _shown(taught["cross_view"])


def test_no_other_protocol_is_marked(taught: dict[str, RunResult]) -> None:
    result = taught["cross_subject"].result
    assert "leaks" not in result["teacher"]
    assert not [text for text in result["warnings"] if "under protocol" in text]
    assert "leaks" not in _shown(taught["cross_subject"])


def test_a_student_without_a_teacher_is_not_warned_of(tmp_path: Path) -> None:
    changes = [*WORLD, "student.train.epochs=1"]
    result = run(
        "student_only",
        "motionsim",
        protocol="cross_view",
        preset="smoke",
        device="cpu",
        out=tmp_path,
        overrides=changes,
    )
    assert not [text for text in result.result["warnings"] if "sensors" in text]
