"""A training's state and its log, brought into agreement where it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdbench.engine import checkpoint
from kdbench.errors import DataError
from kdbench.util.records import read_jsonl, write_jsonl


def restored(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    binding: Mapping[str, Any],
    warn: Callable[[str], None],
    needs_best: bool,
) -> tuple[checkpoint.Progress | None, list[dict[str, Any]]]:
    """Goes back to the last state that is whole; arguments as of `checkpoint.load`, but for the training's own folder.

    Returns:
        The progress, or None; and the records of the epochs that lie behind it. They come from the state itself: the
        log is made again where it says something else. An epoch that was logged and not saved is dropped.
    """
    progress = checkpoint.load(
        folder / checkpoint.FOLDER,
        modules,
        optimizer,
        device=device,
        binding=binding,
        warn=warn,
        needs_best=needs_best,
    )
    records: list[dict[str, Any]] = progress["records"] if progress is not None else []
    path = folder / "metrics.jsonl"
    written: list[dict[str, Any]] | None = None
    # A file that cannot be read is as good as none: it is made again below.
    with contextlib.suppress(DataError):
        written = read_jsonl(path)
    if written is None or written[: len(records)] != records:
        warn(f"{path} is not what this training had written; it is made again from the checkpoint")
    if written != records:
        write_jsonl(path, records)
    return progress, records
