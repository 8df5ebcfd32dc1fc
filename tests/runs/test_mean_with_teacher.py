"""Runs whose prediction is the mean of the student and its teacher, which sees what either of them sees."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import WORLD, tiny

from kdbench import compare
from kdbench.errors import UsageError
from kdbench.evaluation.predict import Predictions, mean_of
from kdbench.explanation.make import explain
from kdbench.recipes.resolve import resolve
from kdbench.runs.run import run

MEAN = "predicts=mean_with_teacher"


def _shares(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _logits(done: object) -> np.ndarray:
    table = done.predictions().sort_values(["shuffle", "trial"])  # type: ignore[attr-defined]
    return table[[name for name in table if name.startswith("logit_")]].to_numpy()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("runs")
    teacher = ["teacher.train.batch_size=8", "teacher.train.epochs=8"]
    alone = run(
        "teacher_only",
        "motionsim",
        preset="smoke",
        device="cpu",
        out=out,
        overrides=[*WORLD, *teacher],
        teacher="cnn_attention",
    )
    return {
        "out": out,
        "teacher": alone,
        "student": tiny("mmad_tsn", out, "student.train.batch_size=8"),
        "both": tiny("mmad_fusion", out, "student.train.batch_size=8"),
    }


def test_it_is_the_mean_of_the_probabilities_of_the_very_same_networks(runs: dict) -> None:
    expected = (_shares(_logits(runs["teacher"])) + _shares(_logits(runs["student"]))) / 2
    np.testing.assert_allclose(np.exp(_logits(runs["both"])), expected, atol=1e-5)
    assert runs["both"].result["teacher"]["weights_sha256"] == runs["student"].result["teacher"]["weights_sha256"]


def test_it_says_what_it_sees_and_costs(runs: dict) -> None:
    both, student, teacher = (runs[name].result for name in ("both", "student", "teacher"))
    assert both["conditions"]["test_modalities"] == ["video:depth", "accelerometer", "gyroscope"]
    assert both["conditions"]["predicts"] == "mean_with_teacher"
    assert "predicts" not in student["conditions"]
    for key in ("parameters", "flops"):
        assert both["cost"][key] == student["cost"][key] + teacher["cost"][key]
    assert both["gain"] is None


def test_a_network_that_lacks_all_of_its_sources_is_not_asked(runs: dict) -> None:
    without = runs["both"].result["metrics"]["without"]
    assert set(without) == {"video", "accelerometer", "gyroscope"}
    assert without["video"]["accuracy"] == runs["teacher"].result["metrics"]["accuracy"]


def test_tables_show_its_test_inputs_and_rank_it_apart(runs: dict) -> None:
    tables = compare(runs["out"])
    text = str(tables)
    assert "video:depth, accelerometer, gyroscope" in text


def test_a_single_order_meets_each_order_of_the_other() -> None:
    rng = np.random.default_rng(0)
    one, five = (Predictions(("a", "b"), np.zeros(2, int), rng.normal(size=(n, 2, 3)), 4) for n in (1, 5))
    expected = (_shares(one.logits) + _shares(five.logits)) / 2
    np.testing.assert_allclose(np.exp(mean_of([one, five]).logits), expected)
    assert mean_of([one]) is one


@pytest.mark.parametrize(
    ("method", "changes", "why"),
    [
        ("student_only", [], "takes a student and one teacher that is trained first"),
        ("teacher_only", [], "takes a student and one teacher that is trained first"),
        ("dml", [], "takes a student and one teacher that is trained first"),
        ("pskd_style", [], "takes a student and one teacher that is trained first"),
        ("kd", ["selection.rule=best-test"], "best-test would be the best epoch of the student alone"),
        ("kd", ["track.labels=0"], "the student is measured by a probe"),
    ],
)
def test_what_has_no_such_mean_is_refused(method: str, changes: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        resolve(method, "smoke", [MEAN, *changes])


def test_it_is_not_explained_as_if_one_network_had_predicted(runs: dict) -> None:
    with pytest.raises(UsageError, match="predicts by two networks"):
        explain(runs["both"].folder, out=runs["out"])
