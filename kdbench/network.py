"""A network: per source a representation and an encoder, a fusion that joins them, and heads."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from kdbench.encoders.base import Encoder
from kdbench.errors import UsageError, unknown
from kdbench.fusions.base import Fusion, Joined
from kdbench.recipes.schema import NetworkSpec, PartSpec
from kdbench.registry import part_of, registry
from kdbench.representations.base import Representation
from kdbench.types import VIDEO, Batch, Features, Widths

ABLATIONS = ("all", "channel")
_AXES = {"series": 1, "image": 2, "clip": 3}


class Network(nn.Module):
    """Representations, encoders, a fusion and heads, from `Batch` to `Features`.

    There is one representation and one encoder per source, and one set of heads per branch. Sources and branches are
    the same unless the fusion is joint, which leaves one branch.

    Args:
        modality: `sensors` or `video`.
        representations: By source.
        encoders: By source, of one architecture.
        fusion: Joins them.
        classes: K.
        semantic: S, the width of the label vectors, or None where no loss needs the semantic feature.
        groups: G, the number of groups of classes, or None where no loss needs their scores.
        axes: Axes of the grids of the stages, or None where they are not known.
    """

    def __init__(
        self,
        modality: str,
        representations: Mapping[str, Representation],
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        *,
        classes: int,
        semantic: int | None,
        groups: int | None = None,
        axes: int | None = None,
    ) -> None:
        super().__init__()
        self.modality = modality
        self.sources = tuple(encoders)
        self.branches = ("+".join(self.sources),) if fusion.joint else self.sources
        self.representations = nn.ModuleList(representations.values())
        self.encoders = nn.ModuleList(encoders.values())
        self.fusion = fusion
        self._seen = nn.ModuleList(nn.ModuleList(nn.Identity() for _ in self.sources) for _ in range(4))
        width = fusion.out_width
        self.classifiers = nn.ModuleList(nn.Linear(width, classes) for _ in self.branches)
        self.projections: nn.ModuleList | None = None
        if semantic is not None:
            self.projections = nn.ModuleList(
                nn.Identity() if width == semantic else nn.Linear(width, semantic) for _ in self.branches
            )
        self.group_heads: nn.ModuleList | None = None
        if groups is not None:
            self.group_heads = nn.ModuleList(_group_head(fusion.auxiliary_width, groups) for _ in self.branches)
        widths = Widths(classes, tuple(fusion.out_channels), width, semantic, groups, axes)
        self.widths = [widths for _ in self.branches]
        self.couples_batch = fusion.couples_batch
        self.provenance: dict[str, bool | str] = {name: encoder.pretrained for name, encoder in encoders.items()}

    def fit(self, values: Mapping[str, Tensor]) -> None:
        """Lets the representations learn from the training part's raw inputs, by source."""
        for name, representation in zip(self.sources, self.representations, strict=True):
            if name in values:
                representation.fit(values[name])  # type: ignore[operator]

    def represent(self, batch: Batch) -> list[Tensor]:
        """The encoders' inputs, one per source: after representation and normalisation.

        Raises:
            UsageError: The batch lacks a source.
        """
        return [
            representation(self._raw(batch, name))
            for name, representation in zip(self.sources, self.representations, strict=True)
        ]

    def _raw(self, batch: Batch, name: str) -> Tensor:
        if self.modality == VIDEO:
            if batch.video is None:
                raise UsageError("the network sees video and the batch has none")
            return batch.video
        if name not in batch.sensors:
            raise unknown("sensor of the batch", name, batch.sensors)
        return batch.sensors[name]

    def forward(self, inputs: Sequence[Tensor]) -> list[Features]:
        """Runs the encoders stage by stage with the fusion between them.

        Args:
            inputs: What `represent` returns.

        Returns:
            The features of each branch; the maps are the fusion's output.
        """
        encoders: list[Any] = list(self.encoders)
        maps = [encoder.stem(x) for encoder, x in zip(encoders, inputs, strict=True)]
        stages: list[list[Tensor]] = []
        for index in range(4):
            maps = [encoder.stage(index, x) for encoder, x in zip(encoders, maps, strict=True)]
            maps = self.fusion.between(index, maps) if index < 3 else self.fusion.last(maps)
            maps = [seen(x) for seen, x in zip(self.seen(index), maps, strict=True)]
            stages.append(maps)
        embeddings = [encoder.pool(last) for encoder, last in zip(encoders, maps, strict=True)]
        outputs: list[Joined] = list(zip(zip(*stages, strict=True), embeddings, strict=True))
        if self.fusion.joint:
            outputs = [self.fusion.after([output[0] for output in outputs], embeddings)]
        return [self._features(index, *output) for index, output in enumerate(outputs)]

    def seen(self, stage: int) -> nn.ModuleList:
        """The modules that the maps of a stage pass through unchanged, one per source: where hooks see them.

        Args:
            stage: Counted from 0.
        """
        held = self._seen[stage]
        assert isinstance(held, nn.ModuleList)
        return held

    def _features(
        self, branch: int, stages: tuple[Tensor, ...], embedding: Tensor, auxiliary: Tensor | None = None
    ) -> Features:
        semantic = None if self.projections is None else self.projections[branch](embedding)
        groups = None
        if self.group_heads is not None:
            groups = self.group_heads[branch](embedding if auxiliary is None else auxiliary)
        return Features(self.classifiers[branch](embedding), stages, embedding, semantic, group_logits=groups)

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
                for each source on its own: every branch has its own input and so its own ablation.
            generator: Source of `channel`'s draws, on the CPU.

        Returns:
            Logits `(B, K)` of each branch.
        """
        if mode not in ABLATIONS:
            raise unknown("ablation", str(mode), ABLATIONS)
        rows = len(inputs[0])
        if mode == "all":
            count = 1 if self.fusion.constant_batch_invariant else rows
            changed = [x.new_zeros(1, *x.shape[1:]).expand(count, *x.shape[1:]) for x in inputs]
        else:
            changed = [_without_channel(x, generator) for x in inputs]
        with evaluating(self):
            return [features.logits.expand(rows, -1) for features in self(changed)]


def _group_head(width: int, groups: int) -> nn.Module:
    hidden = max(width // 2, 1)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, groups))


def _without_channel(x: Tensor, generator: Generator | None) -> Tensor:
    dropped = torch.randint(x.shape[1], (len(x), 1), generator=generator).to(x.device, non_blocking=True)
    kept = torch.arange(x.shape[1], device=x.device) != dropped
    return x * kept.view(*kept.shape, *[1] * (x.dim() - 2))


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


def build_network(
    spec: NetworkSpec,
    *,
    sources: Mapping[str, int],
    classes: int,
    semantic: int | None,
    groups: int | None = None,
    role: str = "",
) -> Network:
    """Builds a network and checks that its parts fit together.

    Parameters are drawn from torch's global generator in a fixed order: the encoders in the order of `sources`, the
    fusion, the classifiers, the semantic projections, the group heads. Seed before calling.

    Args:
        spec: The network's part of a recipe.
        sources: Raw channels by source: axes of each sensor, or channels of the one video view.
        classes: K.
        semantic: S, the width of the label vectors, or None.
        groups: G, the number of groups of classes, or None.
        role: `teacher` or `student`; error messages put it before the recipe's keys.

    Raises:
        UsageError: Unknown parts or parameters, or parts that do not fit: what a representation makes and what the
            encoder takes; a fusion that couples the batch and an encoder with BatchNorm.
    """
    if not sources or (spec.modality == VIDEO and len(sources) != 1):
        raise UsageError(f"{_key(role, 'modality')} = {spec.modality} with the sources {sorted(sources) or 'none'}")
    Represent, Encode, Fuse = (
        registry(kind).get(getattr(spec, kind).name) for kind in ("representation", "encoder", "fusion")
    )
    _check_fit(spec, Represent, Encode, role)
    representations, encoders = {}, {}
    for name, channels in sources.items():
        representations[name] = _construct(
            Represent,
            spec.representation,
            role,
            channels,
            given={"statistics": Encode.statistics},
            kind="representation",
        )
        encoders[name] = _construct(Encode, spec.encoder, role, representations[name].out_channels, kind="encoder")
    first = next(iter(encoders.values()))
    fusion = _construct(Fuse, spec.fusion, role, first.channels, len(encoders), first.width, kind="fusion")
    if fusion.couples_batch and first.normalisation == "batch":
        raise UsageError(
            f"{_key(role, 'fusion')} '{spec.fusion.name}' couples the batch and {_key(role, 'encoder')} "
            f"'{spec.encoder.name}' normalises by BatchNorm: together they tie each prediction to its batch twice",
            hint=f"Normalise per sample, for example --set {_key(role, 'encoder.norm')}=group",
        )
    return Network(
        spec.modality,
        representations,
        encoders,
        fusion,
        classes=classes,
        semantic=semantic,
        groups=groups,
        axes=_AXES[part_of(Encode).declares["eats"]],
    )


def _key(role: str, key: str) -> str:
    return f"{role}.{key}" if role else key


def _check_fit(spec: NetworkSpec, represent: Any, encode: Any, role: str) -> None:
    modality = part_of(represent).declares["modality"]
    if modality != spec.modality:
        fitting = _names("representation", lambda part: part_of(part).declares["modality"] == spec.modality)
        raise UsageError(
            f"{_key(role, 'representation')} '{spec.representation.name}' is for {modality}, and "
            f"{_key(role, 'modality')} is {spec.modality}",
            hint=f"Representations of {spec.modality}: {fitting}",
        )
    eats = part_of(encode).declares["eats"]
    if represent.makes != eats:
        encoders = _names("encoder", lambda part: part_of(part).declares["eats"] == represent.makes)
        makers = _names("representation", lambda part: part.makes == eats)
        raise UsageError(
            f"{_key(role, 'encoder')} '{spec.encoder.name}' takes {eats}, and {_key(role, 'representation')} "
            f"'{spec.representation.name}' makes {represent.makes}",
            hint=f"Encoders that take {represent.makes}: {encoders}. Representations that make {eats}: {makers}.",
        )


def _names(kind: str, fits: Any) -> str:
    return ", ".join(name for name, part in registry(kind).components() if fits(part)) or "none"


def _construct(
    component: Any, spec: PartSpec, role: str, *arguments: Any, kind: str, given: Mapping[str, Any] | None = None
) -> Any:
    path, given = _key(role, kind), given or {}
    parameters = list(inspect.signature(component).parameters.values())
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        open_keys = [p.name for p in parameters[len(arguments) :] if p.name not in given]
        for key in spec.params:
            if key not in open_keys:
                known = [f"{path}.{name}" for name in open_keys]
                raise unknown("recipe key", f"{path}.{key}", known, hint=f"The {kind} is '{spec.name}'.")
    try:
        return component(*arguments, **given, **spec.params)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path} '{spec.name}' cannot be built with {spec.params or 'its defaults'}: {error}",
            hint=f"See its parameters: kdbench describe {spec.name}",
        ) from error
