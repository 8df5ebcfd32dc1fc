"""A model as a chain of its modules, cut into four stages."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from kdbench.encoders.base import unread
from kdbench.text.wording import counted

Embed: TypeAlias = Callable[[Any, Tensor], Tensor]
CONTAINERS = (nn.Sequential, nn.ModuleList)
POSITIONS = "_pos_embed"
"""timm's method that adds position embeddings and prefix tokens to the patches; it applies `pos_drop` itself."""


class NotAChain(Exception):
    """The model does not run as a chain of its modules; the message says why."""


@dataclass(frozen=True)
class Chain:
    """Which modules run in which stage.

    What a model makes of its last map may not depend on that map, as where it reads its class token: then the last
    stage ends before the blocks through which the token looks at the patches for the last time, and these are the tail.

    Attributes:
        stem: Steps before the first stage: paths of modules below the model, or names of its methods.
        stages: Steps of each of the four stages.
        tail: Steps that follow the last stage, as the last norm.
        layouts: How the model lays out what leaves the stem and each stage: `nchw`, `nhwc` or `tokens`.
        isotropic: Whether all stages have one grid.
    """

    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    tail: tuple[str, ...]
    layouts: tuple[str, ...]
    isotropic: bool

    @staticmethod
    def run(model: nn.Module, steps: Sequence[str], x: Tensor) -> Tensor:
        """Runs steps in turn."""
        for step in steps:
            x = _step(model, step)(x)
        return x


def chain_of(model: Any, image: Tensor, embed: Embed = lambda _, features: features) -> tuple[Chain, tuple[int, ...]]:
    """Finds the chain of a timm model in eval mode, and proves it on an image.

    Args:
        model: With `feature_info`, `forward_features` and children in the order in which they run.
        image: `(1, C, S, S)`.
        embed: What a model makes of its features.

    Returns:
        The chain, and the channels of the four maps.

    Raises:
        NotAChain: There are not four stages, the chain does not give exactly what `forward_features` gives, or what the
            model makes of its features does not depend on the last map.
    """
    cuts, widths, isotropic = _cuts(model)
    steps = list(_steps(model, cuts))
    missing = [cut for cut in cuts if cut not in steps]
    if missing:
        raise NotAChain(f"its {missing[0]} is not a module of a sequence")
    ends = [steps.index(cut) + 1 for cut in cuts]
    # The first stage begins where its container does; at least one module before it is the stem.
    inside = f"{cuts[0].rpartition('.')[0]}."
    first = max(1, next(i for i, step in enumerate(steps) if step == cuts[0] or step.startswith(inside)))
    if sorted({first, *ends}) != [first, *ends]:
        raise NotAChain("its stages do not follow one another")
    parts = [tuple(steps[start:end]) for start, end in zip([first, *ends], [*ends, len(steps)], strict=True)]
    stem, stages, rest = tuple(steps[:first]), tuple(parts[:4]), parts[4]
    x, layouts = image, []
    for part, width in zip((stem, *stages), (None, *widths), strict=True):
        x = _tried(model, part, x)
        layouts.append(_layout(model, x))
        channels = x.shape[1 if layouts[-1] == "nchw" else -1]
        if width not in (None, channels):
            raise NotAChain(f"its {part[-1]} gives {channels} channels, and timm names {width}")
    tail = _tail(model, rest, x, model.forward_features(image))
    chain = Chain(stem, stages, tail, tuple(layouts), isotropic)
    return _read(model, chain, image, embed, widths[3]), widths


def _read(model: Any, chain: Chain, image: Tensor, embed: Embed, width: int) -> Chain:
    """The chain with its last stage ended where what the model makes of its features still depends on the map."""
    before = chain.run(model, (*chain.stem, *itertools.chain(*chain.stages[:3])), image)
    last, tail = chain.stages[3], chain.tail
    while last:
        x = chain.run(model, last, before)
        if x.shape[1 if chain.layouts[4] == "nchw" else -1] == width and not _is_unread(model, tail, x, embed):
            return dataclasses.replace(chain, stages=(*chain.stages[:3], last), tail=tail)
        last, tail = last[:-1], (*last[-1:], *tail)
    raise NotAChain(
        f"what it predicts does not depend on the map that its {chain.stages[3][-1]} gives, as where a class token is "
        "read, and the last stage cannot end earlier"
    )


