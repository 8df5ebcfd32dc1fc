"""A network: per branch a representation and an encoder, a fusion that joins them, and heads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint

from kdbench.encoders.base import Encoder
from kdbench.errors import UsageError, unknown
from kdbench.fusions.base import Fusion, Joined
from kdbench.network.sharing import ALONE, Share, mapped
from kdbench.network.statistics import UnmovedStatistics
from kdbench.poolings.base import Pooling
from kdbench.representations.base import Representation
from kdbench.types import Batch, Features, Widths, native

ABLATIONS = ("all", "channel")
_AXES = {"series": 1, "image": 2, "clip": 3}


@dataclass(frozen=True)
class Branch:
    """One branch as built.

    Attributes:
        sees: Its source.
        representation: Its raw input to what its encoder takes.
        encoder: Its backbone.
        pooling: Its tokens to its embedding; None leaves that to the encoder.
        kind: What its encoder takes: `series`, `image` or `clip`.
        native: Whether its representation takes series at their native lengths.
    """

    sees: str
    representation: Representation
    encoder: Encoder
    pooling: Pooling | None = None
    kind: str = "series"
    native: bool = False

    @property
    def reads(self) -> str:
        """Its source, by the name that a batch has for it."""
        return native(self.sees) if self.native else self.sees

    @property
    def width(self) -> int:
        """D, the width of its embedding."""
        return self.encoder.width if self.pooling is None else self.pooling.out_width


class Network(nn.Module):
    """Representations, encoders, a fusion and heads, from `Batch` to `Features`.

    There is one set of heads per branch, or one in all where the fusion is joint.

    Args:
        branches: Each branch by its name.
        fusion: Joins them.
        classes: K.
        semantic: S, the width of the label vectors, or None where no loss needs the semantic feature.
        groups: G, the number of groups of classes, or None where no loss needs their scores.
        skeletons: Which of the sources are joints of a skeleton.

    Attributes:
        branches: Names of the branches.
        heads: Names of what has heads: the branches, or the one that they are joined to.
        sees: The source of each branch.
        reads: The same, by the names that a batch has for them.
        skeletons: Those of the sources that are joints of a skeleton.
        widths: Of each head.
        drop_sources: Chance that a source of a trial is missing in training.
        processes: Those that share its batches while it trains; see `kdbench.network.sharing`.
        told: The fields of its features that are gathered from them, beside the logits; None for all.
        shielded: Stages whose maps what follows sees without a gradient while it trains: the stage, and what comes
            before it, learn from the losses on that map alone.
        checkpointing: Whether the maps within a stage are computed again for the gradient instead of kept.
    """

    def __init__(
        self,
        branches: Mapping[str, Branch],
        fusion: Fusion,
        *,
        classes: int,
        semantic: int | None,
        groups: int | None = None,
        skeletons: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.branches = tuple(branches)
        self.sees = {name: branch.sees for name, branch in branches.items()}
        self.reads = {name: branch.reads for name, branch in branches.items()}
        self.skeletons = frozenset(skeletons) & frozenset(self.sees.values())
        self.heads = ("+".join(self.branches),) if fusion.joint else self.branches
        self.representations = nn.ModuleList(branch.representation for branch in branches.values())
        self.encoders = nn.ModuleList(branch.encoder for branch in branches.values())
        self.poolings = nn.ModuleList(branch.pooling or nn.Identity() for branch in branches.values())
        self._pooled = tuple(branch.pooling is not None for branch in branches.values())
        self._stages = tuple(len(branch.encoder.channels) for branch in branches.values())
        self.fusion = fusion
        self._seen = nn.ModuleList(nn.ModuleList(nn.Identity() for _ in branches) for _ in range(max(self._stages)))
        shapes = fusion.out_shapes
        if len(shapes) != len(self.heads):
            raise UsageError(
                f"a fusion with joint = {fusion.joint} has {len(shapes)} out_shapes, expected {len(self.heads)}",
                hint="A fusion that joins its branches under one head is a JointFusion.",
            )
        self.classifiers = nn.ModuleList(nn.Linear(shape.width, classes) for shape in shapes)
        self.projections: nn.ModuleList | None = None
        if semantic is not None:
            self.projections = nn.ModuleList(
                nn.Identity() if shape.width == semantic else nn.Linear(shape.width, semantic) for shape in shapes
            )
        self.group_heads: nn.ModuleList | None = None
        if groups is not None:
            widths = [fusion.auxiliary_width] if fusion.joint else [shape.width for shape in shapes]
            self.group_heads = nn.ModuleList(_group_head(width, groups, fusion.group_head) for width in widths)
        self.widths = [
            Widths(
                classes,
                shape.channels,
                shape.width,
                semantic,
                groups,
                _AXES[shape.kind],
                token_errors=fusion.rebuilt_tokens or None,
            )
            for shape in shapes
        ]
        self.drop_sources = 0.0
        self.processes = ALONE
        self.told: frozenset[str] | None = None
        self.shielded: frozenset[int] = frozenset()
        self.checkpointing = False
        self.couples_batch = fusion.couples_batch
        self.provenance: dict[str, bool | str] = {name: branch.encoder.pretrained for name, branch in branches.items()}

    def fit(self, values: Mapping[str, Tensor]) -> None:
        """Lets the representations learn from the training part's raw inputs, by what they read."""
        for name, representation in zip(self.branches, self.representations, strict=True):
            if self.reads[name] in values:
                representation.fit(values[self.reads[name]])  # type: ignore[operator]

    def represent(self, batch: Batch) -> list[Tensor]:
        """The encoders' inputs, one per branch: after representation and normalisation.

        Raises:
            UsageError: The batch lacks a source.
        """
        return [
            representation(batch.raw(self.reads[name]))
            for name, representation in zip(self.branches, self.representations, strict=True)
        ]

    def forward(self, inputs: Sequence[Tensor]) -> list[Features]:
        """Runs the encoders stage by stage with the fusion between them.

        Args:
            inputs: What `represent` returns.

        Returns:
            The features of each head; the maps are the fusion's output.
        """
        share = self.processes.share_of(inputs[0].shape[0])
        if share is None:
            return self._features_of(inputs, None, lambda call, *given: call(*given))
        training = share.computing() if self.training else nullcontext(lambda _paused: None)
        with training as pause:

            def joining(call: Callable[..., Any], *given: Any) -> Any:
                """What the fusion does: on the whole batch where it looks beyond a row."""
                looks = self.fusion.couples_batch or (self.training and self.fusion.normalisation == "batch")
                # What it leaves to its base changes nothing, and is not worth a message.
                if not looks or getattr(type(self.fusion), call.__name__) is getattr(Fusion, call.__name__):
                    return call(*given)
                whole = mapped(given, share.gathered)
                pause(True)
                try:
                    return mapped(call(*whole), lambda x: x[share.own])
                finally:
                    pause(False)

            features = self._features_of([x[share.own] for x in inputs], share, joining)
        return [branch.kept(self.told).mapped(share.gathered) for branch in features]

    def _features_of(
        self, inputs: Sequence[Tensor], share: Share | None, joining: Callable[..., Any]
    ) -> list[Features]:
        """The features of each head; `joining` calls the fusion."""
        encoders: list[Any] = list(self.encoders)
        maps = joining(self.fusion.after_stem, [encoder.stem(x) for encoder, x in zip(encoders, inputs, strict=True)])
        stages: list[list[Tensor]] = [[] for _ in encoders]
        for index in range(self.depth):
            # A branch with fewer stages hands its last map on while the others run.
            running = [index < count for count in self._stages]
            maps = [
                self._stage(encoder, index, x, share) if runs else x
                for encoder, x, runs in zip(encoders, maps, running, strict=True)
            ]
            fused = (self.fusion.between, index) if index < self.depth - 1 else (self.fusion.last,)
            maps = joining(*fused, maps)
            maps = [seen(x) if runs else x for seen, x, runs in zip(self.seen(index), maps, running, strict=True)]
            for branch, x, runs in zip(stages, maps, running, strict=True):
                if runs:
                    branch.append(x)
            if self.training and index in self.shielded:
                maps = [x.detach() for x in maps]
        embeddings = joining(self.fusion.embedded, [self._embedding(number, last) for number, last in enumerate(maps)])
        outputs: list[Joined] = list(zip(map(tuple, stages), embeddings, strict=True))
        if self.fusion.joint:
            told = [_present(inputs)] if self.fusion.sees_missing else []
            outputs = [joining(self.fusion.after, [output[0] for output in outputs], embeddings, *told)]
        return [self._features(index, *output) for index, output in enumerate(outputs)]

    def _stage(self, encoder: Any, index: int, x: Tensor, share: Share | None) -> Tensor:
        """One stage of an encoder; of one that is checkpointed, only its input is kept for the gradient."""
        if not (self.checkpointing and self.training and torch.is_grad_enabled()):
            result: Tensor = encoder.stage(index, x)
            return result

        def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
            # The second pass runs outside the first one's contexts, and draws what that one drew.
            return nullcontext(), _Again(encoder, share)

        result = checkpoint(encoder.stage, index, x, use_reentrant=False, context_fn=contexts)
        return result

    def lacking(self, inputs: Sequence[Tensor], missing: Collection[str]) -> list[Tensor]:
        """The inputs with zeros in the places of sources that are missing: standardised, that is what is mean.

        Args:
            inputs: What `represent` returns; left as they are.
            missing: The sources.
        """
        sees = self.sees.values()
        return [torch.zeros_like(x) if source in missing else x for x, source in zip(inputs, sees, strict=True)]

    def dropped(self, inputs: Sequence[Tensor], generator: Generator) -> list[Tensor]:
        """The inputs of a training step, in which each source of each trial is zero by chance, but never all of them.

        Args:
            inputs: What `represent` returns; left as they are.
            generator: Source of the draws, on the CPU.
        """
        if not self.drop_sources:
            return list(inputs)
        sources = list(dict.fromkeys(self.sees.values()))
        draws = torch.rand(len(inputs[0]), len(sources), generator=generator)
        # The source with the largest draw stays in any case.
        kept = (draws >= self.drop_sources).scatter_(1, draws.argmax(1, keepdim=True), True)
        kept = kept.to(inputs[0].device, non_blocking=True)
        # Branches that see one source lose it together.
        return [
            x * kept[:, sources.index(source)].view(-1, *[1] * (x.dim() - 1))
            for x, source in zip(inputs, self.sees.values(), strict=True)
        ]

    def speaking(self, features: Sequence[Features], missing: Collection[str]) -> list[Features]:
        """The heads that predict where sources are missing: those of the other branches; the one of a joint fusion.

        Args:
            features: Of all heads.
            missing: The sources.
        """
        if self.fusion.joint:
            return list(features)
        return [head for head, source in zip(features, self.sees.values(), strict=True) if source not in missing]

    def _embedding(self, branch: int, last: Tensor) -> Tensor:
        encoder: Any = self.encoders[branch]
        if self._pooled[branch]:
            pooled: Tensor = self.poolings[branch](encoder.tokens(last))
            return pooled
        embedding: Tensor = encoder.pool(last)
        return embedding

    @property
    def depth(self) -> int:
        """Stages of the branch that has most of them."""
        return max(self._stages)

    def seen(self, stage: int) -> nn.ModuleList:
        """The modules that the maps of a stage pass through unchanged, one per branch: where hooks see them.

        Args:
            stage: Counted from 0.
        """
        held = self._seen[stage]
        assert isinstance(held, nn.ModuleList)
        return held

    def _features(
        self,
        branch: int,
        stages: tuple[Tensor, ...],
        embedding: Tensor,
        auxiliary: Tensor | None = None,
        token_errors: Tensor | None = None,
    ) -> Features:
        semantic = None if self.projections is None else self.projections[branch](embedding)
        groups = None
        if self.group_heads is not None:
            groups = self.group_heads[branch](embedding if auxiliary is None else auxiliary)
        logits = self.classifiers[branch](embedding)
        return Features(logits, stages, embedding, semantic, group_logits=groups, token_errors=token_errors)

    @staticmethod
    def probabilities(features: Sequence[Features]) -> Tensor:
        """The prediction `(B, K)`: the mean of the branches' softmax outputs, float32."""
        return torch.stack([branch.logits.float().softmax(-1) for branch in features]).mean(0)

    @torch.no_grad()
    def ablated(self, inputs: Sequence[Tensor], mode: str = "all", generator: Generator | None = None) -> list[Tensor]:
        """Class scores on the ablated inputs: apart from the originals, in eval mode, without gradient.

        Args:
            inputs: What `represent` returns; left as they are.
            mode: `all` zeroes everything. All ablated rows are then equal, and one is computed for all unless the
                fusion makes a row depend on how many there are. `channel` zeroes one random channel of each row, drawn
                for each branch on its own: every one has its own input and so its own ablation.
            generator: Source of `channel`'s draws, on the CPU.

        Returns:
            Logits `(B, K)` of each branch.
        """
        if mode not in ABLATIONS:
            raise unknown("ablation", str(mode), ABLATIONS, hint="The paper's is 'all'.")
        rows = len(inputs[0])
        if mode == "all":
            # Where each of several equal rows gets what one alone would get, one is enough.
            count = 1 if self.fusion.constant_batch_invariant else rows
            changed = [x.new_zeros(1, *x.shape[1:]).expand(count, *x.shape[1:]) for x in inputs]
        else:
            changed = [_without_channel(x, generator) for x in inputs]
        with evaluating(self):
            # As `forward`, since a compiled network would need a graph for this alone.
            return [features.logits.expand(rows, -1) for features in self.forward(changed)]


