"""Time of images of series against pyts, on the CPU: `python benchmarks/image_speed.py`.

All calls take turns in one process, so that a busy machine slows them alike; a ratio is that of two calls of one turn.
pyts gets the float32 series that we get. Its images are float64, ours float32. Two floors stand beside the fields: the
machine writing as many bytes as our images have, into new memory and again into the same.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from pyts.image import GramianAngularField, MarkovTransitionField, RecurrencePlot
from rich.console import Console
from rich.table import Table

from kdbench.registry import registry
from kdbench.representations.gaf import gramian_angular_field
from kdbench.representations.mtf import markov_transition_field
from kdbench.representations.recurrence import recurrence_plot

HALF = ((0.5,), (0.5,))
REPRESENTATIONS = ("gaf", "mtf", "recurrence", "spectrogram")

Calls = Mapping[str, Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 3, 224), metavar=("B", "AXES", "N"))
    parser.add_argument("--turns", type=int, default=20, help="timed turns of all calls")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    series = torch.randn(options.shape)
    shape = " × ".join(map(str, options.shape))

    table = Table(title=f"{shape}, float32, {options.threads} threads; median (quartiles) of {options.turns} turns")
    for column in ("image", "pyts, ms", "ours, ms", "× faster"):
        table.add_column(column, justify="left" if column == "image" else "right")
    for group in groups(series):
        rows(table, measured(group, options.turns))
        table.add_section()
    Console().print(table)


def groups(series: torch.Tensor) -> list[Calls]:
    """Calls to compare, the reference first in each group."""
    n = series.shape[-1]
    flat = series.flatten(0, 1).numpy()
    out = torch.empty(*series.shape, n)

    def write_new() -> None:
        torch.empty_like(out).fill_(1.0)

    field: dict[str, Callable[[], object]] = {
        "pyts": partial(GramianAngularField().transform, flat),
        "gaf, fresh memory": partial(gramian_angular_field, series),
        "gaf, reused buffer": partial(gramian_angular_field, series, out=out),
        "floor: fill new memory (torch)": write_new,
        "floor: fill the buffer": partial(out.fill_, 1.0),
    }
    for name in REPRESENTATIONS:
        image = registry("representation").get(name)(series.shape[1], statistics=HALF, image_size=n)
        image.fit(series)
        field[f"representation {name}, normalised"] = partial(image, series)
    found: list[Calls] = [field]
    found += [
        {
            "pyts": partial(MarkovTransitionField(image_size=size).transform, flat),
            f"mtf to {size}": partial(markov_transition_field, series, image_size=size),
        }
        for size in (n, n // 4)
    ]
    for parameters in ({}, {"dimension": 3, "time_delay": 2}, {"threshold": "point"}, {"threshold": "distance"}):
        named = ", ".join(f"{key} {value}" for key, value in parameters.items()) or "distances"
        found.append(
            {
                "pyts": partial(RecurrencePlot(**parameters).transform, flat),
                f"recurrence, {named}": partial(recurrence_plot, series, **parameters),
            }
        )
    return found


def measured(calls: Calls, turns: int) -> dict[str, np.ndarray]:
    """Milliseconds of each call in each turn, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for turn in range(turns + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if turn:
                    times[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(each) for name, each in times.items()}


def rows(table: Table, times: dict[str, np.ndarray]) -> None:
    theirs = times.pop("pyts")
    for name, ours in times.items():
        table.add_row(name, quartiles(theirs), quartiles(ours), quartiles(theirs / ours))


def quartiles(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.1f} ({low:.1f} – {high:.1f})"


if __name__ == "__main__":
    main()