def _is_unread(model: Any, tail: Sequence[str], x: Tensor, embed: Embed) -> bool:
    prefix = getattr(model, "num_prefix_tokens", 0) if x.dim() == 3 else 0

    def dependent(tried: Any) -> bool:
        with torch.enable_grad():
            # The gradient on the patches alone: that a class token is read says nothing of the map.
            patches = x[:, prefix:].detach().requires_grad_()
            given = torch.cat([x[:, :prefix], patches], 1) if prefix else patches
            return not unread(embed(tried, Chain.run(tried, tail, given)), [patches])

    # Some models start with branches that are closed, and open them in training.
    return not (dependent(model) or dependent(_opened(model)))


def _opened(model: nn.Module) -> nn.Module:
    """A copy in which no parameter is zero."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            # Unequal values, so that nothing cancels out in a norm.
            parameter.add_(
                torch.arange(1.0, parameter.numel() + 1, device=parameter.device).cos().view_as(parameter) / 10
            )
    return other


def _cuts(model: Any) -> tuple[list[str], tuple[int, ...], bool]:
    """The last modules of the four stages, the widths of their maps, and whether they have one grid."""
    info = list(getattr(model, "feature_info", None) or [])
    if len(info) < 4:
        raise NotAChain(f"timm names {counted(len(info), 'resolution')} of it, and four are needed")
    isotropic = len({entry["reduction"] for entry in info}) == 1
    chosen = [info[(part + 1) * len(info) // 4 - 1] for part in range(4)] if isotropic else info[-4:]
    return [entry["module"] for entry in chosen], tuple(int(entry["num_chs"]) for entry in chosen), isotropic


def _steps(model: nn.Module, cuts: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Paths of the modules in order; containers that hold a cut are opened."""
    positioned = not prefix and hasattr(model, POSITIONS)
    for name, child in model.named_children():
        path = prefix + name
        if positioned and name == "pos_drop":
            continue
        if any(cut.startswith(f"{path}.") for cut in cuts) and isinstance(child, CONTAINERS):
            yield from _steps(child, cuts, f"{path}.")
        else:
            yield path
        if positioned and name == "patch_embed":
            yield POSITIONS


def _step(model: nn.Module, step: str) -> Any:
    return getattr(model, step) if step == POSITIONS else model.get_submodule(step)


def _tried(model: nn.Module, steps: Sequence[str], x: Tensor) -> Tensor:
    for step in steps:
        try:
            x = _step(model, step)(x)
        except Exception as error:
            raise NotAChain(f"its {step} does not take what the module before it gives ({error})") from error
        if not isinstance(x, Tensor):
            raise NotAChain(f"its {step} gives {type(x).__name__} instead of a tensor")
    return x


def _layout(model: Any, x: Tensor) -> str:
    if x.dim() == 3:
        patches = x.shape[1] - getattr(model, "num_prefix_tokens", 0)
        if math.isqrt(patches) ** 2 != patches:
            if patches < x.shape[1] and math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
                raise NotAChain("its own forward_features adds its class token between two modules")
            raise NotAChain(f"its {x.shape[1]} tokens are no square of patches")
        return "tokens"
    if x.dim() != 4:
        raise NotAChain(f"its maps have {counted(x.dim(), 'axis', 'axes')}")
    return "nhwc" if str(getattr(model, "output_fmt", "NCHW")).upper().endswith("NHWC") else "nchw"


def _tail(model: nn.Module, rest: Sequence[str], x: Tensor, wanted: Any) -> tuple[str, ...]:
    """The fewest further modules after which the chain has given exactly what the model gives."""
    for count in range(len(rest) + 1):
        if count:
            try:
                x = _tried(model, rest[count - 1 : count], x)
            except NotAChain:
                break
        if isinstance(wanted, Tensor) and x.shape == wanted.shape and torch.equal(x, wanted):
            return tuple(rest[:count])
    raise NotAChain("run as a chain of its modules it gives other features than it does itself")
