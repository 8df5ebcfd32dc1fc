"""The states of a training that are written as it goes on, and how it goes on from one of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdbench.engine import checkpoint
from kdbench.errors import DataError
from kdbench.util.records import read_jsonl, write_jsonl

QUICK_SECONDS = 1.0
"""A state that is written in this time is written after every epoch."""
SHARE = 20
"""A slower one takes at most one part in so many of the training."""


@dataclass
class Pace:
    """How often a state is written: after every epoch, unless that would take a good part of the time.

    On a fast card, the epoch of a large network takes less time than its state takes to be written.

    Attributes:
        took: Seconds that the last writing took.
        ended: When it ended, on the clock of the others.
    """

    took: float = 0.0
    ended: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether a state is written at the end of an epoch."""
        return self.took <= QUICK_SECONDS or now - self.ended >= SHARE * self.took

    def wrote(self, started: float, ended: float) -> None:
        """Takes in when a state was written."""
        self.took, self.ended = ended - started, ended


@dataclass
class States:
    """The states of one training, in its folder.

    Attributes:
        folder: The training's; `checkpoint/` and `metrics.jsonl` lie in it.
        modules: Whatever has a `state_dict`, by name.
        optimizer: Its moments and step counts are kept.
        binding: What they are states of; only a training that says the same goes on with one.
        epochs: Of the whole training; the state of the last one is written in any case.
        needs_best: Whether the weights of the best epoch are needed beside a state.
        warn: Takes a line on what is damaged and made again.
    """

    folder: Path
    modules: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    binding: Mapping[str, Any]
    epochs: int
    needs_best: bool
    warn: Callable[[str], None]
    _bests: list[int] = field(default_factory=list)
    _pace: Pace = field(default_factory=Pace)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / checkpoint.FOLDER

    def save(self, records: list[dict[str, Any]], best: Mapping[str, Any]) -> None:
        """Writes the state after an epoch, where it is due.

        Args:
            records: Those of all epochs so far.
            best: The best epoch so far.
        """
        started = time.perf_counter()
        if len(records) < self.epochs and not self._pace.is_due(started):
            return
        progress = {"epoch": len(records), "best": best, "records": records}
        checkpoint.save(self._checkpoint, self.modules, self.optimizer, progress, self.binding)
        self._forget_older_bests(best["epoch"])
        self._pace.wrote(started, time.perf_counter())

    def save_best(self, network: nn.Module, best: Mapping[str, Any]) -> None:
        """Writes the weights of the best epoch so far."""
        checkpoint.save_best(self._checkpoint, network, best, self.binding)

    def restore(self, device: torch.device) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Goes back to the last state that is whole.

        Args:
            device: Where the optimizer computes.

        Returns:
            The records of the epochs that lie behind it, and the best of them; None without a state. The records come
            from the state itself: the log is made again where it says something else. An epoch that was logged and not
            saved is dropped.
        """
        progress = checkpoint.load(
            self._checkpoint,
            self.modules,
            self.optimizer,
            device=device,
            binding=self.binding,
            warn=self.warn,
            needs_best=self.needs_best,
        )
        records: list[dict[str, Any]] = progress["records"] if progress is not None else []
        path = self.folder / "metrics.jsonl"
        written: list[dict[str, Any]] | None = None
        # A file that cannot be read is as good as none: it is made again below.
        with contextlib.suppress(DataError):
            written = read_jsonl(path)
        if written is None or written[: len(records)] != records:
            self.warn(f"{path} is not what this training had written; it is made again from the checkpoint")
        if written != records:
            write_jsonl(path, records)
        best = None if progress is None else progress["best"]
        self._bests = [best["epoch"] if best else 0]
        return records, best

    def restore_best(self, network: nn.Module, best: Mapping[str, Any]) -> None:
        """Gives a network the weights of the best epoch."""
        checkpoint.load_best(self._checkpoint, network, best["epoch"], self.binding)

    def _forget_older_bests(self, epoch: int) -> None:
        """Keeps the weights of the best epoch of this state and of the one before: either may be gone on with."""
        self._bests = [*self._bests, epoch][-2:]
        kept = {checkpoint.best_file(best) for best in self._bests}
        for path in self._checkpoint.glob("best-*.safetensors"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
