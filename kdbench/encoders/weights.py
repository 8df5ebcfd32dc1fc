"""Pretrained weights: found in the caches of timm and torchvision, fetched where they can be, checked when loaded."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.encoders import checkpoint_file
from kdbench.errors import Unavailable, UsageError, shortened
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_DERIVED = {
    *("num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask", "position_ids"),
    *("inv_freq", "total_ops", "total_params"),
}
"""Buffers that files of other versions and tools hold or leave out: they count, or follow from a model's sizes."""
IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
REACH_SECONDS = 10
HEADS = re.compile(r"(?:.*_)?(?:heads?|projector|projection|prototypes\d*|predictor|classifier|last_layer|fc)")
"""Names of modules that self-supervised training puts behind a backbone (SwAV, DINO, MoCo, BYOL), or classes."""


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
        hint=f"Put that file at {place}; or name a file of weights with weights: PATH; "
        "or train from scratch with weights: random.",
    )


def hub_file(repository: str, file: str, *, encoder: str) -> Path:
    """A file of a model hub's repository, from the hub's cache or from the hub.

    Raises:
        UsageError: It is in neither.
    """
    from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    url = hf_hub_url(repository, file)
    if constants.HF_HUB_OFFLINE or not reachable(url):
        place = f"the cache {constants.HF_HUB_CACHE} (hf download {repository} {file})"
        raise unavailable(encoder, file, repository, place)
    return Path(hf_hub_download(repository, file))


def torchvision_state(entry: WeightsEnum, *, encoder: str) -> dict[str, Tensor]:
    """Weights of torchvision, from torch's hub folder or from the network.

    Raises:
        UsageError: They are in neither, or the cached file is broken.
    """
    place = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    if not place.is_file() and not reachable(entry.url):
        raise unavailable(encoder, place.name, entry.url, place)
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except URLError as error:
        raise unavailable(encoder, place.name, entry.url, place) from error
    except Exception as error:
        raise UsageError(
            f"the weights at {place} cannot be read: {type(error).__name__}: {error}",
            hint=f"Delete that file and fetch it again from {entry.url}",
        ) from error


def provenance(path: Path, left_out: Iterable[str] = ()) -> str:
    """Names a weight file by its name and the start of its sha256, with the modules in it that were left out."""
    without = ", ".join(sorted(set(left_out)))
    with path.open("rb") as stream:
        name = f"{path.name} sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"
    return f"{name}, without its {without}" if without else name


