"""BatchNorm over a batch that several processes share, and over one that passes a second time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(F.batch_norm)


class WholeStatistics(TorchFunctionMode):
    """Inside it, BatchNorm takes mean and variance over the batch of all processes, as one process would.

    torch's own SyncBatchNorm refuses tensors on a CPU and takes the modules' places. Here the function behind every
    BatchNorm is met, on any device: the mean first and the squares about it then, so that nothing cancels, and the
    gradient goes through both sums. Running statistics become those of the whole batch in every process.

    Args:
        total: Sums a tensor over the processes, and its gradient too.
        rows: B, the rows of the whole batch.
        own: How many of them are this process's.
    """

    def __init__(self, total: Callable[[Tensor], Tensor], rows: int, own: int) -> None:
        super().__init__()
        self._total = total
        self._rows = rows
        self._share = own
        self.paused = False

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls a function; BatchNorm in training over all processes."""
        kwargs = kwargs or {}
        if self.paused or func is not F.batch_norm:
            return func(*args, **kwargs)
        given = _SIGNATURE.bind(*args, **kwargs)
        given.apply_defaults()
        return self._normalised(**given.arguments) if given.arguments["training"] else func(*args, **kwargs)

    def _normalised(
        self,
        input: Tensor,  # noqa: A002 - torch's name
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        training: bool,  # noqa: ARG002
        momentum: float,
        eps: float,
    ) -> Tensor:
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        over = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        # Values of a channel: those here, of as many positions a row as elsewhere.
        count = x.numel() // x.shape[1] // self._share * self._rows
        # In float64, as torch sums on a CPU.
        mean = self._total(x.sum(over, dtype=torch.float64)) / count
        squares = (x - mean.view(shape).to(x.dtype)).square()
        variance = self._total(squares.sum(over, dtype=torch.float64)) / count
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                # The running variance is the unbiased one, as torch has it.
                running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
        # One factor and one summand a channel, rounded as torch's are.
        factor = torch.rsqrt(variance + eps).to(x.dtype)
        factor = factor if weight is None else factor * weight
        summand = -mean.to(x.dtype) * factor
        summand = summand if bias is None else summand + bias
        return (x * factor.view(shape) + summand.view(shape)).to(input.dtype)


class UnmovedStatistics(TorchFunctionMode):
    """Inside it, BatchNorm in training takes the batch's statistics and leaves the running ones as they are."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls a function; BatchNorm in training without its running statistics."""
        if func is F.batch_norm:
            given = _SIGNATURE.bind(*args, **(kwargs or {}))
            given.apply_defaults()
            if given.arguments["training"]:
                # Copies, since a pass without any keeps other tensors for its gradient.
                running = {name: given.arguments[name] for name in ("running_mean", "running_var")}
                copies = {name: None if value is None else value.clone() for name, value in running.items()}
                return func(**{**given.arguments, **copies})
        return func(*args, **(kwargs or {}))
