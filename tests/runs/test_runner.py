"""A run from command to folder: what it writes, what it shares, and what it says when it cannot go on."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from helpers import WORLD, StopAfter, known, tiny, watching
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from kdbench import loss
from kdbench.errors import Interrupted, RunFailed, UsageError
from kdbench.evaluation.metrics import classification
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import RunResult, run
from kdbench.types import Batch
from kdbench.util.paths import folder
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json, read_jsonl


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def baseline(runs: Path) -> RunResult:
    return tiny("student_only", runs)


@pytest.fixture(scope="module")
def sgm_ft(runs: Path, baseline: RunResult) -> RunResult:
    return tiny("sgm_ft", runs)


def test_a_run_leaves_everything_in_its_folder(sgm_ft: RunResult) -> None:
    names = {path.name for path in sgm_ft.folder.iterdir()}
    promised = {"run.json", "metrics.jsonl", "predictions.parquet", "student.safetensors"}
    assert promised | {"learning_curves.png", "confusion_matrix.png"} <= names
    assert "checkpoint" not in names
    assert sgm_ft.result["status"] == "finished"


def test_a_notebook_shows_scores_gain_and_learning_curves(sgm_ft: RunResult, baseline: RunResult) -> None:
    page = sgm_ft._repr_html_()
    assert f"<td>{100 * sgm_ft.metrics['accuracy']:.2f}</td>" in page
    gain = 100 * (sgm_ft.metrics["accuracy"] - baseline.metrics["accuracy"])
    assert f"<th>gain over student_only</th><td>{gain:+.2f}</td>" in page
    assert page.count("data:image/png;base64,") == 1
    assert "gain" not in baseline._repr_html_()
    named = dataclasses.replace(baseline, result=baseline.result | {"preset": "<script>"})
    assert "<script>" not in named._repr_html_()


def test_the_reported_metrics_follow_from_the_stored_predictions(sgm_ft: RunResult) -> None:
    table = sgm_ft.predictions()
    logits = table.filter(like="logit_").to_numpy()
    scored = classification(logits, table["label"].to_numpy(), [str(k) for k in range(logits.shape[1])])
    for key in ("accuracy", "macro_f1", "weighted_f1", "ece", "n"):
        assert scored[key] == pytest.approx(sgm_ft.metrics[key], abs=1e-9)
    assert table["trial"].is_unique


def test_the_test_part_is_whole_and_nothing_else(sgm_ft: RunResult) -> None:
    subjects = {trial.split("_")[1] for trial in sgm_ft.predictions()["trial"]}
    assert subjects == {"s2", "s4"}
    assert sgm_ft.metrics["n"] == sgm_ft.result["trials"]["test"] == 24


def test_the_conditions_name_what_must_be_equal(sgm_ft: RunResult) -> None:
    conditions = sgm_ft.result["conditions"]
    assert conditions["test_modalities"] == ["video:depth"]
    assert conditions["selection"] == "last"
    assert conditions["part"] == "test"
    assert conditions["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert conditions["train"]["batch_size"] == 16


def test_the_gain_is_taken_over_student_only_at_the_same_seed(sgm_ft: RunResult, baseline: RunResult) -> None:
    expected = sgm_ft.metrics["accuracy"] - baseline.metrics["accuracy"]
    assert sgm_ft.result["gain"]["accuracy"] == pytest.approx(expected)
    assert sgm_ft.result["gain"]["run"] == baseline.folder.name


@pytest.mark.slow
def test_a_student_alone_with_other_losses_gives_no_gain(tmp_path: Path) -> None:
    smoothed = tiny("student_only", tmp_path, "student.losses.ce.label_smoothing=0.5")
    taught = tiny("hinton_raw", tmp_path)
    assert smoothed.result["conditions"] == taught.result["conditions"]
    assert taught.result["gain"] is None


@pytest.mark.slow
def test_unlike_conditions_give_no_gain(runs: Path, baseline: RunResult) -> None:
    longer = tiny("hinton_raw", runs, "student.train.lr=0.004")
    assert longer.result["gain"] is None


def test_a_batch_coupled_teacher_reports_all_its_numbers(sgm_ft: RunResult) -> None:
    teacher = sgm_ft.result["teacher"]
    assert teacher["shuffles"] == 5
    assert 0 <= teacher["inductive"]["accuracy"] <= 1
    assert 0 <= teacher["at_student_batch_size"]["accuracy"] <= 1


@pytest.mark.slow
def test_the_exported_student_holds_no_projector(runs: Path) -> None:
    result = tiny("sgm_ft", runs, "student.encoder.widths=[8, 12, 16, 24]", "student.train.epochs=1")
    with safe_open(result.folder / "student.safetensors", "pt") as file:
        shipped = set(file.keys())
        assert json.loads(file.metadata()["classes"])
    with safe_open(result.folder / "losses.safetensors", "pt") as file:
        learnt = set(file.keys())
    assert learnt
    assert all(name.startswith("terms.sgm.") for name in learnt)
    assert not any(name.startswith("terms.") for name in shipped)


def test_every_epoch_logs_every_term_and_the_norm_of_its_gradient(sgm_ft: RunResult) -> None:
    records = read_jsonl(sgm_ft.folder / "metrics.jsonl")
    assert [record["epoch"] for record in records] == [1, 2]
    for record in records:
        assert set(record["terms"]) == set(record["grad_norms"]) == {"ce", "st", "sgm", "se"}
        assert all(norm > 0 for norm in record["grad_norms"].values())


@pytest.mark.slow
def test_a_finished_run_is_returned_and_fresh_trains_again(sgm_ft: RunResult, runs: Path) -> None:
    again = tiny("sgm_ft", runs)
    assert again.reused
    assert repr(again).startswith("sgm_ft on motionsim, cross_subject, smoke, seed 0: accuracy ")
    assert len(repr(again)) < 400
    assert again.result == sgm_ft.result
    fresh = tiny("sgm_ft", runs, fresh=True)
    assert not fresh.reused
    assert np.array_equal(fresh.predictions(), sgm_ft.predictions())


def test_methods_share_one_teacher_and_leave_it_as_it_was(sgm_ft: RunResult, runs: Path) -> None:
    (folder,) = (runs / "teachers").glob(sgm_ft.result["teacher"]["folder"])
    before = (folder / "teacher.safetensors").read_bytes()
    other = tiny("hinton", runs)
    assert other.result["teacher"]["folder"] == folder.name
    assert (folder / "teacher.safetensors").read_bytes() == before


def test_seeds_differ(baseline: RunResult, runs: Path) -> None:
    other = tiny("student_only", runs, seed=1)
    assert other.folder != baseline.folder
    assert not np.array_equal(other.predictions().filter(like="logit"), baseline.predictions().filter(like="logit"))


@pytest.mark.slow
def test_order_and_augmentation_do_not_depend_on_the_method(tmp_path: Path) -> None:
    # A run that finds its data not prepared tries its losses on made-up recordings first.
    tiny("student_only", tmp_path)
    batches = []
    for method in ("student_only", "rkd_raw"):
        with watching() as seen:
            tiny(method, tmp_path, "student.losses.watch.weight=0", "student.augment={rotate_deg: 9, scale: 0.1}")
        batches.append(seen)
    assert batches[0] == batches[1]
    assert len({frames for _, frames in batches[0]}) > 2


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "epoch"), [("teacher", 1), ("student", 1), ("student", 2)])
def test_an_interrupted_run_resumes_to_the_same_numbers(
    phase: str, epoch: int, sgm_ft: RunResult, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted, match="interrupted") as caught:
        tiny("sgm_ft", tmp_path, reporter=StopAfter(phase, epoch))
    assert caught.value.exit_code == 130
    (path,) = tmp_path.glob("sgm_ft-*/run.json")
    assert read_json(path)["status"] == "interrupted"
    resumed = tiny("sgm_ft", tmp_path)
    assert resumed.result["resumed"] == 1
    assert np.array_equal(resumed.predictions(), sgm_ft.predictions())
    ours, theirs = (load_file(r.folder / "student.safetensors") for r in (resumed, sgm_ft))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    terms = [[record["terms"] for record in read_jsonl(r.folder / "metrics.jsonl")] for r in (resumed, sgm_ft)]
    assert terms[0] == terms[1]


def test_nan_stops_the_run_with_the_term_the_step_and_the_trials(tmp_path: Path) -> None:
    calls = []

    @loss("fragile", on="logits", teacher=False)
    def fragile(student: Tensor, batch: Batch) -> Tensor:
        calls.append(batch.trial)
        return student.mean() * (float("nan") if len(calls) == bad else 1.0)

    bad = 7
    with known(fragile), pytest.raises(RunFailed) as caught:
        tiny("student_only", tmp_path, "student.losses.fragile.weight=1", "student.train.batch_size=8")
    # One call tries the loss and two time the step before the training; then three steps per epoch: call 7 is the first
    # of epoch 2.
    assert "fragile became NaN or inf in epoch 2, step 1" in str(caught.value)
    assert all(trial in str(caught.value) for trial in calls[bad - 1])
    (folder,) = tmp_path.glob("student_only-*")
    assert read_json(folder / "run.json")["status"] == "failed"
    assert (folder / "checkpoint" / "state.safetensors").is_file()


def test_a_run_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    @loss("odd", on="logits", teacher=False)
    def odd(student: Tensor) -> Tensor:
        return student.mean(dim=0)

    with known(odd), pytest.raises(UsageError, match="expected a scalar tensor"):
        tiny("student_only", tmp_path, "student.losses.odd.weight=1")
    assert not list(tmp_path.glob("student_only-*"))


def test_a_teacher_at_chance_level_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the teacher stayed at chance level"):
        tiny("hinton_raw", tmp_path, "teacher.train.lr=1e-9")


@pytest.mark.slow
def test_a_vacuous_loss_is_seen(tmp_path: Path) -> None:
    @loss("detour", on="logits")
    def detour(student: Tensor, teacher: Tensor) -> Tensor:
        cut = torch.from_numpy(student.detach().numpy())
        return (cut - teacher).square().mean()

    with known(detour):
        result = tiny("hinton_raw", tmp_path, "student.losses.detour.weight=1")
    assert "the loss 'detour' gave the student no gradient after the first epoch" in result.result["warnings"]
    with watching():
        watched = tiny("hinton_raw", tmp_path, "student.losses.watch.weight=0")
    assert not any("watch" in warning for warning in watched.result["warnings"])


@pytest.mark.slow
def test_the_test_part_is_read_once_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches every loader that is made, with the number of epochs that were done by then."""
    import kdbench.runs.context

    made: list[tuple[int, tuple[str, ...]]] = []
    epochs = []

    class Watched(kdbench.runs.context.Loader):
        def __init__(self, dataset: Any, trials: tuple[str, ...], **arguments: Any) -> None:
            made.append((len(epochs), tuple(trials)))
            super().__init__(dataset, trials, **arguments)

    class Counting(Reporter):
        def end_epoch(self, record: dict[str, Any]) -> None:
            epochs.append(record)

    monkeypatch.setattr(kdbench.runs.context, "Loader", Watched)
    tiny("hinton_raw", tmp_path, "selection.rule=best-val", reporter=Counting())
    test = [done for done, trials in made if any("_s2_" in trial or "_s4_" in trial for trial in trials)]
    # Eight epochs of the teacher, two of the student.
    assert set(test) == {10}
    made.clear()
    epochs.clear()
    result = tiny("hinton_raw", tmp_path, "selection.part=validation")
    assert not any("_s2_" in trial or "_s4_" in trial for _, trials in made for trial in trials)
    assert result.result["conditions"]["part"] == "validation"
    assert {trial.split("_")[1] for trial in result.predictions()["trial"]} == {"s3"}


