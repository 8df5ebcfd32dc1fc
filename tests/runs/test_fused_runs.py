"""Whole runs with fusions that couple the batch, and with groups of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import WORLD, tiny

from kdbench.engine.teacher import FrozenTeacher
from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.ahead import check_parts
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run
from kdbench.util.records import read_jsonl


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def settled(method: str, *overrides: str) -> RunContext:
    return context_for(RunRequest(method, "motionsim", preset="smoke", overrides=[*WORLD, *overrides], device="cpu"))


def with_card(context: RunContext, change: Callable[[Any], dict[str, Any]]) -> RunContext:
    card = context.run_spec.dataset.card
    changed = card.model_copy(update=change(card))
    dataset = dataclasses.replace(context.run_spec.dataset, card=changed)
    return dataclasses.replace(context, run_spec=dataclasses.replace(context.run_spec, dataset=dataset))


def without_groups(card: Any) -> dict[str, Any]:
    return {"classes": tuple(entry.model_copy(update={"group": None}) for entry in card.classes)}


def one_group(card: Any) -> dict[str, Any]:
    return {"classes": tuple(entry.model_copy(update={"group": "all"}) for entry in card.classes)}


@pytest.mark.slow
def test_a_teacher_that_couples_the_batch_reports_it_at_three_sizes(runs: Path) -> None:
    result = tiny("sakdn", runs).result
    teacher = result["teacher"]
    assert teacher["shuffles"] == 5
    assert 0 <= teacher["inductive"]["accuracy"] <= 1
    assert 0 <= teacher["at_student_batch_size"]["accuracy"] <= 1
    assert result["couples_batch"] is False
    assert "inductive" not in result["metrics"]
    assert result["conditions"]["test_modalities"] == ["video:depth"]


@pytest.mark.slow
def test_a_student_that_couples_the_batch_reports_one_trial_at_a_time(runs: Path) -> None:
    def alone(fusion: str) -> dict[str, Any]:
        sees = ["student.sensors=[accelerometer, gyroscope]", "student.train.batch_size=8"]
        changes = [*WORLD, *sees, f"student.fusion={fusion}"]
        return run("student_only_sensor", "motionsim", preset="smoke", device="cpu", out=runs, overrides=changes).result

    coupled = alone("{name: spamfm}")
    assert coupled["couples_batch"] is True
    assert coupled["metrics"]["shuffles"] == 5
    assert 0 <= coupled["metrics"]["inductive"]["accuracy"] <= 1
    assert coupled["metrics"]["inductive"]["n"] == coupled["metrics"]["n"]
    assert coupled["conditions"]["test_modalities"] == ["accelerometer", "gyroscope"]
    apart = alone("{name: multihead}")
    assert apart["couples_batch"] is False
    assert "inductive" not in apart["metrics"]


@pytest.mark.slow
def test_the_auxiliary_task_trains_with_the_teacher(runs: Path) -> None:
    result = tiny("mumu_style", runs)
    recorded = result.result["teacher"]["folder"]
    context = settled("mumu_style")
    spec = context.run_spec.recipe.teacher
    assert spec is not None
    network = context.build("teacher", spec)
    assert network.group_heads is not None
    assert network.widths[0].group_logits == len(context.run_spec.dataset.card.group_names) == 2
    records = read_jsonl(runs / "teachers" / recorded / "metrics.jsonl")
    assert set(records[-1]["terms"]) == {"ce", "group_ce"}
    assert records[-1]["terms"]["group_ce"] < records[0]["terms"]["group_ce"]
    assert all(record["grad_norms"]["group_ce"] > 0 for record in records)


def test_mumu_has_the_weights_of_its_first_authors_code() -> None:
    spec = settled("mumu_style").run_spec.recipe.teacher
    assert spec is not None
    assert {name: term.weight for name, term in spec.losses.items()} == {"ce": 1.0, "group_ce": 0.3}
    assert resolve("mumu_style", "paper").teacher.fusion.params == {"dropout": 0.5}  # type: ignore[union-attr]


def test_networks_without_the_task_have_no_group_head() -> None:
    context = settled("hamlet_style")
    spec = context.run_spec.recipe.teacher
    assert spec is not None
    assert context.build("teacher", spec).group_heads is None


@pytest.mark.parametrize(("change", "held"), [(without_groups, "have no groups"), (one_group, "only the group 'all'")])
def test_a_data_set_without_groups_is_refused_before_any_training(change: Callable[..., Any], held: str) -> None:
    context = with_card(settled("mumu_style"), change)
    with pytest.raises(UsageError) as caught:
        check_parts(context)
    message = str(caught.value)
    assert "teacher.losses.group_ce tells groups of similar classes apart" in message
    assert held in message
    assert "card.yaml" in message
    assert "group: …" in message
    assert "--set teacher.losses.group_ce=null" in message


def test_the_groups_are_part_of_a_runs_name_where_they_matter() -> None:
    def regrouped(card: Any) -> dict[str, Any]:
        first, *rest = card.classes
        return {"classes": (first.model_copy(update={"group": "alone"}), *rest)}

    for method, equal in (("mumu_style", False), ("hamlet_style", True)):
        context = settled(method)
        other = with_card(context, regrouped)
        assert (context.run_spec.folder == other.run_spec.folder) is equal
        assert (context.run_spec.teacher_folders[0] == other.run_spec.teacher_folders[0]) is equal


def test_the_teachers_group_scores_reach_a_loss_that_reads_them() -> None:
    context = settled("mumu_style")
    spec = context.run_spec.recipe.teacher
    assert spec is not None
    network, loader = context.build("teacher", spec), context.loader(context.split.train, spec)
    frozen = FrozenTeacher(
        network,
        loader,
        fields=frozenset({"group_logits"}),
        ablation=None,
        batch_size=8,
        accelerator=context.accelerator,
    )
    assert frozen.cached == "features"
    batch = next(iter(loader.batches([5, 2, 7], 3)))
    with torch.no_grad():
        (live,) = network(network.represent(batch))
    torch.testing.assert_close(frozen(batch)[0].group_logits, live.group_logits)
