"""What checks of several kinds ask of a call: each raises `Failed` with what was seen instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.testing.base import Failed
from kdbench.testing.isolation import RandomStates
from kdbench.testing.watch import Watch, hidden_reads, watched
from kdbench.text.wording import some

RTOL, ATOL = 1e-4, 1e-5
Named = dict[str, Tensor]
"""Tensors by the names that messages give them."""


def equal(first: Named, second: Named) -> bool:
    """Whether two calls agree bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def difference(first: Named, second: Named) -> str | None:
    """The first output in which two calls differ, in words; None where they agree up to rounding."""
    for name, value in first.items():
        other = second[name]
        if value.shape != other.shape:
            return f"{name} is {tuple(value.shape)} and {tuple(other.shape)}"
        if not torch.allclose(value, other, rtol=RTOL, atol=ATOL, equal_nan=True):
            return f"{name} differs by up to {float((value - other).abs().max()):.3g}"
    return None


def demand_same(first: Named, second: Named, words: str) -> None:
    """Fails where two calls differ by more than rounding."""
    if differing := difference(first, second):
        raise Failed(f"{words} {differing}")


def demand_declared(declares: str, declared: bool, differing: str | None) -> None:
    """Fails where a component does not couple the rows of a batch as it declares.

    Args:
        declares: What it declares, in words.
        declared: Whether by that a row depends on its batch.
        differing: How a row differs when the batch is split; None where it does not.
    """
    if differing and not declared:
        raise Failed(f"it declares {declares}, and when the batch is split {differing}")
    if declared and not differing:
        raise Failed(f"it declares {declares}, and splitting the batch changes nothing")


def demand_finite(named: Mapping[str, Tensor | None], words: str) -> None:
    """Fails where a tensor holds NaN or infinity."""
    for name, value in named.items():
        if value is not None and not value.isfinite().all():
            raise Failed(f"{name} is not finite {words}")


@contextmanager
def nothing_drawn(what: str = "it", after: str = "") -> Iterator[None]:
    """Fails where the block draws from a global source of random numbers, on which the order of the data depends."""
    before = RandomStates.now()
    yield
    if drawn := before.changed(RandomStates.now()):
        raise Failed(f"{what} draws from a global source of random numbers, {' and '.join(drawn)}{after}")


@contextmanager
def untouched(*given: tuple[str, Tensor]) -> Iterator[None]:
    """Fails where the block changes one of some named tensors in place."""
    before = [(tensor.detach().clone(), tensor._version) for _, tensor in given]
    yield
    for (name, tensor), (value, version) in zip(given, before, strict=True):
        if tensor._version != version or not torch.equal(tensor, value):
            raise Failed(f"it changes {name} in place; others read it too")


def demand_round_trip(used: nn.Module, new: nn.Module, *calls: Callable[[nn.Module], Named]) -> None:
    """Fails where a new instance with the saved state gives other outputs than the one that was used."""
    new.load_state_dict({name: value.detach().clone() for name, value in used.state_dict().items()})
    if not all(equal(call(used), call(new)) for call in calls):
        raise Failed(
            "it gives another output after its state was saved and loaded into a new instance; keep what it remembers "
            "in parameters and buffers"
        )


def seen_in(call: Callable[[], Named]) -> Watch:
    """What happens in a call and in its backward pass, from the second call on: the first may set something up."""
    call()
    with watched() as seen:
        total = weighted_sum(call())
        if total.requires_grad:
            total.backward()
    seen.reads += hidden_reads(total)
    return seen


def demand_no_reads(call: Callable[[], Named]) -> None:
    """Fails where a value is read on the host."""
    if reads := seen_in(call).reads:
        raise Failed(f"it reads a value on the host: {', '.join(dict.fromkeys(reads))}; keep it on the device")


def demand_gradients(module: nn.Module, total: Tensor) -> None:
    """Fails where a trainable parameter gets no gradient, or one that is not finite."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not trained:
        return
    slopes = torch.autograd.grad(total, list(trained.values()), allow_unused=True, retain_graph=True)
    gradients = dict(zip(trained, slopes, strict=True))
    lost = [name for name, gradient in gradients.items() if gradient is None]
    if lost:
        raise Failed(f"no gradient reaches {some(lost, 3)}")
    demand_finite({f"the gradient on {name}": gradient for name, gradient in gradients.items()}, "on ordinary input")


def weighted_sum(named: Named) -> Tensor:
    """One number on which every entry of every output has its own influence."""
    return torch.stack([(value * normal(*value.shape, seed=9).to(value)).sum() for value in named.values()]).sum()


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal random numbers from a generator of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rows(named: Any, chosen: Tensor | slice) -> Named:
    """Some rows of every output."""
    return {name: value[chosen] for name, value in named.items()}
