"""What tests of whole runs share: a tiny generated world, and losses that watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from kdbench import loss
from kdbench.registry import registry
from kdbench.runs.run import RunResult, run
from kdbench.types import Batch
from kdbench.util.progress import Reporter

WORLD = ["data.options={actions: 4, subjects: 4, trials: 3}"]
"""48 trials of four actions: half of them train."""


def tiny(method: str, out: Path, *overrides: str, **arguments: Any) -> RunResult:
    """Runs a method on the tiny world at `smoke`, in about two seconds."""
    # Two epochs of a single step would leave the teacher at chance level.
    teacher = [] if method == "student_only" else ["teacher.train.batch_size=8"]
    teacher += ["teacher.train.epochs=8"] if teacher and "random_teacher" not in method else []
    changes = [*WORLD, *teacher, *overrides]
    return run(method, "motionsim", preset="smoke", device="cpu", out=out, overrides=changes, **arguments)


class StopAfter(Reporter):
    """Presses Ctrl-C at the end of an epoch of a phase."""

    def __init__(self, phase: str, epoch: int) -> None:
        self.at = (phase, epoch)

    def end_epoch(self, record: dict[str, Any]) -> None:
        if (record["phase"], record["epoch"]) == self.at:
            raise KeyboardInterrupt


@contextmanager
def watching(name: str = "watch") -> Iterator[list[tuple[tuple[str, ...], float]]]:
    """A loss of value zero, known inside the block, that writes down each batch: its trials, the sum of its frames."""
    seen: list[tuple[tuple[str, ...], float]] = []

    @loss(name, on="logits", teacher=False)
    def watch(student: Tensor, batch: Batch) -> Tensor:
        """Writes down the batch."""
        assert batch.video is not None
        seen.append((batch.trial, batch.video.double().sum().item()))
        return (0 * student).sum()

    with known(watch):
        yield seen


@contextmanager
def known(component: Any) -> Iterator[None]:
    """Makes a decorated component known inside the block."""
    parts = registry(component.__kdbench_part__.kind)
    parts.add(component)
    try:
        yield
    finally:
        parts._added.pop(component.__kdbench_part__.name)
