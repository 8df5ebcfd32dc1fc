"""A device whose memory is too small: what is told, and that a loss is not blamed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import WORLD, known
from torch import Tensor

from kdbench import loss, run
from kdbench.engine.memory import is_out_of_memory, out_of_memory
from kdbench.errors import RunFailed
from kdbench.types import Batch

TOO_MANY = 1 << 60
"""Bytes that no machine has."""


def test_torchs_own_error_on_the_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(TOO_MANY, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    said = out_of_memory(caught.value, torch.device("cpu"), "fp32", {"teacher": 16, "student": 1})
    assert "out of memory on the CPU (" in said.message
    assert "batches of 16 trials (teacher) and 1 trial (student)" in said.message
    assert said.hint is not None
    assert "--set teacher.train.batch_size=8 --set student.train.batch_size=1" in said.hint


def test_a_loss_that_needs_more_than_there_is_is_no_wrong_use(tmp_path: Path) -> None:
    @loss("greedy", on="logits", teacher=False)
    def greedy(student: Tensor, batch: Batch) -> Tensor:
        """Takes all memory once it sees a whole batch."""
        if len(batch) > 2:
            torch.empty(TOO_MANY, dtype=torch.uint8)
        return (0 * student).sum()

    changes = [*WORLD, "student.losses.greedy.weight=1"]
    with known(greedy), pytest.raises(RunFailed, match=r"out of memory on the CPU .* in fp32 with") as caught:
        run("student_only", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=changes)
    assert "student.train.batch_size=" in (caught.value.hint or "")
    # The CPU computes in one precision.
    assert "bf16" not in (caught.value.hint or "")
