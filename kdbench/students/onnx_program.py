"""An ONNX graph, run by onnxruntime on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from kdbench.students.schema import Export

LOGITS = "logits"


class OnnxProgram:
    """Runs an ONNX graph.

    Args:
        path: Its file.
        tensors: Names of its inputs, in their order.
        threads: On which it computes.

    Raises:
        ValueError: It takes other inputs.
    """

    def __init__(self, path: Path, tensors: Sequence[str], threads: int) -> None:
        self.session = session_of(path.read_bytes(), threads)
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        taken = [given.name for given in self.session.get_inputs()]
        if taken != list(tensors):
            raise ValueError(f"it takes {', '.join(taken)}, and the export says {', '.join(tensors)}")

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Program`."""
        (logits,) = self.session.run([LOGITS], dict(tensors))
        return np.asarray(logits)


def session_of(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session of a graph on the processor.

    Args:
        content: The graph.
        threads: On which it computes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Warnings about the machine's graphics cards are of no use here.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def open_program(path: Path, export: Export, threads: int) -> OnnxProgram:
    """The network of an export.

    Args:
        path: Its file.
        export: What its `export.json` says.
        threads: On which it computes.
    """
    return OnnxProgram(path, [entry.tensor for entry in export.inputs], threads)
