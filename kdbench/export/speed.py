"""How long an export takes for one recording."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from kdbench.export.trials import Trials
from kdbench.students.schema import Latency, VideoInput
from kdbench.students.student import Program, tensor_of

REPEATS = 30


def median_ms(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median wall time of a call in milliseconds, after a warm-up."""
    for _ in range(max(1, repeats // 5)):
        call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return round(1000 * statistics.median(times), 3)


def latency_of(program: Program, trials: Trials, *, threads: int) -> Latency:
    """Times one trial, the first of the part.

    Args:
        program: What predicts.
        trials: The part.
        threads: On which the program computes.
    """
    name = next(iter(trials))
    tensors = trials.tensors(name)
    recordings = [(entry, trials.recorded(entry, name, whole=isinstance(entry, VideoInput))) for entry in trials.inputs]
    known = [(entry, recording) for entry, recording in recordings if recording is not None]
    before = None
    if len(known) == len(recordings):
        before = median_ms(lambda: [tensor_of(entry, recording, []) for entry, recording in known], 10)
    return Latency(
        network_ms=median_ms(lambda: program(tensors)),
        preprocessing_ms=before,
        threads=threads,
        runtime=program.runtime,
        processor=platform.machine(),
    )
