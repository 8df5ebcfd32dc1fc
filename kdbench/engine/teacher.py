"""The frozen teacher, as the student's training meets it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from kdbench.data.loader import Loader
from kdbench.engine.compiling import compile_pass
from kdbench.engine.pairing import mispaired
from kdbench.errors import RunFailed
from kdbench.network import Network
from kdbench.types import Batch, Features

# A teacher's outputs over the training part are kept while they fit; the paper's stage maps may not.
CACHE_BYTES = 4 << 30
_MEDDLED = (
    "Look for the loss or plugin that does it: it may read what the teacher gives, and has to leave the teacher alone."
)


class FrozenTeacher:
    """Gives a teacher's features of the student's batches; in eval mode and without gradient.

    What cannot change is computed once: the representation of every trial and, where the network does not couple the
    samples of a batch, its features.

    Args:
        network: The trained teacher.
        loader: The student's training part; the teacher must see the same trials.
        fields: Fields of `Features` that the student's losses read, or None for all.
        ablation: Which ablated input the losses need (`all`, `channel`), or None.
        batch_size: Trials in a batch while the cache is filled.
        accelerator: Device and precision.
        wrong_trials: Give each trial the features of another one of its batch: a control.
    """

    def __init__(
        self,
        network: Network,
        loader: Loader,
        *,
        fields: frozenset[str] | None,
        ablation: str | None,
        batch_size: int,
        accelerator: Accelerator,
        wrong_trials: bool = False,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.fingerprint = fingerprint(network)
        self._accelerator = accelerator
        self._fields = fields
        self._ablation = ablation
        self._wrong_trials = wrong_trials
        self._position = {trial: number for number, trial in enumerate(loader.trials)}
        # Only where each of several equal rows gets what one alone would get.
        once = ablation == "all" and network.fusion.constant_batch_invariant
        self._ablated = self._ablate_once(loader) if once else None
        self._inputs: list[Tensor] | None = None
        self._features: list[Features] | None = None
        # What is asked once is not worth compiling; see `compile`.
        self._pass: Callable[[Sequence[Tensor]], list[Features]] = network.forward
        self._fill(loader, batch_size)

    def compile(self) -> None:
        """Compiles its pass, where it is asked in every step."""
        if self._features is None:
            compile_pass(self.network)
            self._pass = self.network

    @property
    def is_compiled(self) -> bool:
        """Whether its first answers take the time of compiling."""
        return self._pass is self.network

    @property
    def cached(self) -> str:
        """What is kept: `features`, `inputs` or `nothing`."""
        return "features" if self._features is not None else "inputs" if self._inputs is not None else "nothing"

    def __call__(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        """Features of each branch for the batch's trials, in its order.

        Args:
            batch: The student's batch; its ids decide which trials the teacher is asked about.
            seed: Seed of the ablated channels, and of the pairing, where those are drawn.
        """
        batch = batch.head(batch.paired)
        return self._answer(mispaired(batch, seed) if self._wrong_trials else batch, seed=seed)

    @torch.no_grad()
    def _answer(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        rows = self._rows(batch)
        if self._features is not None:
            return [select(features, rows) for features in self._features]
        inputs = (
            self.network.represent(batch) if self._inputs is None else [x.index_select(0, rows) for x in self._inputs]
        )
        with self._accelerator.autocast():
            branches = self._pass(inputs)
            if self._ablation is not None and self._ablated is None:
                generator = torch.Generator().manual_seed(seed)
                logits = self.network.ablated(inputs, mode=self._ablation, generator=generator)
                branches = [b.replace(ablated_logits=x) for b, x in zip(branches, logits, strict=True)]
        if self._ablated is not None:
            count = len(batch)
            branches = [
                b.replace(ablated_logits=x.expand(count, -1)) for b, x in zip(branches, self._ablated, strict=True)
            ]
        return [b.kept(self._fields) for b in branches]

    def check_unchanged(self) -> None:
        """Asserts that the teacher is bit for bit what it was.

        Raises:
            RunFailed: Its state changed, or it left eval mode, during the student's training.
        """
        if any(module.training for module in self.network.modules()):
            raise RunFailed("the frozen teacher was put into training mode while the student trained", hint=_MEDDLED)
        if fingerprint(self.network) != self.fingerprint:
            raise RunFailed("the frozen teacher's state changed while the student trained", hint=_MEDDLED)

    def _rows(self, batch: Batch) -> Tensor:
        try:
            rows = torch.tensor([self._position[trial] for trial in batch.trial])
        except KeyError as error:
            raise RunFailed(
                f"teacher and student see different trials: the teacher has no {error}",
                hint="Give both the same data set: the teacher answers for the trials that it was loaded with.",
            ) from error
        if batch.index.is_cuda:
            rows = rows.pin_memory()
        return rows.to(batch.index.device, non_blocking=True)

    @torch.no_grad()
    def _ablate_once(self, loader: Loader) -> list[Tensor]:
        first = next(iter(loader.batches([0], 1)))
        with self._accelerator.autocast():
            return self.network.ablated(self.network.represent(first), mode="all")

    @torch.no_grad()
    def _fill(self, loader: Loader, batch_size: int) -> None:
        everything = list(range(len(loader)))
        # Where features depend on the batch or on a draw, only the inputs can be kept.
        fixed = not self.network.couples_batch and self._ablation != "channel"
        first = next(iter(loader.batches(everything[:1], 1)))
        inputs = self.network.represent(first)
        kept = [tensor for branch in self._answer(first) for tensor in _tensors(branch)] if fixed else inputs
        # Judged from one trial, before all are computed; 4 bytes a number.
        if sum(tensor.numel() * 4 for tensor in kept) * len(loader) > CACHE_BYTES:
            return
        if fixed:
            parts = [self._answer(batch) for batch in loader.batches(everything, batch_size)]
            self._features = [concatenate([part[b] for part in parts]) for b in range(len(parts[0]))]
        else:
            shown = [self.network.represent(batch) for batch in loader.batches(everything, batch_size)]
            self._inputs = [torch.cat([part[source] for part in shown]) for source in range(len(inputs))]


def fingerprint(network: torch.nn.Module) -> str:
    """Hash of every parameter and buffer, bit for bit."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        # As bytes: NaN is unlike itself, 0 equals -0, and NumPy has no bf16.
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tensors(features: Features) -> list[Tensor]:
    rest = (
        features.logits,
        features.embedding,
        features.semantic,
        features.ablated_logits,
        features.group_logits,
        features.token_errors,
    )
    return [*features.stages, *(tensor for tensor in rest if tensor is not None)]


def select(features: Features, rows: Tensor) -> Features:
    """Some rows of every field."""
    return features.mapped(lambda value: value.index_select(0, rows))


def concatenate(parts: list[Features]) -> Features:
    """The rows of several features, one after the other."""

    def join(values: list[Tensor | None]) -> Tensor | None:
        given = [value for value in values if value is not None]
        return torch.cat(given) if given else None

    return Features(
        logits=torch.cat([part.logits for part in parts]),
        stages=tuple(torch.cat(maps) for maps in zip(*(part.stages for part in parts), strict=True)),
        embedding=torch.cat([part.embedding for part in parts]),
        semantic=join([part.semantic for part in parts]),
        ablated_logits=join([part.ablated_logits for part in parts]),
        group_logits=join([part.group_logits for part in parts]),
        token_errors=join([part.token_errors for part in parts]),
    )
