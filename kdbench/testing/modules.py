"""What the checks of encoders, fusions and representations share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.testing.base import Failed
from kdbench.testing.isolation import RandomStates
from kdbench.testing.watch import hidden_reads, watched

RTOL, ATOL = 1e-4, 1e-5
Named = dict[str, Tensor]


def settled(component: Any, params: Mapping[str, Any], **fixed: Any) -> dict[str, Any]:
    """Parameters under which a component can be checked: without dropout, from random weights, small.

    Args:
        component: The class.
        params: What the caller gave; it wins.
        fixed: Values of further parameters, where the class has parameters of these names.
    """
    parameters = inspect.signature(component).parameters
    found = {name: value for name, value in {"weights": "random", **fixed}.items() if name in parameters}
    found |= {
        name: 0.0
        for name, parameter in parameters.items()
        if name.startswith("drop") and isinstance(parameter.default, int | float)
    }
    return {**found, **params}


def build(component: Any, arguments: Iterable[Any], params: Mapping[str, Any], seed: int = 0) -> Any:
    """An instance whose initial weights depend on the seed alone."""
    torch.manual_seed(seed)
    return component(*arguments, **params)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal random numbers from a generator of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def moved_off(module: nn.Module) -> nn.Module:
    """Moves every parameter off its initial value, at which some modules do nothing; returns the module."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return module


def difference(first: Named, second: Named) -> str | None:
    """The first output in which two calls differ, in words; None where they agree up to rounding."""
    for name, value in first.items():
        other = second[name]
        if value.shape != other.shape:
            return f"{name} is {tuple(value.shape)} and {tuple(other.shape)}"
        if not torch.allclose(value, other, rtol=RTOL, atol=ATOL, equal_nan=True):
            return f"{name} differs by up to {float((value - other).abs().max()):.3g}"
    return None


def equal(first: Named, second: Named) -> bool:
    """Whether two calls agree bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def rows(named: Named, chosen: Tensor | slice) -> Named:
    """Some rows of every output."""
    return {name: value[chosen] for name, value in named.items()}


def demand_finite(named: Named, words: str) -> None:
    """Fails where an output holds NaN or infinity."""
    for name, value in named.items():
        if not value.isfinite().all():
            raise Failed(f"{name} is not finite {words}")


def demand_deterministic(call: Callable[[], Named], words: str) -> None:
    """Fails where two calls differ by a bit, or draw from a global source of random numbers."""
    before = RandomStates.now()
    first, second = call(), call()
    drawn = before.changed(RandomStates.now())
    if drawn:
        raise Failed(f"it draws from a global source of random numbers {words}: {' and '.join(drawn)}")
    if not equal(first, second):
        raise Failed(f"two calls on the same input differ {words}")


def demand_round_trip(saved: nn.Module, new: nn.Module, call: Callable[[nn.Module], Named]) -> None:
    """Fails where a new instance with the saved state gives other outputs."""
    state = {name: value.detach().clone() for name, value in saved.state_dict().items()}
    new.load_state_dict(state)
    if not equal(call(saved), call(new)):
        raise Failed("it gives another output after its state was saved and loaded into a new instance")


def demand_untouched(given: Iterable[Tensor], call: Callable[[], Any]) -> None:
    """Fails where a call changes its inputs in place."""
    held = [(tensor, tensor.detach().clone(), tensor._version) for tensor in given]
    call()
    if any(tensor._version != version or not torch.equal(tensor, before) for tensor, before, version in held):
        raise Failed("it changes its input in place; others read it too")


def demand_no_reads(call: Callable[[], Named]) -> None:
    """Fails where a value is read on the host, from the second call on: the first may set something up."""
    call()
    with watched() as seen:
        total = weighted_sum(call())
        if total.requires_grad:
            total.backward()
    reads = [*seen.reads, *hidden_reads(total)]
    if reads:
        raise Failed(f"it reads a value on the host: {', '.join(dict.fromkeys(reads))}; keep it on the device")


def demand_gradients(module: nn.Module, total: Tensor) -> None:
    """Fails where a trainable parameter gets no gradient, or one that is not finite."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    if not named:
        return
    found = torch.autograd.grad(total, [p for _, p in named], allow_unused=True, retain_graph=True)
    lost = [name for (name, _), gradient in zip(named, found, strict=True) if gradient is None]
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise Failed(f"no gradient reaches {', '.join(lost[:3])}{more}")
    wild = [
        n
        for (n, _), gradient in zip(named, found, strict=True)
        if gradient is not None and not gradient.isfinite().all()
    ]
    if wild:
        raise Failed(f"the gradient on {wild[0]} is not finite")


def weighted_sum(named: Named) -> Tensor:
    """One number on which every entry of every output has its own influence."""
    return torch.stack([(value * normal(*value.shape, seed=9).to(value)).sum() for value in named.values()]).sum()
