"""The same network in 8 bits, by onnxruntime: weights and activations, calibrated on trials of the training part."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kdbench.errors import UsageError
from kdbench.export import describe, parity
from kdbench.export.speed import medians_ms
from kdbench.export.trials import Trials, spaced
from kdbench.students.onnx_program import OnnxProgram
from kdbench.students.schema import Int8
from kdbench.students.student import Program
from kdbench.text.wording import counted
from kdbench.util.progress import Reporter

FILE = "model.int8.onnx"
CALIBRATION = 64
"""Trials of the training part, evenly spaced in its order."""
_METHOD = (
    "onnxruntime, static: weights int8 a channel, activations uint8 between their extremes on the calibration trials"
)
_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Relu")


class _Reader:
    """Hands the calibration trials to onnxruntime, one by one."""

    def __init__(self, trials: Trials, names: Sequence[str]) -> None:
        self._tensors: Iterator[Mapping[str, np.ndarray]] = (trials.tensors(name) for name in names)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The inputs of the next trial; None after the last."""
        return next(self._tensors, None)


def quantised(
    graph: Path, trials: Trials, whole: Program, exact: np.ndarray, *, classes: list[str], reporter: Reporter
) -> Int8:
    """Writes the network in 8 bits beside its graph, and measures it on the reported part.

    Args:
        graph: The network in 32 bits.
        trials: The reported part.
        whole: The network in 32 bits, on one thread.
        exact: Logits `(N, K)` of the network in 32 bits.
        classes: Names of the classes.
        reporter: Is told how far it is.

    Raises:
        UsageError: The network cannot be quantised.
    """
    names = spaced(trials.opened.context.split.train, CALIBRATION)
    reporter.message(f"quantising to 8 bits with {counted(len(names), 'trial')} of the training part")
    path = graph.with_name(FILE)
    _quantise(graph, path, _Reader(trials, names))
    program = OnnxProgram(path, [entry.tensor for entry in trials.inputs], threads=1)
    logits = parity.predicted(program, trials, reporter)
    one = trials.tensors(next(iter(trials)))
    took, before = medians_ms(lambda: program(one), lambda: whole(one))
    return Int8(
        file=FILE,
        method=_METHOD,
        calibration=len(names),
        size_bytes=path.stat().st_size,
        scores=describe.scores_from(logits, trials.opened.tested.labels, classes),
        agreement=float((logits.argmax(axis=1) == exact.argmax(axis=1)).mean()),
        largest_difference=float(np.abs(logits - exact).max()),
        network_ms=took,
        network_ms_in_32_bits=before,
    )


def _quantise(graph: Path, path: Path, reader: _Reader) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _silent():
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(graph, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                path,
                reader,
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=list(_OPERATORS),
            )
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            # What onnxruntime raises depends on the operation that it has no form of in 8 bits.
            raise UsageError(
                f"this network has no form in 8 bits: {type(error).__name__}: {str(error).splitlines()[0][:300]}",
                hint="Export it without --int8.",
            ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Without the advice that onnxruntime logs at each call."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
