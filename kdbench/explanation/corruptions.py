"""Damage to a trial's input, by name: lost frames, noise, occlusion and a lower frame rate, at a severity.

Every draw depends on the corruption, its severity, the number of the draw, the source and the trial, so that all
networks meet the same damage, whatever their batches are. At the first severity nothing is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from kdbench.data.native import pad
from kdbench.representations.length import lengths_of
from kdbench.types import SENSORS, VIDEO, Batch, is_native, recorded
from kdbench.util.seeds import seed_for

Damage = Callable[[Tensor, float, Generator], Tensor]


@dataclass(frozen=True)
class Corruption:
    """One way to damage an input.

    Attributes:
        damage: From the input of a trial, `(C, T, H, W)` uint8 or in [0, 1] or a series `(axes, n)`, a severity and a
            source of random numbers to the damaged input, of the same shape and type.
        severities: What is measured, the first one being no damage.
        unit: What a severity is.
    """

    damage: Damage
    severities: tuple[float, ...]
    unit: str


def lose(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Loses a share of the samples or frames; each lost one is replaced by the last that came through."""
    count = x.shape[1]
    # One always comes through, or there would be nothing to hold.
    lost = min(round(share * count), count - 1)
    kept = torch.randperm(count, generator=generator)[lost:].sort().values
    return _sample_and_hold(x, kept)


def slow(x: Tensor, step: float, generator: Generator) -> Tensor:
    """Takes every `step`-th sample or frame, from a random first one on, and holds it until the next."""
    step = min(int(step), x.shape[1])
    first = int(torch.randint(step, (1,), generator=generator))
    return _sample_and_hold(x, torch.arange(first, x.shape[1], step))


def _sample_and_hold(x: Tensor, kept: Tensor) -> Tensor:
    """Each moment shows the last of the kept ones; before the first of them, that one."""
    last = torch.searchsorted(kept, torch.arange(x.shape[1]), right=True) - 1
    return x.index_select(1, kept[last.clamp_min(0)].to(x.device))


def pixel_noise(clip: Tensor, deviation: float, generator: Generator) -> Tensor:
    """Adds white noise to each pixel, its standard deviation as a share of the full range, and clips."""
    noise = torch.randn(clip.shape, generator=generator).to(clip.device)
    if clip.dtype == torch.uint8:
        return (clip.float() + 255 * deviation * noise).round().clamp(0, 255).to(torch.uint8)
    return (clip + deviation * noise.to(clip.dtype)).clamp(0, 1)


def series_noise(series: Tensor, deviation: float, generator: Generator) -> Tensor:
    """Adds white noise, its standard deviation as a multiple of that of the axis within the trial."""
    noise = torch.randn(series.shape, generator=generator).to(series)
    return series + deviation * series.std(1, keepdim=True) * noise


def cover(clip: Tensor, share: float, generator: Generator) -> Tensor:
    """Blackens a square of a share of the picture, at a random place, the same in all frames."""
    height, width = clip.shape[2:]
    tall, wide = round(math.sqrt(share) * height), round(math.sqrt(share) * width)
    top = int(torch.randint(height - tall + 1, (1,), generator=generator))
    left = int(torch.randint(width - wide + 1, (1,), generator=generator))
    covered = clip.clone()
    covered[:, :, top : top + tall, left : left + wide] = 0
    return covered


def drop_out(series: Tensor, share: float, generator: Generator) -> Tensor:
    """Sets one stretch of a share of the series to zero, at a random time."""
    count = round(share * series.shape[1])
    first = int(torch.randint(series.shape[1] - count + 1, (1,), generator=generator))
    changed = series.clone()
    changed[:, first : first + count] = 0
    return changed


CORRUPTIONS: dict[str, dict[str, Corruption]] = {
    VIDEO: {
        "frame loss": Corruption(lose, (0, 0.25, 0.5, 0.75, 0.9), "share of the frames that is lost"),
        "noise": Corruption(pixel_noise, (0, 0.05, 0.1, 0.2, 0.4), "standard deviation as a share of the range"),
        "occlusion": Corruption(cover, (0, 0.05, 0.1, 0.2, 0.4), "share of the picture that is covered"),
        "frame rate": Corruption(slow, (1, 2, 4, 8), "one frame in …"),
    },
    SENSORS: {
        "sample loss": Corruption(lose, (0, 0.25, 0.5, 0.75, 0.9), "share of the samples that is lost"),
        "noise": Corruption(series_noise, (0, 0.25, 0.5, 1, 2), "standard deviations of the axis in the trial"),
        "drop-out": Corruption(drop_out, (0, 0.1, 0.2, 0.4, 0.6), "share of the trial that is zero"),
        "sample rate": Corruption(slow, (1, 2, 4, 8, 16), "one sample in …"),
    },
}
"""What is measured, by what the network sees."""


def corrupted(batch: Batch, modality: str, name: str, severity: float, draw: int) -> Batch:
    """A batch whose inputs are damaged.

    Args:
        batch: The batch, which stays as it is.
        modality: Which of its inputs: `sensors` or `video`.
        name: Name of the corruption.
        severity: How much; the first of its severities leaves everything as it is.
        draw: Number of the random draw.
    """
    corruption = CORRUPTIONS[modality][name]
    if severity == corruption.severities[0]:
        return batch

    def damaged(values: Tensor, source: str) -> Tensor:
        rows = []
        ends = lengths_of(values).tolist() if is_native(source) else [values.shape[2]] * len(values)
        for row, trial, end in zip(values, batch.trial, ends, strict=True):
            seed = seed_for("corruption", name, str(severity), draw, recorded(source), trial)
            changed = corruption.damage(row[:, :end], severity, Generator().manual_seed(seed))
            rows.append(pad(changed, row.shape[1]) if is_native(source) else changed)
        return torch.stack(rows)

    if modality == VIDEO:
        video = None if batch.video is None else damaged(batch.video, VIDEO)
        return batch.replace(video=video, views={source: damaged(clip, source) for source, clip in batch.views.items()})
    return batch.replace(sensors={source: damaged(values, source) for source, values in batch.sensors.items()})
