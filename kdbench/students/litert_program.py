"""A LiteRT model, run by LiteRT's interpreter on the processor: one trial at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kdbench.students.schema import Export
from kdbench.text.wording import counted
from kdbench.util.silence import silence

_NUMBER = re.compile(r"(\d+)$")


class LitertProgram:
    """Runs a LiteRT model.

    Args:
        path: Its file.
        tensors: Names of its inputs, in their order.
        threads: On which it computes.

    Raises:
        ValueError: It takes another number of inputs.
    """

    def __init__(self, path: Path, tensors: Sequence[str], threads: int) -> None:
        # The interpreter reads from the bytes as long as it lives.
        self._content = path.read_bytes()
        with silence():
            interpreter = Interpreter(model_content=self._content, num_threads=threads)
            interpreter.allocate_tensors()
        self._run = interpreter.get_signature_runner()
        self.runtime = f"LiteRT {version('ai-edge-litert')}"
        # Its arguments are numbered: args_0, args_1.
        taken = sorted(self._run.get_input_details(), key=lambda name: int(_NUMBER.findall(name)[0]))
        if len(taken) != len(tensors):
            raise ValueError(f"it takes {counted(len(taken), 'input')}, and the export says {', '.join(tensors)}")
        self._inputs = dict(zip(tensors, taken, strict=True))

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Program`; the batch is one."""
        given = {name: np.ascontiguousarray(tensors[tensor]) for tensor, name in self._inputs.items()}
        (logits,) = self._run(**given).values()
        return np.array(logits)


def open_program(path: Path, export: Export, threads: int) -> LitertProgram:
    """The network of an export.

    Args:
        path: Its file.
        export: What its `export.json` says.
        threads: On which it computes.
    """
    return LitertProgram(path, [entry.tensor for entry in export.inputs], threads)
