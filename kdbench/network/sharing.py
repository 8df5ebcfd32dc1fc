"""One run in several processes: each computes the networks on its share of every batch, and all else whole.

What couples the trials of a batch is many things here: forty losses, fusions, memories, balances, plugins of anyone.
What costs time is one: the networks. So the networks alone are shared out. A process takes its rows of the batch
through stem, stages and heads, the features are gathered with their gradient, and every process then evaluates the
whole objective on the whole batch, as one process does. No loss knows of processes, none can be wrong about them, and
a step's numbers are those of one process up to rounding. Within a network three things look beyond a row, and are met
here: a fusion that couples the batch gets the gathered maps, BatchNorm sums over the processes
(`kdbench.network.statistics`), and random draws are made for the whole batch (`kdbench.network.draws`).

The alternative, `DistributedDataParallel` with losses on each share, would need a gathering variant of every loss, and
has no place for gradients of single terms, which DOT, GradNorm and the log of their norms take.

The gradient: each process has the same loss L. It descends L / N, the gathering sends gradients back summed over the
processes, and the gradients of all parameters are summed in the end: of a network the parts of all shares, of a loss's
own parameters N times one N-th. A batch of less than two trials a process is computed whole by every one of them; the
same sum holds.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kdbench.network.draws import WholeDraws
from kdbench.network.statistics import WholeStatistics

LEAST_ROWS = 2
"""Trials of a share: one alone does not show in which order its axes lie in memory, and has no batch statistics."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: Its number; 0 leads: it alone writes, evaluates and reports.
        count: N, how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share_of(self, rows: int) -> Share | None:
        """This process's share of a batch; None where it computes the batch whole."""
        if self.count == 1 or rows < LEAST_ROWS * self.count:
            return None
        least, more = divmod(rows, self.count)
        sizes = [least + (rank < more) for rank in range(self.count)]
        start = sum(sizes[: self.rank])
        return Share(rows, slice(start, start + sizes[self.rank]))

    def added_up(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The sums of tensors of one device over the processes; those of a type go in one message.

        Args:
            tensors: As many, of the same shapes, in each of them; None where one has none in any.
        """
        if self.count == 1:
            return list(tensors)
        totals: list[Tensor | None] = [None] * len(tensors)
        given = {place: tensor.detach() for place, tensor in enumerate(tensors) if tensor is not None}
        for dtype in dict.fromkeys(tensor.dtype for tensor in given.values()):
            alike = {place: tensor for place, tensor in given.items() if tensor.dtype == dtype}
            flat = torch.cat([tensor.reshape(-1) for tensor in alike.values()])
            dist.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in alike.values()])
            for (place, tensor), part in zip(alike.items(), parts, strict=True):
                totals[place] = part.view(tensor.shape)
        return totals

    def add_gradients_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums the gradients of parameters over the processes, in place."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in dict.fromkeys(parameters) if parameter.grad is not None]
        for gradient, total in zip(gradients, self.added_up(gradients), strict=True):
            assert total is not None
            # Into the place that autograd made, whose axes lie in memory as the parameter's do.
            gradient.copy_(total)

    def summon(self, device: torch.device, **task: Any) -> None:
        """Tells the others which training they are to take part in; without one, that there is none left."""
        self.tell(json.dumps(task).encode(), device)

    def tell(self, data: bytes | None, device: torch.device) -> bytes:
        """Gives every process what the leading one says.

        Args:
            data: What it says; not read in the others.
            device: Where the processes exchange tensors.
        """
        if self.count == 1:
            return data or b""
        length = torch.tensor([len(data or b"")], device=device)
        dist.broadcast(length, 0)
        content = torch.empty(int(length), dtype=torch.uint8, device=device)
        if self.leads and data:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(content, 0)
        return content.cpu().numpy().tobytes()


ALONE = Processes()


class Share:
    """The rows of one batch that a process computes.

    Args:
        rows: B, the rows of the whole batch.
        own: This process's.
    """

    def __init__(self, rows: int, own: slice) -> None:
        self.rows = rows
        self.own = own
        self.size = own.stop - own.start

    def gathered(self, x: Tensor) -> Tensor:
        """The rows of all processes `(B, …)`, of those of this one; with the gradient of all processes."""
        whole: Tensor = _Gather.apply(x, self.rows, self.own)
        return whole

    @contextlib.contextmanager
    def computing(self) -> Iterator[Callable[[bool], None]]:
        """Training on the share inside it: draws and batch statistics are those of the whole batch.

        Gives a switch for what is computed on the whole batch in between, where they are just as they are.
        """
        draws, statistics = WholeDraws(self.rows, self.own), WholeStatistics(_total, self.rows, self.size)

        def pause(paused: bool) -> None:
            draws.paused = statistics.paused = paused

        with statistics, draws:
            yield pause


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Tensors, and lists and tuples of them, with every tensor through `change`."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(mapped(each, change) for each in value)
    return value


def _total(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)
    return total


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is its gradient, since each of them has used the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    """The rows of all processes: a sum of tensors with zeros in the others' places, for which shares may be unlike."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int, own: slice) -> Tensor:
        ctx.own = own
        whole = x.new_zeros(rows, *x.shape[1:])
        whole[own] = x
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.own], None, None
