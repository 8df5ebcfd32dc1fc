"""What it costs a student not to know the future: running preprocessing, and windows as a stream has them."""

from __future__ import annotations

import numpy as np

from kdbench.errors import UsageError
from kdbench.export import describe
from kdbench.export.trials import Trials
from kdbench.students.incoming import items_of
from kdbench.students.schema import Causal, Export
from kdbench.students.stream import SMOOTHING, STRIDES, Stream, running, spread, tensor_of_window
from kdbench.students.student import Program, Student
from kdbench.text.wording import counted
from kdbench.util.progress import Reporter


def check_causal(trials: Trials) -> None:
    """Refuses a measurement for which no recordings are at hand.

    Raises:
        UsageError: So it is.
    """
    if prepared := [source for source, origin in trials.origin.items() if origin == "prepared"]:
        raise UsageError(
            f"--causal needs the recordings of the {' and '.join(prepared)}, and only prepared clips are at hand",
            hint=_way_out(trials),
        )


def _way_out(trials: Trials) -> str:
    if describe.reader_of(trials.opened).generated:
        return "Leave it out: no files hold the clips of a generated data set."
    if trials.reader is None:
        return "Say where they are: --data-dir FOLDER"
    return "Leave it out: no file holds what the network is shown of a trial."


def measure(program: Program, trials: Trials, draft: Export, reporter: Reporter) -> Causal:
    """Measures it on the reported part.

    Args:
        program: The network.
        trials: The part.
        draft: The export as it will be, but for this.
        reporter: Is told how far it is.
    """
    names, opened = list(trials), trials.opened
    reporter.message(f"measuring {counted(len(names), 'trial')} without the future")
    window = draft.window.seconds
    methods = [part for entry in trials.inputs for part in (running(entry).method, spread(entry))]
    unmeasured = Causal(
        trials=len(names),
        method="; ".join(dict.fromkeys(methods)),
        whole=draft.scores,
        running=draft.scores,
        windows=draft.scores,
        smoothing=SMOOTHING,
        window_seconds=window,
        stride_seconds=window / STRIDES,
    )
    stream = Stream(Student(opened.run.folder, draft.model_copy(update={"causal": unmeasured}), program))
    whole, last = [], []
    for name in names:
        recordings = {entry.source: trials.recorded(entry, name, whole=True) for entry in trials.inputs}
        arrays = {source: recorded.array for source, recorded in recordings.items() if recorded is not None}
        tensors = {}
        for entry in trials.inputs:
            held = running(entry)
            for seconds, value in items_of(arrays[entry.source], entry.rate_hz):
                held.add(seconds, value)
            tensors[entry.tensor] = tensor_of_window(entry, held, [])[np.newaxis]
        whole.append(program(tensors)[0])
        feeds = {entry.source: items_of(arrays[entry.source], entry.rate_hz) for entry in trials.inputs}
        seen = [each.smoothed for each in stream.watch(feeds) if each.smoothed is not None]
        last.append(np.log(np.maximum(seen[-1], 1e-30)))
    labels, classes = opened.tested.labels, list(draft.class_names)
    measured = {
        "running": describe.scores_from(np.stack(whole), labels, classes),
        "windows": describe.scores_from(np.stack(last), labels, classes),
    }
    return unmeasured.model_copy(update=measured)