def load(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    origin: str,
    input_weight: str | Sequence[str],
    head: str | Sequence[str] = ("head",),
) -> set[str]:
    """Loads a backbone's weights; heads among them, of classes or of self-supervision, are left out.

    Buffers that the model derives from its own sizes need not be there, and may be there though the model keeps none.

    Args:
        model: The backbone.
        state: Its weights by name.
        origin: Where they come from, for messages.
        input_weight: Names of the kernels that see the input; they are fitted to the model's number of channels.
        head: Modules that classify: what they hold and the model does not is left out, as is what `HEADS` names.

    Returns:
        The names of the heads that were left out.

    Raises:
        UsageError: Keys or shapes are not the model's, or a value is not finite.
    """
    wanted, derived = model.state_dict(), _derived(model)
    heads = {head} if isinstance(head, str) else set(head)
    left_out = {
        key
        for key in state
        if key not in wanted and (any(key.startswith(f"{name}.") for name in heads) or HEADS.fullmatch(_module(key)))
    }
    state = {key: value for key, value in state.items() if key not in left_out}
    state = {key: value for key, value in state.items() if key in wanted or key.rpartition(".")[2] not in _DERIVED}
    # What follows from a model's sizes is its own where the file's was made for others.
    state = {key: value for key, value in state.items() if key not in derived or value.shape == wanted[key].shape}
    if not any(key in wanted for key in state):
        first, own = next(iter(state), "nothing"), next(iter(wanted))
        raise UsageError(
            f"weights: {origin} is not of this encoder: none of its {counted(len(state), 'name')} is known; the first "
            f"is '{shortened(first)}', and names like '{own}' were expected",
            hint="Name the encoder that the file was made for, or rename its tensors. Without it: weights: random",
        )
    for name in [input_weight] if isinstance(input_weight, str) else input_weight:
        if name in state and name in wanted:
            state[name] = fit_input_channels(state[name], wanted[name].shape[1])
    wrong = [f"{key} is missing" for key in wanted if key not in state and key not in derived]
    wrong += [f"{key} is unknown" for key in state if key not in wanted]
    wrong += [
        f"{key} is {tuple(value.shape)}, expected {tuple(wanted[key].shape)}"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    wrong += [f"{key} {why}" for key, value in state.items() if key in wanted and (why := _unfit(value, wanted[key]))]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UsageError(
            f"weights: {origin} does not fit the encoder: {'; '.join(wrong[:3])}{more}",
            hint="Give the encoder the sizes of the network in the file. Without it: weights: random",
        )
    # What is derived stays the model's own unless the file brings it.
    model.load_state_dict({**{key: wanted[key] for key in derived}, **state})
    return {_module(key) for key in left_out}


def load_file(
    model: nn.Module,
    path: Path,
    *,
    input_weight: str | Sequence[str],
    head: str | Sequence[str] = ("head",),
    adapt: Callable[..., Mapping[str, Tensor]] | None = None,
) -> set[str]:
    """Loads a backbone's weights from a file, out of what they are wrapped in.

    Args:
        model: The backbone.
        path: The file.
        input_weight: As for `load`.
        head: As for `load`.
        adapt: Called with the weights and the model; gives them the names and shapes of today.

    Returns:
        The names of the modules in the file that were left out.

    Raises:
        UsageError: It cannot be read, or holds what `load` refuses.
    """
    content = checkpoint_file.read(path)
    taken = checkpoint_file.unwrapped(content, model, str(path))
    state = taken if adapt is None else adapt(taken, model)
    heads = load(model, state, origin=str(path), input_weight=input_weight, head=head)
    return checkpoint_file.left_out(content, taken) | heads


def _module(key: str) -> str:
    return key.partition(".")[0]


def _derived(model: nn.Module) -> set[str]:
    """Buffers that follow from a model's sizes, or only count: all whole numbers, and some by their names."""
    return {
        name
        for name, buffer in model.named_buffers()
        if not buffer.is_floating_point() or name.rpartition(".")[2] in _DERIVED
    } & set(model.state_dict())


def _unfit(value: Tensor, wanted: Tensor) -> str:
    """Why a tensor cannot be taken, beside its shape; empty where it can."""
    if wanted.is_floating_point() and (value.layout != torch.strided or not value.is_floating_point()):
        return f"is {str(value.dtype).removeprefix('torch.')}, expected floating-point numbers"
    if value.is_floating_point() and value.shape == wanted.shape and not bool(value.isfinite().all()):
        return "holds values that are not finite"
    return ""


def load_torchvision(
    model: nn.Module,
    entry: WeightsEnum,
    weights: str,
    *,
    encoder: str,
    input_weight: str,
    head: str | Sequence[str] = ("head",),
    adapt: Callable[..., Mapping[str, Tensor]] | None = None,
) -> str:
    """Loads a video model of torchvision: its weights of Kinetics-400, or those of a file.

    Args:
        model: The backbone.
        entry: torchvision's weights.
        weights: `pretrained`, or the path of the file.
        encoder: The encoder's name, for messages.
        input_weight: As for `load`.
        head: As for `load`.
        adapt: As for `load_file`.

    Returns:
        Where they come from, as results name it.

    Raises:
        UsageError: They cannot be had or do not fit.
    """
    if weights == "pretrained":
        load(model, torchvision_state(entry, encoder=encoder), origin=entry.url, input_weight=input_weight, head=head)
        return f"{entry} (Kinetics-400)"
    path = Path(weights)
    return provenance(path, load_file(model, path, input_weight=input_weight, head=head, adapt=adapt))


def normalisation_of(model: nn.Module) -> Literal["batch", "sample"]:
    """`batch` where the model holds a BatchNorm of any kind, else `sample`."""
    return "batch" if any(isinstance(part, _BatchNorm) for part in model.modules()) else "sample"


def fit_input_channels(weight: Tensor, channels: int) -> Tensor:
    """Fits a first kernel `(C_out, C_in, …)` to another number of input channels.

    It becomes its mean over them, rescaled so that equal channels give the response that they gave.
    """
    given = weight.shape[1]
    if given == channels:
        return weight
    repeats = [1, channels, *[1] * (weight.dim() - 2)]
    # Scaled, so that the sum over the channels, and with it the size of what comes out, stays.
    return weight.mean(1, keepdim=True).repeat(repeats) * (given / channels)
