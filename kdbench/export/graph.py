"""A network as an ONNX graph, from raw inputs to logits."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.students.onnx_program import LOGITS
from kdbench.students.schema import SeriesInput, VideoInput
from kdbench.students.torch_program import RawToLogits

OPSET = 18
_BATCH = 2
"""Of the example: one would be taken for a constant."""


def examples(inputs: Sequence[SeriesInput | VideoInput]) -> list[Tensor]:
    """Made-up raw inputs of a batch, of the right shapes and types.

    Args:
        inputs: What the student sees.

    Raises:
        UsageError: An input has no fixed length.
    """
    generator = torch.Generator().manual_seed(0)
    made = []
    for entry in inputs:
        if isinstance(entry, VideoInput):
            shape = (_BATCH, entry.channels, entry.frames, entry.frame_size, entry.frame_size)
            made.append(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
        elif entry.samples is None:
            raise UsageError(
                f"the {entry.source} enters the network at its native length, which no ONNX graph of it has",
                hint="Export it for torch: --format torch",
            )
        else:
            made.append(torch.randn(_BATCH, len(entry.axes), entry.samples, generator=generator))
    return made


def write_graph(module: RawToLogits, inputs: Sequence[SeriesInput | VideoInput], path: Path) -> None:
    """Writes a network as an ONNX graph with a free batch axis; representations and normalisation are part of it.

    Args:
        module: The network.
        inputs: What it takes, in its order.
        path: The file.

    Raises:
        UsageError: onnx or onnxscript is missing, or a part of the network has no form in ONNX.
    """
    try:
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"an ONNX export needs onnx and onnxscript; {error.name} is not installed",
            hint="Install them: pip install 'kdbench[bench]'; or export for torch: --format torch",
        ) from error
    arguments = tuple(examples(inputs))
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                arguments,
                path,
                input_names=[entry.tensor for entry in inputs],
                output_names=[LOGITS],
                opset_version=OPSET,
                # The star argument of `forward`, and its free batch axis.
                dynamic_shapes=(tuple({0: torch.export.Dim("batch")} for _ in arguments),),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        # What the exporter raises depends on the operation that it cannot express.
        cause = error.__cause__ or error
        reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise UsageError(
            f"this network has no form in ONNX: {type(cause).__name__}: {reason[:300]}",
            hint="Export it for torch: --format torch",
        ) from error
