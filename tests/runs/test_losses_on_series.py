"""Losses that read the raw series of the batch: what is loaded for them, and in which tracks they train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import WORLD, known, tiny
from torch import Tensor, nn

from kdbench import loss
from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.idle import idle_settings
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run
from kdbench.runs.student import student_training
from kdbench.runs.unlabelled import for_track
from kdbench.types import Batch, Context
from kdbench.util.records import read_jsonl

ALL = ("accelerometer", "gyroscope", "skeleton")


def _context(*changes: str, method: str = "series") -> RunContext:
    request = RunRequest(method, "motionsim", preset="smoke", overrides=[*WORLD, *changes], device="cpu")
    return context_for(request)


@pytest.fixture
def seen() -> Iterator[list[tuple[Batch, Context]]]:
    """What a loss that needs series is given."""
    calls: list[tuple[Batch, Context]] = []

    @loss("look", on="logits", teacher=False, needs=("series",), labels="unused")
    class Look(nn.Module):
        """Writes down the batch and the context."""

        def __init__(self, context: Context) -> None:
            super().__init__()
            self.context = context

        def forward(self, student: Tensor, *, batch: Batch) -> Tensor:
            assert len(student) == len(batch)
            calls.append((batch, self.context))
            return student.square().mean()

    with known(Look):
        yield calls


def test_series_come_to_a_student_that_sees_video_alone(tmp_path: Path) -> None:
    context = _context()
    spec = context.run_spec.recipe.student
    assert spec is not None
    training = student_training(context, spec, (), tmp_path)
    assert training.loader.sensors == ALL
    assert next(iter(training.loader.batches([0, 1], 2))).sensors["skeleton"].shape[:2] == (2, 42)
    assert context.loader(context.split.test, spec).sensors == ()
    scales = training.objective.terms["series"].losses[0]
    values = training.loader.all_series("gyroscope")
    torch.testing.assert_close(scales.mean1[:, 0], values.mean((0, 2)))
    torch.testing.assert_close(scales.scale1[:, 0], values.std((0, 2), correction=0))


def test_only_what_is_named_is_opened() -> None:
    context = _context("student.losses.series.sources=[gyroscope]")
    assert context.run_spec.recipe.student is not None
    assert context.run_spec.reads(context.run_spec.recipe.student) == ("gyroscope",)
    assert context.run_spec.dataset.beside == {}


def test_a_source_that_the_data_set_lacks_is_named() -> None:
    with pytest.raises(UsageError, match=r"student\.losses\.series\.sources.*did you mean 'gyroscope'"):
        _context("student.losses.series.sources=[gyroskope]")


def test_the_joints_that_a_loss_reads_are_part_of_what_a_run_is() -> None:
    keys = [_context(*changes).run_spec._key() for changes in ((), ("student.losses.series.sources=[gyroscope]",))]
    assert [set(key.get("sources", {})) for key in keys] == [{"skeleton"}, set()]


def test_without_labels_and_without_a_teacher_it_is_left_alone() -> None:
    recipe, lines = for_track(resolve("series", "smoke", ["track.labels=0"]))
    assert recipe.student is not None
    assert list(recipe.student.losses) == ["series"]
    assert [line.partition("the loss ")[2] for line in lines] == ["'ce' compares with no teacher"]


@pytest.mark.slow
def test_a_run_trains_in_every_track(tmp_path: Path) -> None:
    for number, track in enumerate(((), ("track.labels=0",), ("track.pairs=0.5",), ("track.labels=1",))):
        result = run(
            "series",
            "motionsim",
            preset="smoke",
            device="cpu",
            out=tmp_path / str(number),
            overrides=[*WORLD, *track],
        )
        assert result.result["status"] == "finished"
        assert read_jsonl(result.folder / "metrics.jsonl")[-1]["terms"]["series"] > 0


def test_under_scarce_pairs_the_trials_without_sensors_are_not_read(
    tmp_path: Path, seen: list[tuple[Batch, Context]]
) -> None:
    changes = ("student.losses={series: null, look: {weight: 1}}", "track.pairs=0.5", "student.train.batch_size=8")
    context = _context(*changes)
    spec = context.run_spec.recipe.student
    assert spec is not None
    training = student_training(context, spec, (), tmp_path)
    training.begin()
    paired = set(context.supervision.paired)
    for step, batch in enumerate(training.batches(training.order(1))):
        training.forward(batch, 1, step)
    assert seen
    assert all(set(batch.trial) <= paired for batch, _ in seen)
    places = [place for place, trial in enumerate(training.loader.trials) if trial in paired]
    values = training.loader.all_series("accelerometer")[places]
    torch.testing.assert_close(seen[0][1].series["accelerometer"][0], values.mean((0, 2)))


def test_the_length_of_the_series_has_an_effect() -> None:
    changes = {"data": {"series_length": 32}}
    assert not list(idle_settings(resolve("series", "smoke", changes), changes))
    assert list(idle_settings(resolve("student_only", "smoke", changes), changes))


@pytest.mark.slow
def test_a_teacher_beside_it_is_the_teacher_of_kd(tmp_path: Path) -> None:
    first, second = (tiny(method, tmp_path, teacher="raw").result for method in ("kd", "kd_series"))
    assert first["teacher"]["weights_sha256"] == second["teacher"]["weights_sha256"]
