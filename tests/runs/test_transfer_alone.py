"""`--labels 0`: distillation losses alone, reported by probes of the frozen embedding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import WORLD, known, tiny
from torch import Tensor

from kdbench import loss
from kdbench.comparison import compare
from kdbench.errors import UsageError
from kdbench.explanation.make import explain
from kdbench.grid.suite import load_suite
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.recipes.track import PROBED
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import RunResult, run
from kdbench.runs.unlabelled import for_track
from kdbench.types import Batch
from kdbench.util.records import read_safetensors

ALONE = "track.labels=0"
RAW = ("hinton_raw", "rkd_raw", "hinton_random_teacher_raw", "hinton_wrong_trials_raw")


def left(method: str, *changes: str) -> tuple[Recipe, tuple[str, ...]]:
    return for_track(resolve(method, "smoke", [ALONE, *changes]))


def test_every_method_of_the_shipped_suite_can_be_trained_without_labels() -> None:
    suite = load_suite("transfer_alone")
    for method in suite.methods:
        recipe, _ = for_track(resolve(method.name, suite.preset, suite.set))
        assert recipe.track.is_transfer_alone
        assert recipe.student is not None
        assert recipe.student.losses or recipe.student.weights == "random"


def untrained(out: Path, method: str = "untrained", *changes: str) -> RunResult:
    return run(method, "motionsim", preset="smoke", device="cpu", out=out, overrides=[*WORLD, ALONE, *changes])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    out = tmp_path_factory.mktemp("runs")
    return {"untrained": untrained(out)} | {method: tiny(method, out, ALONE) for method in RAW}


def test_a_loss_that_weighs_its_teachers_by_labels_is_left_out() -> None:
    with pytest.raises(UsageError, match=r"leaves 'radevski2023' no loss: the loss 'st' weighs its teachers by labels"):
        left("radevski2023")
    recipe, _ = left("radevski2023", "student.losses.st.mix=mean")
    assert recipe.student is not None
    assert list(recipe.student.losses) == ["st"]


def test_losses_without_a_teacher_are_left_out_by_name() -> None:
    recipe, lines = left("sgm_ft")
    assert recipe.student is not None
    assert list(recipe.student.losses) == ["st", "sgm"]
    assert [line.partition("the loss ")[2] for line in lines] == [
        "'ce' compares with no teacher",
        "'se' compares with no teacher",
    ]
    assert recipe.teacher == resolve("sgm_ft", "smoke").teacher


def test_a_distillation_loss_that_needs_labels_is_left_out() -> None:
    @loss("of_the_labelled", on="logits", labels="needed")
    def of_the_labelled(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return (student - teacher).square().mean()

    with known(of_the_labelled):
        recipe, lines = left("hinton_raw", "student.losses.of_the_labelled.weight=1")
        assert recipe.student is not None
        assert list(recipe.student.losses) == ["st"]
        assert lines[-1].endswith("the loss 'of_the_labelled' needs labels")
        with pytest.raises(UsageError, match="'of_the_labelled' needs labels"):
            left("hinton_raw", "student.losses={of_the_labelled: {weight: 1}, ce: null, st: null}")


@pytest.mark.parametrize(
    ("method", "changes", "text", "hint"),
    [
        (
            "student_only",
            [ALONE],
            "leaves 'student_only' no loss: the loss 'ce' compares with no",
            "--method untrained",
        ),
        ("student_only_sensor", [ALONE], "no loss", "--method untrained_sensor"),
        ("teacher_only_raw", [ALONE], "trains no student", "--method kd"),
        ("untrained", [], "'untrained' trains nothing", "--labels 0"),
        ("hinton_raw", [ALONE, "selection.rule=best-val"], "no labels to choose an epoch", "--labels 1"),
        ("hinton_raw", [ALONE, "selection.part=validation"], "no labels to choose an epoch", "--labels 1"),
        ("hinton_raw", [ALONE, "track.teacher_labels=same"], "teacher_labels = same needs labels", "--labels 1"),
        ("hinton_raw", ["student.weights=random"], "leaves nobody to teach", ""),
    ],
)
def test_what_cannot_be_transfer_alone_is_refused_with_the_next_step(
    method: str, changes: list[str], text: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=text) as error:
        context_for(RunRequest(method, "motionsim", preset="smoke", device="cpu", overrides=[*WORLD, *changes]))
    assert hint in str(error.value)


@pytest.mark.slow
def test_the_main_numbers_are_those_of_the_linear_probe(runs: dict[str, RunResult]) -> None:
    for result in runs.values():
        metrics = result.metrics
        linear = metrics["probes"]["logistic_regression"]
        assert metrics["accuracy"] == linear["accuracy"]
        assert metrics["macro_f1"] == linear["macro_f1"]
        table = result.predictions()
        logits = table[[name for name in table if name.startswith("logit_")]].to_numpy()
        assert float((logits.argmax(1) == table["label"]).mean()) == metrics["accuracy"]
        assert 0 <= metrics["probes"]["cosine_5nn"]["accuracy"] <= 1
        assert result.result["trials"] == {"train": 24, "validation": 0, "test": 24, "labelled": 0, "paired": 24}


def test_own_logits_are_told_where_a_loss_trains_them(runs: dict[str, RunResult]) -> None:
    own = {method: result.metrics["probes"]["own_logits"] for method, result in runs.items()}
    assert own["rkd_raw"] is None
    assert own["untrained"] is None
    assert own["hinton_raw"]["n"] == 24


def test_the_run_says_what_was_left_out(runs: dict[str, RunResult]) -> None:
    line = "left out, since no trial has a label: the loss 'ce' compares with no teacher"
    assert line in runs["hinton_raw"].result["warnings"]
    assert list(runs["hinton_raw"].result["recipe"]["student"]["losses"]) == ["st"]


def test_an_untrained_network_has_the_weights_that_every_method_begins_with(runs: dict[str, RunResult]) -> None:
    record = runs["untrained"].result
    assert record["cost"]["train_seconds"] == 0
    assert not (runs["untrained"].folder / "metrics.jsonl").exists()
    context = context_for(RunRequest("rkd_raw", "motionsim", preset="smoke", device="cpu", overrides=[*WORLD, ALONE]))
    assert context.run_spec.recipe.student is not None
    fresh = context.build("student", context.run_spec.recipe.student).state_dict()
    held = read_safetensors(runs["untrained"].folder / "student.safetensors")
    assert all(torch.equal(value, fresh[name]) for name, value in held.items())


def test_gains_are_over_the_untrained_network_and_controls_are_named(runs: dict[str, RunResult]) -> None:
    root = runs["untrained"].folder.parent
    gain = runs["hinton_raw"].result["gain"]
    assert gain["run"] == runs["untrained"].folder.name
    found = compare(root)
    (table,) = found.tables
    assert PROBED in table.group.title
    rows = {row.method: row for row in table.rows}
    assert {row.gain.over for row in rows.values() if row.gain} == {"untrained"}
    assert rows["kd + raw_random"].control
    assert rows["kd_wrong_trials + raw"].control


@pytest.mark.slow
def test_the_same_run_twice_has_the_same_numbers(runs: dict[str, RunResult], tmp_path: Path) -> None:
    again = tiny("rkd_raw", tmp_path, ALONE)
    assert again.metrics == runs["rkd_raw"].metrics
    assert again.predictions().equals(runs["rkd_raw"].predictions())
    assert untrained(tmp_path).metrics == runs["untrained"].metrics


@pytest.mark.slow
def test_no_table_mixes_it_with_labels(runs: dict[str, RunResult], tmp_path: Path) -> None:
    untrained(tmp_path)
    tiny("student_only", tmp_path)
    titles = [table.group.title for table in compare(tmp_path).tables]
    assert sum(PROBED in title for title in titles) == 1
    assert len(titles) == 2


@pytest.mark.slow
def test_a_sensor_student_is_probed_too(tmp_path: Path) -> None:
    alone = untrained(tmp_path, "untrained_sensor")
    taught = tiny("rkd_sensor", tmp_path, ALONE)
    assert taught.result["gain"]["run"] == alone.folder.name


def test_class_scores_that_nothing_trained_are_not_explained(runs: dict[str, RunResult]) -> None:
    with pytest.raises(UsageError, match="saw no label"):
        explain(runs["rkd_raw"].folder)