def _present(inputs: Sequence[Tensor]) -> Tensor:
    """Whether each branch has its source `(B, m)`: `lacking` and `dropped` put zeros in the place of one."""
    return torch.stack([(x != 0).flatten(1).any(1) for x in inputs], dim=1)


def _group_head(width: int, groups: int, kind: str) -> nn.Module:
    if kind == "linear":
        return nn.Linear(width, groups)
    hidden = max(width // 2, 1)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, groups))


def _without_channel(x: Tensor, generator: Generator | None) -> Tensor:
    dropped = torch.randint(x.shape[1], (len(x), 1), generator=generator).to(x.device, non_blocking=True)
    kept = torch.arange(x.shape[1], device=x.device) != dropped
    return x * kept.view(*kept.shape, *[1] * (x.dim() - 2))


class _Again:
    """For further passes over the same batch: the running statistics have been moved by the first one already.

    It can be entered again and again, as every gradient through a stage computes it once more.
    """

    def __init__(self, module: nn.Module, share: Share | None) -> None:
        self._module = module
        self._share = share
        self._inside = ExitStack()

    def __enter__(self) -> None:
        self._inside = ExitStack()
        for buffer in self._module.buffers():
            # Counters of batches; the statistics themselves are left out below.
            if not buffer.is_floating_point():
                self._inside.callback(buffer.copy_, buffer.clone())
        if self._share is not None:
            self._inside.enter_context(self._share.computing())
        self._inside.enter_context(UnmovedStatistics())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.close()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module in eval mode, and each of its parts back into the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
