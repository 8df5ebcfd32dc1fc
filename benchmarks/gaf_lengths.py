"""GAF images by the two readings of a series' length, and what they cost: `python benchmarks/gaf_lengths.py`.

`resampled` cuts each series to `data.series_length` samples before the field; `native` builds the field of the series
as recorded and resizes it. The calls take turns in one process; time is that of the process, ratios are of one turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from kdbench.data.loader import Loader
from kdbench.data.store.open import open_dataset
from kdbench.representations.gaf import GramianAngularField, gramian_angular_field
from kdbench.types import native

HALF = ((0.5,), (0.5,))
SIZES = {"small": (64, 180), "paper": (224, 224)}
BATCH, LONG = 32, 5946


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="utd_mhad")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = open_dataset(options.dataset, video=None, progress=False)
    trials, sensors = list(data.index["trial"]), list(data.sensors)
    console = Console(highlight=False)
    lengths = [len(data.series(trial)[sensors[0]]) for trial in trials]
    console.print(f"{len(trials)} trials of {min(lengths)} to {max(lengths)} samples, median {np.median(lengths):g}")
    for preset, (size, length) in SIZES.items():
        names = [*sensors, *map(native, sensors)]
        loader = Loader(data, trials, device=torch.device("cpu"), series_length=length, sources=names, in_memory=True)
        differences, correlations, times = [], [], []
        for batch in loader.batches(range(len(trials)), BATCH):
            for sensor in sensors:
                series, whole = batch.raw(sensor), batch.raw(native(sensor))
                calls = (timed(image(size), series), timed(image(size, "native"), whole))
                images, seconds = zip(*calls, strict=True)
                times.append(seconds)
                differences.append((images[0] - images[1]).abs().mean((1, 2, 3)))
                correlations.append(torch.stack([correlation(a, b) for a, b in zip(*images, strict=True)]))
        apart, alike, cost = torch.cat(differences), torch.cat(correlations), np.array(times)
        console.print(
            f"{preset}: mean absolute difference {apart.mean():.3f} (a field spans [-1, 1]), correlation of a trial's "
            f"images: median {alike.median():.3f}, lowest twentieth below {alike.quantile(0.05):.2f}; {BATCH} trials "
            f"take {1e3 * np.median(cost[:, 0]):.1f} and {1e3 * np.median(cost[:, 1]):.1f} ms, ratio "
            f"{np.median(cost[:, 1] / cost[:, 0]):.2f}"
        )
    series = torch.randn(1, 3, LONG).cumsum(-1)
    ours, fast = timed(image(224, "native"), series)
    field, slow = timed(resized_field, series)
    console.print(
        f"one trial of {LONG} samples: {1e3 * fast:.1f} ms, by its whole field {1e3 * slow:.0f} ms; they differ by "
        f"{(ours - field).abs().max():.0e}"
    )


def image(size: int, length: Literal["resampled", "native"] = "resampled") -> GramianAngularField:
    """The representation of three axes, without the statistics of a pretraining."""
    return GramianAngularField(3, statistics=HALF, image_size=size, length=length)


def resized_field(series: Tensor) -> Tensor:
    """The n × n field itself, resized."""
    field = gramian_angular_field(series.double())
    return F.interpolate(field, size=(224, 224), mode="bilinear", antialias=True).float()


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's, over all pixels of a trial's image."""
    return torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]


def timed(call: Callable[[Tensor], Tensor], series: Tensor) -> tuple[Tensor, float]:
    """What a call gives, and the seconds that it takes."""
    call(series)
    began = time.process_time()
    made = call(series)
    return made, time.process_time() - began


if __name__ == "__main__":
    main()
