"""The moving average of the weights, and that it takes their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import StopAfter, tiny
from torch import nn

from kdbench.engine.averaging import Average
from kdbench.errors import Interrupted, UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.training import records_of

AVERAGED = ["student.train.epochs=3", "student.train.average=0.5"]


def test_it_is_the_recursion_of_its_docstring_in_weights_and_statistics() -> None:
    network = nn.BatchNorm1d(2)
    average, decay = Average(network, 0.8), 0.8
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):
        network(torch.randn(5, 2))
        with torch.no_grad():
            network.weight += step + 1
        average.update(network)
        for name, value in network.state_dict().items():
            old = expected.get(name, value)
            expected[name] = decay * old + (1 - decay) * value
    for name in ("weight", "bias", "running_mean", "running_var"):
        torch.testing.assert_close(average.network.state_dict()[name], expected[name])
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_a_run_ends_with_the_average_and_an_interrupted_one_with_the_same(tmp_path: Path) -> None:
    plain = tiny("student_only", tmp_path / "whole", "student.train.epochs=3")
    whole = tiny("student_only", tmp_path / "whole", *AVERAGED)
    assert plain.folder != whole.folder
    assert whole.result["conditions"]["train"]["average"] == 0.5
    assert not np.array_equal(whole.predictions(), plain.predictions())
    with pytest.raises(Interrupted):
        tiny("student_only", tmp_path / "parts", *AVERAGED, reporter=StopAfter("student", 2))
    resumed = tiny("student_only", tmp_path / "parts", *AVERAGED)
    assert resumed.metrics == whole.metrics


def test_what_is_validated_is_what_is_kept(tmp_path: Path) -> None:
    best = ["selection.rule=best-val", "student.train.epochs=4", "student.train.average=0.5"]
    run = tiny("student_only", tmp_path, *best)
    records = [record for record in records_of(run.folder) if record["phase"] == "student"]
    epoch = run.result["best_epoch"]["epoch"]
    assert records[epoch - 1]["validation"]["accuracy"] == max(each["validation"]["accuracy"] for each in records)
    last = tiny("student_only", tmp_path, "selection.part=validation", *best[1:])
    assert last.metrics["accuracy"] == records[-1]["validation"]["accuracy"]


@pytest.mark.parametrize("decay", ["0", "1", "-0.5"])
def test_a_decay_that_averages_nothing_is_refused(decay: str) -> None:
    with pytest.raises(UsageError, match="average"):
        resolve("student_only", "smoke", [f"student.train.average={decay}"])
