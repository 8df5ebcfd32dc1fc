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


def medians_ms(*calls: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    """Median processor time of each of some calls in milliseconds, in turn, after a warm-up.

    It is the time of this thread, in which a single-threaded program computes: what a call takes on a core of its own,
    whatever else the machine does.

    Args:
        *calls: What is timed.
        repeats: How often each is called.
    """
    times: list[list[float]] = [[] for _ in calls]
    for number in range(-max(1, repeats // 5), repeats):
        for call, mine in zip(calls, times, strict=True):
            began = time.thread_time()
            call()
            if number >= 0:
                mine.append(time.thread_time() - began)
    return [round(1000 * statistics.median(mine), 3) for mine in times]


def latency_of(program: Program, trials: Trials) -> Latency:
    """Times one trial, the first of the part.

    Args:
        program: What predicts, on one thread.
        trials: The part.
    """
    name = next(iter(trials))
    tensors = trials.tensors(name)
    recordings = [(entry, trials.recorded(entry, name, whole=isinstance(entry, VideoInput))) for entry in trials.inputs]
    known = [(entry, recording) for entry, recording in recordings if recording is not None]
    before = None
    if len(known) == len(recordings):
        (before,) = medians_ms(lambda: [tensor_of(entry, recording, []) for entry, recording in known], repeats=10)
    (network,) = medians_ms(lambda: program(tensors))
    return Latency(
        network_ms=network,
        preprocessing_ms=before,
        threads=1,
        runtime=program.runtime,
        processor=platform.machine(),
    )