def test_best_val_reports_the_epoch_that_was_best_on_the_validation_part(tmp_path: Path) -> None:
    changes = ["selection={rule: best-val, part: validation}", "student.train={epochs: 5, schedule: constant}"]
    with pytest.raises(Interrupted):
        tiny("student_only", tmp_path, *changes, reporter=StopAfter("student", 4))
    result = tiny("student_only", tmp_path, *changes)
    records = read_jsonl(result.folder / "metrics.jsonl")
    accuracies = [record["validation"]["accuracy"] for record in records]
    best = result.result["best_epoch"]
    assert best["accuracy"] == max(accuracies)
    assert best["epoch"] == 1 + accuracies.index(max(accuracies))
    # The weights of that epoch, and not of the last one, made the predictions.
    assert accuracies[-1] < best["accuracy"]
    assert result.metrics["accuracy"] == best["accuracy"]


@pytest.mark.slow
def test_the_best_epoch_goes_by_the_metric_of_the_data_set(tmp_path: Path) -> None:
    card = folder("datasets") / "motionsim" / "card.yaml"
    (tmp_path / "judged.yaml").write_text(card.read_text().replace("name: motionsim", "name: judged\nmetric: macro_f1"))
    changes = [*WORLD, "selection={rule: best-val, part: validation}", "student.train={epochs: 5, schedule: constant}"]
    judged, runs = str(tmp_path / "judged.yaml"), tmp_path / "runs"
    result = run("student_only", judged, preset="smoke", out=runs, overrides=changes)
    scores = [record["validation"]["macro_f1"] for record in read_jsonl(result.folder / "metrics.jsonl")]
    assert result.result["best_epoch"] == {"epoch": 1 + scores.index(max(scores)), "macro_f1": max(scores)}
    assert result.metrics["macro_f1"] == max(scores)


