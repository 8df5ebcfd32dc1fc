"""The same numbers whatever the environment says of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny
from threadpoolctl import threadpool_info

from kdbench.engine.device import fixed_threads, threads_on
from kdbench.errors import UsageError
from kdbench.runs.run import RunResult


@pytest.fixture
def two_threads() -> Iterator[None]:
    """A process that has been told to use two."""
    held = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(held)


def logits(result: RunResult) -> np.ndarray:
    return result.predictions().filter(like="logit").to_numpy()


def long(out: Path, **arguments: Any) -> RunResult:
    return tiny("student_only", out, "student.train.epochs=6", "student.train.batch_size=8", **arguments)


@pytest.mark.slow
def test_a_run_computes_in_one_thread_unless_it_is_told_otherwise(two_threads: None, tmp_path: Path) -> None:
    default = long(tmp_path / "a")
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    again = long(tmp_path / "b")
    assert np.array_equal(logits(default), logits(again))
    assert default.folder.name == again.folder.name
    assert default.result["conditions"]["threads"] == default.result["environment"]["threads"] == 1
    assert default.result["conditions"]["device"] == "cpu"
    other = long(tmp_path / "a", threads=2)
    # Else nothing here could fail.
    assert not np.array_equal(logits(other), logits(default))
    assert other.folder != default.folder
    assert other.result["conditions"]["threads"] == 2
    assert torch.get_num_threads() == 1


def test_linear_algebra_outside_of_torch_is_held_too(two_threads: None) -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with fixed_threads(1):
        assert {each["num_threads"] for each in threadpool_info()} == {1}
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_threads_are_put_back_after_an_error(two_threads: None) -> None:
    with pytest.raises(ZeroDivisionError), fixed_threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("wrong", [0, -1, 10**9, 1.5, "2", True])
def test_a_number_of_threads_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="threads is"):
        threads_on("cpu", wrong)


def test_threads_are_no_matter_on_a_gpu() -> None:
    assert threads_on("cuda", None) is None
    assert threads_on("cuda", 4) is None
    assert threads_on("cpu", None) == 1
