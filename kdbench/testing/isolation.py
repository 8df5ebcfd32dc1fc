"""Checks leave no trace in the process: random states, warnings, gradient mode and default precision are restored."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

SEED = 20


@dataclass(frozen=True)
class RandomStates:
    """The state of every global source of random numbers: torch's on the CPU and each GPU, numpy's, Python's."""

    torch_cpu: torch.Tensor
    torch_cuda: tuple[torch.Tensor, ...]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> RandomStates:
        """The present states."""
        cuda = tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else ()
        return cls(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())  # noqa: NPY002

    def restore(self) -> None:
        """Puts the states back."""
        torch.set_rng_state(self.torch_cpu)
        if self.torch_cuda:
            torch.cuda.set_rng_state_all(list(self.torch_cuda))
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)

    def changed(self, later: RandomStates) -> list[str]:
        """The sources that were drawn from between this and a later moment, as their users call them."""
        sources = []
        if not torch.equal(self.torch_cpu, later.torch_cpu):
            sources.append("torch's (torch.rand, dropout, …)")
        if any(not torch.equal(a, b) for a, b in zip(self.torch_cuda, later.torch_cuda, strict=False)):
            sources.append("torch's on the GPU")
        if self.numpy[2] != later.numpy[2] or not np.array_equal(self.numpy[1], later.numpy[1]):
            sources.append("numpy's (np.random)")
        if self.python != later.python:
            sources.append("Python's (random)")
        return sources


def seed_everything() -> None:
    """Seeds every global source alike, so that what draws from them draws the same each time."""
    torch.manual_seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002
    random.seed(SEED)


@contextmanager
def isolated() -> Iterator[None]:
    """Runs a block under known random states and with gradients, and restores what was there before."""
    before, dtype = RandomStates.now(), torch.get_default_dtype()
    seed_everything()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        before.restore()
        torch.set_default_dtype(dtype)
