"""Watching what a computation does: where it waits for the device, and where a shape depends on values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.testing.explain import is_components

_CHECKS = Path(__file__).parent
_READS = {"tolist": ".tolist()", "numpy": ".numpy()", "__array__": "numpy", "cpu": ".cpu()"}
"""Calls that read a tensor on the host without an operation of their own."""
_SCALAR = "aten::_local_scalar_dense"
_SHAPES = {
    "aten::nonzero": "torch.nonzero, or torch.where with one argument",
    "aten::masked_select": "torch.masked_select",
    "aten::_unique": "torch.unique",
    "aten::_unique2": "torch.unique",
    "aten::unique_dim": "torch.unique",
    "aten::unique_consecutive": "torch.unique_consecutive",
    "aten::bincount": "torch.bincount",
    "aten::repeat_interleave": "torch.repeat_interleave without output_size",
}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
_HIDDEN = {
    "ProdBackward0": "the gradient of torch.prod",
    "ProdBackward1": "the gradient of torch.prod",
    "CumprodBackward0": "the gradient of torch.cumprod",
}
"""Autograd's own formulas that look for zeros on the host."""
# Looks at the values on a CPU alone, to refuse classes that do not exist.
_CHECKED_ON_CPU = {"one_hot"}


@dataclass
class Watch:
    """What was seen.

    Attributes:
        reads: Where the host read a value of a tensor, which on a GPU waits for all work before it.
        shapes: Where a shape depended on values.
    """

    reads: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Watch]:
    """Watches every call of torch in a block, on any device; functions of C++ and Python alike."""
    seen = Watch()
    functions = _Functions(seen)
    with functions, _Operations(seen, functions):
        yield seen


def hidden_reads(value: Tensor) -> list[str]:
    """Functions in the graph of a value whose gradient reads the device where no watch can see it."""
    reads: dict[str, None] = {}
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in _HIDDEN:
            reads[_HIDDEN[node.name()]] = None
        waiting += [following for following, _ in node.next_functions]
    return list(reads)


@contextmanager
def synchronising_is_an_error() -> Iterator[None]:
    """Lets CUDA itself refuse to wait, where there is a GPU."""
    if not torch.cuda.is_available():
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class _Functions(TorchFunctionMode):
    """Sees the calls that Python makes, such as `.tolist()`, which is no operation on a CPU."""

    def __init__(self, seen: Watch) -> None:
        super().__init__()
        self._seen = seen
        self.current = ""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, before = getattr(func, "__name__", ""), self.current
        if name in _READS:
            self._seen.reads.append(f"{_READS[name]}{_place()}")
        elif name == "to" and (_is_cpu(*args[1:2]) or _is_cpu((kwargs or {}).get("device"))):
            self._seen.reads.append(f'.to("cpu"){_place()}')
        self.current = before if before in _CHECKED_ON_CPU else name
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.current = before


class _Operations(TorchDispatchMode):
    """Sees the operations themselves, whoever called them."""

    def __init__(self, seen: Watch, functions: _Functions) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen
        self._functions = functions

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        if name == _SCALAR:
            if self._functions.current not in _CHECKED_ON_CPU:
                self._seen.reads.append(f"{_scalar_read(self._functions.current)}{_place()}")
        elif name in _SHAPES:
            self._seen.shapes.append(f"{_SHAPES[name]}{_place()}")
        elif name in _INDEXING and any(_is_mask(index) for index in args[1]):
            self._seen.shapes.append(f"indexing with a mask{_place()}")
        return func(*args, **(kwargs or {}))


def _scalar_read(function: str) -> str:
    named = {"item": ".item()", "__bool__": "a condition on a tensor", "__float__": "float()", "__int__": "int()"}
    return named.get(function, f"a value read by {function or 'the host'}")


def _is_cpu(device: Any) -> bool:
    # By name alone: the device of another tensor, which on a CPU is the CPU, is no such wish.
    return isinstance(device, str) and device.startswith("cpu")


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _place() -> str:
    """The component's line that made the call; nothing where the framework around it did."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if is_components(str(path)):
            return f" ({path.name}:{frame.f_lineno})"
        if path.parent == _CHECKS and path != Path(__file__):
            break
        frame = frame.f_back
    return ""
