"""Encoders, fusions and representations with one error each, and the checks that each of them must fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import encoder, fusion, representation
from kdbench.encoders.conv import Conv1d
from kdbench.fusions.base import JointFusion, Shape
from kdbench.representations.base import Representation
from kdbench.representations.clip import Clip
from kdbench.representations.raw import Raw

BROKEN: list[tuple[Any, set[str]]] = []
"""A component, and the names of the checks that it fails."""


def fails(*checks: str) -> Any:
    def add(component: Any) -> Any:
        BROKEN.append((component, set(checks)))
        return component

    return add


# Encoders


@fails("loads")
@encoder("eats_air", eats="air")
class EatsAir(Conv1d):
    pass


@fails("has_the_declared_stages")
@encoder("wrong_channels", eats="series")
class WrongChannels(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.channels = (32, 64, 96, 127)


@fails("has_the_declared_stages")
@encoder("never_shrinks", eats="series")
class NeverShrinks(Conv1d):
    def stage(self, index: int, x: Tensor) -> Tensor:
        out = super().stage(index, x)
        return nn.functional.interpolate(out, x.shape[-1]) if index == 2 else out


@fails("stages_agree_with_forward")
@encoder("another_forward", eats="series")
class AnotherForward(Conv1d):
    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        maps, embedding = super().forward(x)
        return maps, 2 * embedding


@fails("gives_tokens_over_time")
@encoder("tokens_of_another_width", eats="series")
class TokensOfAnotherWidth(Conv1d):
    token_width = 7


@fails("gives_tokens_over_time")
@encoder("tokens_of_the_batch", eats="series")
class TokensOfTheBatch(Conv1d):
    def tokens(self, last: Tensor) -> Tensor:
        return (last - 0.5 * last.mean(0)).mT


@fails("has_the_declared_stages")
@encoder("five_stages", eats="series")
class FiveStages(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.channels = (*self.channels, 128)

    def stage(self, index: int, x: Tensor) -> Tensor:
        return super().stage(index, x) if index < 4 else x[..., ::2]


@fails("statistics_are_valid")
@encoder("no_spread", eats="series")
class NoSpread(Conv1d):
    statistics = ((0.5,), (0.0,))


@fails("gradient_reaches_every_parameter")
@encoder("idle_layer", eats="series")
class IdleLayer(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.idle = nn.Linear(2, 2)


@fails("prediction_depends_on_every_stage")
@encoder("reads_what_it_kept", eats="series")
class ReadsWhatItKept(Conv1d):
    """As a class token that has seen the patches before they become the last map."""

    def stage(self, index: int, x: Tensor) -> Tensor:
        out = super().stage(index, x)
        if index == 3:
            self._kept = out.mean(2)
        return 1 * out

    def pool(self, last: Tensor) -> Tensor:
        return self._kept


@fails("prediction_depends_on_every_stage")
@encoder("shows_a_copy", eats="series")
class ShowsACopy(Conv1d):
    """Its third map is a view of what it goes on with itself."""

    def stage(self, index: int, x: Tensor) -> Tensor:
        out = super().stage(index, self._own if index == 3 else x)
        self._own = out
        return out * 2 if index == 2 else out


@fails("takes_other_channels")
@encoder("three_axes", eats="series")
class ThreeAxes(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(3)


@fails("takes_a_batch_of_one")
@encoder("needs_company", eats="series")
class NeedsCompany(Conv1d):
    normalisation = "batch"

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.normalisation = "batch"
        self.norm = nn.BatchNorm1d(self.width)

    def pool(self, last: Tensor) -> Tensor:
        return self.norm(super().pool(last))


@fails("train_and_eval_agree")
@encoder("louder_in_training", eats="series")
class LouderInTraining(Conv1d):
    def pool(self, last: Tensor) -> Tensor:
        return super().pool(last) * (2 if self.training else 1)


@fails("normalises_as_declared", "train_and_eval_agree")
@encoder("hides_its_norm", eats="series")
class HidesItsNorm(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, norm="batch")
        self.normalisation = "sample"


@fails("normalises_as_declared")
@encoder("boasts_a_norm", eats="series")
class BoastsANorm(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.normalisation = "batch"


@fails("rows_are_independent_in_eval")
@encoder("compares_rows", eats="series")
class ComparesRows(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.normalisation = "batch"

    def pool(self, last: Tensor) -> Tensor:
        pooled = super().pool(last)
        return pooled - 0.5 * pooled.mean(0)


@fails("is_deterministic")
@encoder("draws_in_eval", eats="series")
class DrawsInEval(Conv1d):
    def pool(self, last: Tensor) -> Tensor:
        return super().pool(last) + 0 * torch.rand(())


@fails("state_round_trips")
@encoder("keeps_weights_to_itself", eats="series")
class KeepsWeightsToItself(Conv1d):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.scale = torch.rand(self.width)

    def pool(self, last: Tensor) -> Tensor:
        return super().pool(last) * self.scale


@fails("inputs_stay_as_they_are")
@encoder("writes_into_maps", eats="series")
class WritesIntoMaps(Conv1d):
    def stage(self, index: int, x: Tensor) -> Tensor:
        if index == 2:
            x.data.mul_(2)
        return super().stage(index, x)


@fails("never_waits_for_the_device")
@encoder("reads_its_input", eats="series")
class ReadsItsInput(Conv1d):
    def stem(self, x: Tensor) -> Tensor:
        return super().stem(x if x.isfinite().all() else torch.zeros_like(x))


# Fusions


class Mean(JointFusion):
    """A joint fusion without error, for others to spoil."""

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        maps = tuple(torch.stack(each).mean(0) for each in zip(*stages, strict=True))
        return maps, self.spoilt(torch.stack(embeddings).mean(0))

    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding


@fails("takes_any_number_of_sources")
@fusion("wrong_width")
class WrongWidth(Mean):
    def spoilt(self, embedding: Tensor) -> Tensor:
        return torch.cat([embedding, embedding], 1)


@fails("takes_any_number_of_sources")
@fusion("pairs_only")
class PairsOnly(Mean):
    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        _, _ = embeddings
        return super().after(stages, embeddings)


@fails("prediction_depends_on_every_map")
@fusion("reads_the_third_maps")
class ReadsTheThirdMaps(Mean):
    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        maps, embedding = super().after(stages, embeddings)
        return maps, nn.functional.adaptive_avg_pool1d(maps[2].flatten(2).mean(2)[:, None], embedding.shape[1])[:, 0]


@fails("gradient_reaches_every_source", "prediction_depends_on_every_map")
@fusion("forgets_a_source")
class ForgetsASource(Mean):
    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        return super().after(stages[:1], embeddings[:1])


@fails("couples_the_batch_as_declared")
@fusion("couples_in_secret")
class CouplesInSecret(Mean):
    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding if self.training else embedding - 0.5 * embedding.mean(0)


@fails("couples_the_batch_as_declared")
@fusion("boasts_of_coupling")
class BoastsOfCoupling(Mean):
    couples_batch = True


@fails("normalises_as_declared")
@fusion("normalises_in_secret")
class NormalisesInSecret(Mean):
    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding - 0.5 * embedding.mean(0) if self.training else embedding


@fails("normalises_as_declared")
@fusion("boasts_of_a_norm")
class BoastsOfANorm(Mean):
    normalisation = "batch"


@fails("follows_the_order_of_the_batch")
@fusion("places_count")
class PlacesCount(Mean):
    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding * (1 + torch.arange(len(embedding), device=embedding.device))[:, None]


@fails("treats_equal_rows_as_declared")
@fusion("grows_with_the_batch")
class GrowsWithTheBatch(Mean):
    couples_batch = True

    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding + embedding.sum(0)


@fails("takes_a_batch_of_one")
@fusion("needs_two_rows")
class NeedsTwoRows(Mean):
    normalisation = "batch"

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__(shapes)
        self.norm = nn.BatchNorm1d(self.width)

    def spoilt(self, embedding: Tensor) -> Tensor:
        return self.norm(embedding)


@fails("survives_bf16_autocast")
@fusion("cancels_in_bf16")
class CancelsInBf16(Mean):
    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__(shapes)
        self.linear = nn.Linear(self.width, self.width)

    def spoilt(self, embedding: Tensor) -> Tensor:
        linear = self.linear(embedding)
        return embedding + torch.log((linear + 1000) - 999 - linear)


@fails("is_deterministic")
@fusion("draws_always")
class DrawsAlways(Mean):
    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding + 0 * torch.rand(())


@fails("state_round_trips")
@fusion("unsaved_scale")
class UnsavedScale(Mean):
    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__(shapes)
        self.scale = torch.rand(self.width)

    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding * self.scale


@fails("inputs_stay_as_they_are")
@fusion("writes_into_branches")
class WritesIntoBranches(Mean):
    def between(self, stage: int, maps: list[Tensor]) -> list[Tensor]:
        maps[0].data.mul_(2)
        return maps


@fails("never_waits_for_the_device")
@fusion("reads_the_batch")
class ReadsTheBatch(Mean):
    def spoilt(self, embedding: Tensor) -> Tensor:
        return embedding / max(1.0, embedding.new_ones(()).item())


# Representations


@fails("loads")
@representation("smells", modality="smell")
class Smells(Raw):
    pass


@fails("makes_what_it_declares")
@representation("calls_it_an_image", modality="sensors")
class CallsItAnImage(Raw):
    makes = "image"


@fails("makes_what_it_declares")
@representation("more_channels", modality="sensors")
class MoreChannels(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], 1)


@fails("rows_are_independent")
@representation("centres_the_batch", modality="sensors")
class CentresTheBatch(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - super().forward(x).mean(0)


@fails("survives_constant_input")
@representation("divides_by_the_spread", modality="sensors")
class DividesByTheSpread(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.std(-1, keepdim=True)


@fails("learns_in_fit_alone")
@representation("learns_from_the_test", modality="sensors")
class LearnsFromTheTest(Raw):
    def __init__(self, channels: int, *, statistics: Any) -> None:
        super().__init__(channels, statistics=statistics)
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.largest.copy_(torch.maximum(self.largest, x.abs().max()))
        return super().forward(x)


@fails("takes_other_channels")
@representation("three_only", modality="sensors")
class ThreeOnly(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * x.new_ones(3, 1)


@fails("takes_both_kinds_of_frames")
@representation("bytes_as_they_are", modality="video")
class BytesAsTheyAre(Clip):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


@fails("padding_has_no_influence")
@representation("averages_the_padding", modality="sensors")
class AveragesThePadding(Raw):
    @classmethod
    def takes_native(cls, parameters: Any) -> bool:  # noqa: ARG003
        return True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).nan_to_num().mean(-1, keepdim=True)


@fails("is_deterministic")
@representation("draws_noise", modality="sensors")
class DrawsNoise(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * torch.rand(())


@fails("state_round_trips")
@representation("unsaved_mean", modality="sensors")
class UnsavedMean(Representation):
    makes = "series"
    mean: Any = 0.0

    def fit(self, values: Tensor) -> None:
        self.mean = values.mean((0, 2))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean


@fails("inputs_stay_as_they_are")
@representation("centres_in_place", modality="sensors")
class CentresInPlace(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(x.mean(-1, keepdim=True)))


@fails("stays_on_the_device")
@representation("goes_through_numpy", modality="sensors")
class GoesThroughNumpy(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.from_numpy(x.cpu().numpy().copy()))
