"""Pretrained weights: found in the caches of timm and torchvision, fetched where they can be, checked when loaded."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from kdbench.errors import Unavailable, UsageError

IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
REACH_SECONDS = 10


def reachable(url: str) -> bool:
    """Whether a file answers within ten seconds: without a network, the libraries that fetch it retry for minutes."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def unavailable(encoder: str, file: str, url: str, place: Path | str) -> UsageError:
    """The error for pretrained weights that are neither cached nor reachable."""
    return Unavailable(
        f"the pretrained weights of '{encoder}' are neither cached nor reachable: {file} of {url}",
        hint=f"Put that file at {place}; or name a safetensors file with weights: PATH; "
        "or train from scratch with weights: random.",
    )


def read(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        UsageError: There is no such file, or it is not in that format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UsageError(
            f"weights: there is no file {path}", hint="Expected random, pretrained, or the path of a safetensors file."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"weights: {path} cannot be read as safetensors: {error}",
            hint="Save them so: safetensors.torch.save_file(model.state_dict(), PATH). Pickled files are never loaded.",
        ) from error


def provenance(path: Path) -> str:
    """Names a weight file by its name and the start of its sha256."""
    with path.open("rb") as stream:
        return f"{path.name} sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


def load(model: nn.Module, state: Mapping[str, Tensor], *, origin: str, input_weight: str) -> None:
    """Loads a backbone's weights; a classification head among them is left out.

    The kernel named `input_weight` is fitted to the model's number of input channels.

    Raises:
        UsageError: Keys or shapes are not the model's.
    """
    wanted = model.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith("head.")}
    if input_weight in state:
        state[input_weight] = fit_input_channels(state[input_weight], wanted[input_weight].shape[1])
    wrong = [f"{key} is missing" for key in wanted if key not in state]
    wrong += [f"{key} is unknown" for key in state if key not in wanted]
    wrong += [
        f"{key} is {tuple(value.shape)}, expected {tuple(wanted[key].shape)}"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UsageError(f"weights: {origin} does not fit the encoder: {'; '.join(wrong[:3])}{more}")
    model.load_state_dict(state)


def fit_input_channels(weight: Tensor, channels: int) -> Tensor:
    """Fits a first kernel `(C_out, C_in, …)` to another number of input channels.

    It becomes its mean over them, rescaled so that equal channels give the response that they gave.
    """
    held = weight.shape[1]
    if held == channels:
        return weight
    repeats = [1, channels, *[1] * (weight.dim() - 2)]
    return weight.mean(1, keepdim=True).repeat(repeats) * (held / channels)
