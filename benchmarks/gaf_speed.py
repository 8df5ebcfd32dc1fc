"""Time of Gramian angular fields against pyts, into fresh memory: `python benchmarks/gaf_speed.py`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from pyts.image import GramianAngularField as Reference
from rich.console import Console
from rich.table import Table

from kdbench.representations.gaf import GramianAngularField, gramian_angular_field

HALF = ((0.5,), (0.5,))
CASES = ((64, 3, 64), (64, 3, 180), (64, 3, 224))


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="calls a figure is the best of")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    table = Table(title=f"GAF, best of {options.repeats} calls, ms; {options.threads} threads, float32 series")
    for column in ("batch × axes × samples", "pyts", "function", "× faster", "representation to 224²", "to 64²"):
        table.add_column(column, justify="right")
    for batch, axes, samples in CASES:
        series = torch.randn(batch, axes, samples)
        rows = series.flatten(0, 1).numpy()
        theirs = milliseconds(partial(Reference().transform, rows), options.repeats)
        ours = milliseconds(partial(gramian_angular_field, series), options.repeats)
        images = []
        for size in (224, 64):
            to_image = GramianAngularField(axes, statistics=HALF, image_size=size)
            images.append(milliseconds(partial(to_image, series), options.repeats))
        cells = [theirs, ours, theirs / ours, *images]
        table.add_row(f"{batch} × {axes} × {samples}", *(f"{cell:.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
