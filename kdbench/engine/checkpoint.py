"""All that a training needs to go on where it was, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from kdbench.errors import RunFailed
from kdbench.results.files import write_safetensors

FILE = "state.safetensors"


def save(
    folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Writes the state of a training atomically: the file is the old one or the new one, never half of each.

    Args:
        folder: Folder of the checkpoint.
        modules: Whatever has a `state_dict`, by name.
        optimizer: Its moments and step counts are kept.
        progress: Plain data: the epoch, the best value so far, ….
    """
    tensors: dict[str, Tensor] = {}
    for owner, module in modules.items():
        tensors |= {f"{owner}/{key}": value for key, value in module.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{key}": value for key, value in state.items()}
    write_safetensors(folder / FILE, tensors, metadata={"progress": json.dumps(progress)})


def load(
    folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, *, device: torch.device
) -> dict[str, Any] | None:
    """Restores what `save` wrote.

    Returns:
        The progress, or None where there is no checkpoint.

    Raises:
        RunFailed: The file is damaged or belongs to other networks.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            progress = json.loads(file.metadata()["progress"])
        for owner, module in modules.items():
            module.load_state_dict(_below(tensors, f"{owner}/"))
    except (SafetensorError, RuntimeError, KeyError, OSError, TypeError) as error:
        raise RunFailed(
            f"the checkpoint {path} cannot be read: {error}",
            hint="Start this run anew: repeat the command with --fresh",
        ) from error
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimizer/").items():
        number, _, name = key.partition("/")
        states.setdefault(int(number), {})[name] = value if name == "step" else value.to(device)
    held = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": held["param_groups"]})
    return progress


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
