"""Random draws of a share of a batch that are those of the whole batch in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.errors import UsageError

_OF_A_SIZE = ("aten::rand", "aten::randn")
_LIKE_ANOTHER = ("aten::rand_like", "aten::randn_like")
_DROPOUT = "aten::native_dropout"
_RATES = ("dropout_p", "dropout")


class WholeDraws(TorchDispatchMode):
    """Inside it, whatever draws at random draws for all rows of the batch and takes those of its own share.

    Dropout, stochastic depth and random frames all end in a few operators, which is where they are met: modules, their
    functional forms and those of libraries alike. A tensor's first axis is rows, or several entries a row (windows,
    heads, frames), row by row; a single entry is drawn once for all. Every process takes as much out of its generator
    as one process would, so that the generators stay together.

    Args:
        rows: B, the rows of the whole batch.
        own: Those of this process's share; at least two, so that the order of a tensor's axes in memory shows, in
            which the numbers are drawn.
    """

    def __init__(self, rows: int, own: slice) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows = rows
        self.own = own
        self.paused = False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls an operator, and one that draws for the whole batch."""
        kwargs = kwargs or {}
        # Every operator comes by here, so what draws nothing has to leave quickly.
        if self.paused or torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        name = func._schema.name
        if name in _OF_A_SIZE:
            size = list(args[0])
            return self._own(func(self._whole_size(size, name), *args[1:], **kwargs), size)
        if name in _LIKE_ANOTHER:
            return self._own(func(self._like(args[0], name), *args[1:], **kwargs), args[0].shape)
        if name == _DROPOUT:
            x, rate, training = args
            kept, mask = func(self._like(x, name).fill_(1), rate, training)
            return x * self._own(kept, x.shape), self._own(mask, x.shape)
        if name.endswith("_") and isinstance(args[0], Tensor):
            drawn = func(self._like(args[0], name), *args[1:], **kwargs)
            return args[0].copy_(self._own(drawn, args[0].shape))
        if self._draws_nothing(func, args, kwargs):
            return func(*args, **kwargs)
        raise UsageError(
            f"the network draws at random by {name}, which cannot be drawn for a batch that several processes share",
            hint="Switch its dropout off, or train it in one process: leave --processes out.",
        )

    @staticmethod
    def _draws_nothing(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether an operator that may drop entries, such as attention, is called with the rate 0."""
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        asked = [name for name in _RATES if name in names]
        return bool(asked) and all(given.get(name, 0.0) == 0.0 for name in asked)

    def _whole_size(self, size: Sequence[int], name: str) -> list[int]:
        if len(size) == 0 or size[0] == 1:
            return list(size)
        each, left = divmod(size[0], self.own.stop - self.own.start)
        if left:
            raise UsageError(
                f"the network draws {tuple(size)} numbers by {name}, and the first axis is not that of the trials: "
                "they cannot be drawn for a batch that several processes share",
                hint="Let the trials come first, or train it in one process: leave --processes out.",
            )
        return [each * self.rows, *size[1:]]

    def _like(self, x: Tensor, name: str) -> Tensor:
        """An empty tensor of the whole batch with the axes of `x` in their order in memory."""
        size = self._whole_size(x.shape, name)
        order = sorted(range(x.dim()), key=x.stride, reverse=True)
        inverse = sorted(range(x.dim()), key=order.__getitem__)
        return x.new_empty([size[axis] for axis in order]).permute(inverse)

    def _own(self, whole: Tensor, size: Sequence[int]) -> Tensor:
        if len(size) == 0 or size[0] == 1:
            return whole
        each = len(whole) // self.rows
        return whole[self.own.start * each : self.own.stop * each]