@pytest.mark.slow
def test_an_oracle_reports_the_epoch_that_was_best_on_the_test_part_and_says_so(tmp_path: Path) -> None:
    changes = ["student.train.epochs=5", "student.train.schedule=constant"]
    last = tiny("hinton_raw", tmp_path, *changes)
    oracle = tiny("hinton_raw", tmp_path, *changes, "selection.rule=best-test")
    accuracies = [record["test"]["accuracy"] for record in read_jsonl(oracle.folder / "metrics.jsonl")]
    # It is the run that reports the last epoch, watched, with the same teacher.
    assert accuracies[-1] == last.metrics["accuracy"]
    assert oracle.metrics["accuracy"] == oracle.result["best_epoch"]["accuracy"] == max(accuracies)
    assert accuracies[-1] < max(accuracies)
    assert oracle.result["teacher"]["folder"] == last.result["teacher"]["folder"]
    assert any(warning.startswith("(oracle)") for warning in oracle.result["warnings"])
    assert oracle.result["conditions"]["selection"] == "best-test"
    assert oracle.folder != last.folder
    with pytest.raises(UsageError, match="best-test chooses by the test part, and part is validation"):
        tiny("hinton_raw", tmp_path, "selection={rule: best-test, part: validation}")


def test_two_processes_cannot_make_one_run(sgm_ft: RunResult, runs: Path) -> None:
    with FileLock(sgm_ft.folder / ".lock"), pytest.raises(UsageError, match="another process is making this very run"):
        tiny("sgm_ft", runs)


