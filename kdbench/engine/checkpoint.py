"""All that a training needs to go on where it was, in one safetensors file; the one before it is kept beside it.

A file holds the hash of its content and says what it is a state of. One that is damaged, or of another training, is not
gone on with: the one before it is, else the training starts again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import DataError, RunFailed
from kdbench.util.records import (
    SEAL,
    open_safetensors,
    pack_safetensors,
    unpack_safetensors,
    write_safetensors,
)

FOLDER = "checkpoint"
FILE = "state.safetensors"
PREVIOUS = "previous.safetensors"
_AGAIN = "Repeat the same command: it goes on from the last state that is whole."
Progress = dict[str, Any]
"""Plain data: the epoch, the best value so far, the records of all epochs."""


def best_file(epoch: int) -> str:
    """Name of the file with the weights of the epoch that was the best one so far."""
    return f"best-{epoch}.safetensors"


def save(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    binding: Mapping[str, Any],
) -> None:
    """Writes the state of a training atomically: there is always a whole one under one of the two names.

    Args:
        folder: Folder of the checkpoint.
        modules: Whatever has a `state_dict`, by name.
        optimizer: Its moments and step counts are kept.
        progress: Plain data: the epoch, the best value so far, ….
        binding: What it is a state of; only a training that says the same goes on with it.
    """
    tensors = _tensors(modules, optimizer)
    if (folder / FILE).is_file():
        (folder / FILE).replace(folder / PREVIOUS)
    write_safetensors(folder / FILE, tensors, metadata=_header(progress, binding))


def packed(modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]) -> bytes:
    """The state of a training as `save` writes it, for the other processes of its run."""
    return pack_safetensors(_tensors(modules, optimizer), {"progress": json.dumps(progress)})


def unpack(
    data: bytes, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Takes over a state that `packed` made; returns its progress."""
    of = Path("the leading process")
    tensors, metadata = unpack_safetensors(data, of)
    _apply(tensors, modules, optimizer, device, of)
    progress: Progress = json.loads(metadata["progress"])
    return progress


def save_best(folder: Path, network: nn.Module, best: Mapping[str, Any], binding: Mapping[str, Any]) -> None:
    """Writes the weights of the best epoch so far, beside those of the best one before it."""
    path = folder / best_file(best["epoch"])
    write_safetensors(path, _of_modules({"network": network}), metadata=_header(best, binding))


def load(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    binding: Mapping[str, Any],
    warn: Callable[[str], None],
    needs_best: bool = False,
) -> Progress | None:
    """Restores the newest state that is whole and of this very training.

    Args:
        folder: Folder of the checkpoint.
        modules: As for `save`.
        optimizer: As for `save`.
        device: Where the optimizer computes.
        binding: As for `save`.
        warn: Takes a line on each state that is not used, and on what is done instead.
        needs_best: Whether the weights of the best epoch must be there too.

    Returns:
        The progress, or None where there is no such state.

    Raises:
        RunFailed: The state is whole, and belongs to other networks.
    """
    damaged = []
    for name in (FILE, PREVIOUS):
        path = folder / name
        if not path.is_file():
            continue
        try:
            # A state whose best weights are gone would train to its end and have nothing to restore.
            tensors, progress = _read(path, binding)
            if needs_best and progress["best"]["epoch"]:
                _read(folder / best_file(progress["best"]["epoch"]), binding)
        except DataError as error:
            damaged.append(error.message)
            continue
        _apply(tensors, modules, optimizer, device, path)
        # It takes the first name again; else the next save would put a damaged state in its place.
        path.replace(folder / FILE)
        for why in damaged:
            warn(f"a state of this training is not used: {why}; it goes on after epoch {progress['epoch']} instead")
        return progress
    for why in damaged:
        warn(f"a state of this training is not used: {why}; it starts from its first epoch")
    for name in (FILE, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
    return None


def load_best(folder: Path, network: nn.Module, epoch: int, binding: Mapping[str, Any]) -> None:
    """Restores the weights of the best epoch.

    Raises:
        RunFailed: They are damaged.
    """
    try:
        tensors, _ = _read(folder / best_file(epoch), binding)
    except DataError as error:
        raise RunFailed(
            f"the weights of the best epoch cannot be restored: {error.message}",
            hint="Repeat the same command: it goes on from the last state that is whole.",
        ) from error
    network.load_state_dict(_below(tensors, "network/"))


def epochs_done(folder: Path, binding: Mapping[str, Any]) -> int:
    """Epochs that `load` would go on after."""
    for name in (FILE, PREVIOUS):
        try:
            return int(_read(folder / name, binding)[1]["epoch"])
        except DataError:
            continue
    return 0


def _header(progress: Mapping[str, Any], binding: Mapping[str, Any]) -> dict[str, str]:
    return {"progress": json.dumps(progress), "binding": json.dumps(binding, sort_keys=True)}


def _read(path: Path, binding: Mapping[str, Any]) -> tuple[dict[str, Tensor], Progress]:
    """A state that is whole and of this training.

    Raises:
        DataError: It is not.
    """
    tensors, metadata = open_safetensors(path)
    if SEAL not in metadata or "progress" not in metadata:
        raise DataError(f"{path} holds no hash of its content", hint=_AGAIN)
    # Compared as JSON, since a tuple comes back from a file as a list.
    if metadata.get("binding") != json.dumps(binding, sort_keys=True):
        raise DataError(f"{path} is the state of another training", hint=_AGAIN)
    return tensors, json.loads(metadata["progress"])


def _apply(
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    path: Path,
) -> None:
    try:
        for owner, module in modules.items():
            module.load_state_dict(_below(tensors, f"{owner}/"))
    except RuntimeError as error:
        raise RunFailed(
            f"the checkpoint {path} does not fit this training: {error}",
            hint="Train it again: repeat the command with --fresh",
        ) from error
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimizer/").items():
        number, _, name = key.partition("/")
        # The optimizer itself knows on which device it counts its steps.
        states.setdefault(int(number), {})[name] = value if name == "step" else value.to(device)
    # Rates and decays are those of the recipe; only the moments come from the file.
    current = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": current["param_groups"]})


def _tensors(modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = _of_modules(modules)
    for number, state in optimizer.state_dict()["state"].items():
        # By a parameter's number, which the order of the groups fixes.
        tensors |= {f"optimizer/{number}/{key}": value for key, value in state.items()}
    return tensors


def _of_modules(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{owner}/{key}": value for owner, module in modules.items() for key, value in module.state_dict().items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
