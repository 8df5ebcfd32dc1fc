"""Dense prediction of the sensors: the student tells the recorded series from its own tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError, near_misses, shortened, unknown_value
from kdbench.losses.checks import check_positive
from kdbench.losses.maps import chosen_stages
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.registry import loss
from kdbench.types import Batch, Context

_RESAMPLES = ("prediction", "target")
_SCALES = ("axis", "source")
_HEADS = ("linear", "none")


@loss("series", on="stages", teacher=False, needs=("series",), labels="unused")
class SeriesPrediction(nn.Module):
    """Smooth L1 between the standardised series of the sensors and what a linear head makes of the student's tokens.

    `L = 1/M sum_m mean smooth_beta(R(W_m h_t + b_m) - (x_m - mean_m) / std_m)`: h_t are the tokens over time of one
    stage (the mean of its map over all other axes), x_m is the series of source m `(axes, n)` and R brings the
    prediction, which has one step a token, to n samples by linear interpolation. `resample="target"` takes the means of
    the series over as many equal parts as there are tokens instead. The second leaves out what is faster than the
    tokens; under the first it stays in the loss, as an error that no student can mend. Every source counts the same,
    however many axes it has.

    There is no teacher and no label: the sensors are the target, as the hallucinated modality is in Hoffman, Gupta and
    Darrell, CVPR 2016, here in the form of its recording. The series are as recorded: what augmentation does to the
    video is not done to them, so that a large rotation of the frames makes the target ambiguous.

    Args:
        context: Gives the widths of the student's stages, and mean and deviation of each axis over the training part.
        sources: Sensors and skeletons to predict; None for all that the data set has.
        stage: Index of the student's stage; the third of four by default, negative ones count from the end.
        resample: `prediction` or `target`.
        beta: Where the loss turns from quadratic to linear, in standard deviations.
        scale: `axis` divides each axis by its own deviation over the training part, `source` all axes of a source by
            the root mean square of their deviations: of joints in one unit, those that move then count for more than
            those that stand still.
        head: `linear`, or `none`: the channels of the stage are the standardised axes of the one source themselves, in
            its order, so that what follows in the network sees the source itself.
        alone: Whether no other loss moves the stage and what comes before it: what follows then sees the stage without
            a gradient, so that the prediction cannot become what tells the training trials apart.

    Raises:
        UsageError: A parameter has no such value, there is no such stage, a source is not read, or the channels of a
            stage without a head are not the axes of one source.
    """

    def __init__(
        self,
        context: Context,
        *,
        sources: Sequence[str] | None = None,
        stage: int = 2,
        resample: Literal["prediction", "target"] = "prediction",
        beta: float = 1.0,
        scale: Literal["axis", "source"] = "axis",
        head: Literal["linear", "none"] = "linear",
        alone: bool = False,
    ) -> None:
        super().__init__()
        check_positive("series", beta=beta)
        if resample not in _RESAMPLES:
            raise unknown_value("resample", resample, _RESAMPLES, of="series")
        if scale not in _SCALES:
            raise unknown_value("scale", scale, _SCALES, of="series")
        if head not in _HEADS:
            raise unknown_value("head", head, _HEADS, of="series")
        if isinstance(sources, str):
            raise ParameterError(
                f"series: sources = '{shortened(sources)}', expected a list of names, or null for all",
                instead={"sources": [sources] if sources in context.series else None},
            )
        if sources is not None and not sources:
            raise ParameterError(
                "series: sources is empty; expected names of sensors or skeletons, or null for all",
                instead={"sources": None},
            )
        count = len(context.student.stages)
        (self.stage,) = chosen_stages((stage,), count, count, key="stage")
        self.shields = (self.stage % count,) if alone else ()
        self.sources = tuple(context.series if sources is None else sources)
        if not self.sources:
            raise UsageError(
                "series predicts the series of sensors, and there is none",
                hint="Give the context the mean and deviation of a series: Context(…, series={NAME: …}).",
            )
        for source in self.sources:
            if source not in context.series:
                raise ParameterError(
                    f"series: there is no source '{shortened(str(source))}'{near_misses(str(source), context.series)}",
                    "sources",
                )
        self.resample = resample
        self.beta = beta
        self.heads = nn.ModuleList()
        for place, source in enumerate(self.sources):
            mean, deviation = context.series[source]
            channels = context.student.stages[stage]
            if head == "none" and (len(self.sources) > 1 or channels != len(mean)):
                axes = ", ".join(f"{len(context.series[one][0])} ({one})" for one in self.sources)
                raise ParameterError(
                    f"series: head = none takes one source with as many axes as the stage has channels ({channels}); "
                    f"axes of the sources: {axes}",
                    "head",
                    instead={"head": "linear"},
                )
            self.heads.append(nn.Linear(channels, len(mean)) if head == "linear" else nn.Identity())
            one = deviation if scale == "axis" else deviation.square().mean().sqrt().expand_as(deviation)
            # What never moves has no scale.
            one = one.where(one > 0, 1)
            self.register_buffer(f"mean{place}", mean[:, None].clone(), persistent=False)
            self.register_buffer(f"scale{place}", one[:, None].clone(), persistent=False)

    def forward(self, student: Sequence[Tensor], *, batch: Batch) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage, and of the batch's series `(B, axes, n)`."""
        tokens = at_least_float32(over_time(student[self.stage]))
        terms = []
        for place, source in enumerate(self.sources):
            series = batch.raw(source).to(tokens.dtype)
            target = (series - self.get_buffer(f"mean{place}")) / self.get_buffer(f"scale{place}")
            head = self.heads[place]
            predicted = tokens
            if isinstance(head, nn.Linear):
                with without_autocast(tokens):
                    predicted = head(tokens.transpose(1, 2).to(head.weight.dtype)).transpose(1, 2)
            if self.resample == "prediction":
                predicted = F.interpolate(predicted, target.shape[2], mode="linear", align_corners=False)
            else:
                target = F.adaptive_avg_pool1d(target, predicted.shape[2])
            terms.append(F.smooth_l1_loss(predicted, target, beta=self.beta))
        return torch.stack(terms).mean()


def over_time(feature: Tensor) -> Tensor:
    """A map `(B, C, *grid)` as its tokens over time `(B, C, S)`, in the order that `Encoder.tokens` has by default.

    Time is the one axis of a series, the last one of an image of a series, and the first of a clip.
    """
    if feature.dim() == 3:
        return feature
    return feature.mean(2) if feature.dim() == 4 else feature.mean((3, 4))