@pytest.mark.slow
def test_batches_of_one_train(tmp_path: Path) -> None:
    result = tiny("sgm_ft", tmp_path, "student.train.batch_size=1", "student.train.epochs=1", "student.train.lr=1e-3")
    assert result.result["status"] == "finished"


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = tiny("student_only", tmp_path / "whole")
    flush, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunFailed, match="the disk is full"):
            tiny("student_only", tmp_path / "full")
    resumed = tiny("student_only", tmp_path / "full")
    assert np.array_equal(resumed.predictions(), reference.predictions())


def test_an_unreachable_tracking_store_costs_two_warnings_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.delenv("KDBENCH_TRACKING", raising=False)
    result = tiny("student_only", tmp_path)
    assert result.result["status"] == "finished"
    told = [warning for warning in result.result["warnings"] if "MLflow" in warning]
    # That it is away, and in the end that it lacks the run.
    assert 1 <= len(told) <= 2
    assert "kdbench runs send" in told[-1]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["student.encoder.name=conv1d"], "conv1d"),
        (["teacher.encoder.norm=batch"], "batch"),
        (["teacher.sensors=[thermometer]"], "no sensor 'thermometer'"),
        (["student.losses.rdk.weight=1"], "did you mean 'rkd'"),
        (["data.options.actors=3"], "actors"),
        (["teacher=null"], "has no teacher, and student.losses.st compares with one"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_any_training(overrides: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tiny("sgm_ft", tmp_path, *overrides)
    assert said in str(caught.value)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_half_precision_is_refused_on_a_cpu(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bf16 needs a GPU"):
        tiny("sgm_ft", tmp_path, precision="bf16")


@pytest.mark.slow
def test_a_compiled_run_takes_a_partial_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Graphs are captured and differentiated as ever; what turns them into machine code would take minutes here.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    # 24 trials in batches of seven leave three; the gradient norms of the second epoch then meet another graph.
    result = tiny("student_only", tmp_path, "compile=true", "student.train.batch_size=7")
    assert result.result["conditions"]["compile"] is True
    assert len(read_jsonl(result.folder / "metrics.jsonl")) == 2


@pytest.mark.slow
def test_compiled_networks_have_a_graph_for_each_size_and_evaluation_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        shapes.append([tuple(value.shape) for value in inputs if not isinstance(value, torch.nn.Parameter)])
        # An open size would be a symbol here.
        assert all(isinstance(size, int) for shape in shapes[-1] for size in shape)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    run = tiny("hinton_raw", tmp_path, "compile=true", "student.train.batch_size=7", "teacher.train.batch_size=9")
    assert run.result["conditions"]["compile"] is True
    # The frozen teacher is asked once about 24 trials, and so without a graph; batches of 9 and of 7 leave 6 and 3.
    assert [graph[0][0] for graph in shapes] == [9, 6, 7, 3]


def test_an_edited_rule_or_table_is_another_run(baseline: RunResult) -> None:
    cell = context_for(RunRequest("sgm_ft", "motionsim", preset="smoke", overrides=WORLD, device="cpu")).run_spec
    fewer = dataclasses.replace(cell.split, train=cell.split.train[1:])
    assert dataclasses.replace(cell, split=fewer).folder != cell.folder
    assert dataclasses.replace(cell, split=fewer).teacher_folders[0] != cell.teacher_folders[0]
    assert cell.label_vectors is not None
    moved = dataclasses.replace(cell.label_vectors, vectors=cell.label_vectors.vectors + 1)
    assert dataclasses.replace(cell, label_vectors=moved).folder != cell.folder
    assert dataclasses.replace(cell, label_vectors=moved).teacher_folders[0] != cell.teacher_folders[0]
    alone = context_for(RunRequest("student_only", "motionsim", preset="smoke", overrides=WORLD, device="cpu")).run_spec
    assert dataclasses.replace(alone, label_vectors=moved).folder == alone.folder == baseline.folder.name


def test_a_network_that_cannot_be_built_shows_before_data_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match="weights"):
        tiny("student_only", tmp_path, f"student.encoder.weights={tmp_path / 'missing.safetensors'}")
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("run.json"))


def test_a_misspelt_parameter_of_a_loss_leaves_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"student.losses.st has no parameter 'wieght'; did you mean 'weight'\?"):
        tiny("hinton_raw", tmp_path, "student.losses.st.wieght=1")
    assert not list(tmp_path.iterdir())
