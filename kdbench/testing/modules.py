"""How modules are built for checks, and the checks that encoders, poolings, fusions and representations share."""

from __future__ import annotations

import copy
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from kdbench.testing.base import Failed, Skipped
from kdbench.testing.demands import Named, demand_no_reads, demand_round_trip, difference, equal, nothing_drawn, rows
from kdbench.types import JointGraph

Module = TypeVar("Module", bound=nn.Module)


def chain_of_joints(joints: int) -> JointGraph:
    """A skeleton whose bones lead from joint to joint."""
    return JointGraph(tuple(f"joint {n}" for n in range(joints)), tuple((n, n + 1) for n in range(joints - 1)))


class ModuleCase(ABC):
    """One module class with its parameters.

    Args:
        name: Its registered name.
        component: The class.
        params: Keyword parameters, as in a recipe; by default without dropout, from random weights, and small.
        device: Where to check.
    """

    image_size: ClassVar[int | None] = None
    """Side of images, where the class has a parameter of this name and the caller does not give it."""
    steady: ClassVar[tuple[str, ...]] = ("eval mode",)
    """Modes in which nothing may be drawn."""

    def __init__(
        self, name: str, component: Any, *, params: Mapping[str, Any] | None = None, device: str = "cpu"
    ) -> None:
        self.name = name
        self.component = component
        signature = inspect.signature(component).parameters
        usual: dict[str, Any] = {"weights": "random", "image_size": self.image_size}
        usual |= {
            key: 0.0
            for key, parameter in signature.items()
            if (key.startswith("drop") or key.endswith("dropout")) and isinstance(parameter.default, int | float)
        }
        usual = {key: value for key, value in usual.items() if key in signature and value is not None}
        self.params: dict[str, Any] = {**usual, **(params or {})}
        self.device = torch.device(device)
        self._kept = functools.cache(self.made)
        self.module()

    @property
    def takes_a_skeleton(self) -> bool:
        """Whether it asks for the skeleton of what it is given, as `build_network` gives it."""
        return "skeleton" in inspect.signature(self.component).parameters

    @abstractmethod
    def made(self, seed: int = 0) -> nn.Module:
        """A new instance, ready for `outputs`, whose initial weights depend on the seed alone."""

    @abstractmethod
    def input(self, samples: int = ...) -> Any:
        """What the module is called with: random numbers of fixed seeds."""

    @abstractmethod
    def outputs(self, module: Any, inputs: Any) -> Named:
        """Every output of a call."""

    def module(self, **options: Any) -> Any:
        """The instance of seed 0 in eval mode, as new; options as of `made`."""
        return copy.deepcopy(self._kept(**options)).eval()

    def other(self) -> nn.Module:
        """An instance that has nothing of `module` but the parameters of its construction."""
        return self.made(seed=1)

    def build(self, *arguments: Any, seed: int = 0, **params: Any) -> Any:
        """The component itself, built with its parameters and some more."""
        torch.manual_seed(seed)
        return self.component(*arguments, **{**self.params, **params}).to(self.device)

    def demand_steady(self, module: nn.Module, inputs: Any) -> None:
        """Skips a check in training mode that randomness would disturb.

        Raises:
            Skipped: It is random in training.
        """
        with torch.no_grad():
            if not equal(self.outputs(module.train(), inputs), self.outputs(module, inputs)):
                raise Skipped("it is random in training, though every parameter of dropout is 0")

    def difference_when_split(self, module: nn.Module, inputs: Any, whole: int = 2) -> str | None:
        """What differs for the first rows of a batch when the others are taken away; None where nothing does."""
        first = [x[:whole] for x in inputs] if isinstance(inputs, list) else inputs[:whole]
        with torch.no_grad():
            together = rows(self.outputs(module, inputs), slice(whole))
            return difference(together, self.outputs(module, first))


def is_deterministic(case: ModuleCase) -> None:
    """In eval mode the same input gives the same output, and nothing random is drawn."""
    module, inputs = case.module(), case.input()
    for mode in case.steady:
        module.train(mode == "training")
        with torch.no_grad(), nothing_drawn(f"in {mode} it"):
            first, second = case.outputs(module, inputs), case.outputs(module, inputs)
        if not equal(first, second):
            raise Failed(f"two calls on the same input differ in {mode}")


def state_round_trips(case: ModuleCase) -> None:
    """A new instance with its saved state, what it learnt included, gives the same output."""
    module, inputs = case.module(), case.input()
    with torch.no_grad():
        case.outputs(module.train(), inputs)
        demand_round_trip(module.eval(), case.other().eval(), lambda instance: case.outputs(instance, inputs))


def never_waits_for_the_device(case: ModuleCase) -> None:
    """No value is read on the host, on which a GPU would have to be waited for."""
    module, inputs = case.module().train(), case.input()
    demand_no_reads(lambda: case.outputs(module, inputs))


def is_the_same_on_a_gpu(case: ModuleCase) -> None:
    """CPU and GPU give the same output in eval mode, and the same gradients of the parameters."""
    if not torch.cuda.is_available():
        raise Skipped("there is no GPU here")
    demand_same_on(torch.device("cuda"), case)


def demand_same_on(device: torch.device, case: ModuleCase) -> None:
    """Demands of a module what it gives on the CPU, up to what sums in another order and TF32 convolutions leave.

    Raises:
        Failed: An output or the gradient of a parameter is another one.
    """
    here = case.module().cpu()
    there = copy.deepcopy(here).to(device)
    inputs = tree_map_only(Tensor, Tensor.cpu, case.input())
    moved = tree_map_only(Tensor, lambda x: x.to(device), inputs)
    ours, theirs = case.outputs(here, inputs), case.outputs(there, moved)
    for name, value in ours.items():
        _demand_near(theirs[name], value, f"the {name}")
    if not any(value.requires_grad for value in ours.values()):
        return
    for outputs in (ours, theirs):
        reached = [value.float().square().mean() for value in outputs.values() if value.requires_grad]
        torch.stack(reached).sum().backward()
    for name, parameter in here.named_parameters():
        other = there.get_parameter(name).grad
        if (parameter.grad is None) != (other is None):
            raise Failed(f"the gradient of {name} is there on one of both devices alone")
        if parameter.grad is not None and other is not None:
            _demand_near(other, parameter.grad, f"the gradient of {name}")


def _demand_near(theirs: Tensor, ours: Tensor, what: str) -> None:
    scale = float(ours.detach().abs().max())
    if float((theirs.detach().cpu() - ours.detach()).abs().max()) > 1e-2 * scale + 1e-6:
        raise Failed(f"{what} on the other device is not that on the CPU")


CHECKS = (is_deterministic, state_round_trips, never_waits_for_the_device, is_the_same_on_a_gpu)


def moved_off(module: Module) -> Module:
    """Moves every parameter off its initial value, at which some modules do nothing; returns the module."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return module
