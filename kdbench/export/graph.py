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
from kdbench.util.extras import BENCH, installing

OPSET = 18
_ANY, _ONE = 2, 1
"""Rows of the example: one would be taken for a constant."""


def examples(inputs: Sequence[SeriesInput | VideoInput], rows: int) -> list[Tensor]:
    """Made-up raw inputs of a batch, of the right shapes and types.

    Args:
        inputs: What the student sees.
        rows: Of the batch.

    Raises:
        UsageError: An input has no fixed length.
    """
    generator = torch.Generator().manual_seed(0)
    made = []
    for entry in inputs:
        if isinstance(entry, VideoInput):
            shape = (rows, entry.channels, entry.frames, entry.frame_size, entry.frame_size)
            made.append(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
        elif entry.samples is None:
            raise UsageError(
                f"the {entry.source} enters the network at its native length, which no graph of it has",
                hint="Export it for torch: --format torch",
            )
        else:
            made.append(torch.randn(rows, len(entry.axes), entry.samples, generator=generator))
    return made


def write_graph(module: RawToLogits, inputs: Sequence[SeriesInput | VideoInput], path: Path) -> None:
    """Writes a network as an ONNX graph; representations and normalisation are part of it.

    Its batch axis is free, or, where a part of the network fixes it, one.

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
            hint=f"Install them: {installing(BENCH)}; or export for torch: --format torch",
        ) from error
    try:
        _export(module, inputs, path, _ANY)
        if _is_free(path):
            return
    except _Inexpressible:
        # Some networks have a form for one trial alone.
        pass
    try:
        _export(module, inputs, path, _ONE)
    except _Inexpressible as error:
        raise UsageError(
            f"this network has no form in ONNX: {error}", hint="Export it for torch: --format torch"
        ) from error


class _Inexpressible(Exception):
    """The exporter failed; the message says where."""


def _is_free(path: Path) -> bool:
    """Whether the first axis of each input has no fixed length."""
    import onnx

    inputs = onnx.load(path).graph.input
    return all(each.type.tensor_type.shape.dim[0].dim_param for each in inputs)


def _export(module: RawToLogits, inputs: Sequence[SeriesInput | VideoInput], path: Path, rows: int) -> None:
    arguments = tuple(examples(inputs, rows))
    # The star argument of `forward`, and its free batch axis.
    free = (tuple({0: torch.export.Dim("batch")} for _ in arguments),)
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
                dynamic_shapes=free if rows == _ANY else None,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        # What the exporter raises depends on the operation that it cannot express.
        cause = error.__cause__ or error
        reason = next((line for line in str(cause).splitlines() if line.strip()), "no reason given")
        raise _Inexpressible(f"{type(cause).__name__}: {reason[:300]}") from error
