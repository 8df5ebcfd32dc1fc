"""A network as a LiteRT model, for phones: one trial at a time, from raw inputs to logits.

The converter pins versions that do not go with kdbench's, so a Python of its own may run it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from kdbench.errors import UsageError
from kdbench.export import litert_converter
from kdbench.export.graph import examples
from kdbench.students.schema import SeriesInput, VideoInput
from kdbench.students.torch_program import RawToLogits
from kdbench.util.extras import installing

_FAILS = ("error:", "Error")


def check_litert(converter: Path | None) -> None:
    """Refuses what would fail for want of a package, before anything is computed.

    Args:
        converter: A Python that has litert-torch; None for this one.

    Raises:
        UsageError: The converter, or what runs its models, is not there.
    """
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise UsageError(
            "LiteRT models are run by ai-edge-litert, which is not installed",
            hint=f"Install it: {installing('predict-litert')}",
        )
    if converter is None and importlib.util.find_spec("litert_torch") is None:
        raise UsageError(
            "an export for LiteRT is converted by litert-torch, which is not installed; it does not go with the "
            "pydantic of kdbench",
            hint="Give it a Python of its own: python -m venv litert; litert/bin/pip install litert-torch; then "
            "--converter litert/bin/python",
        )
    if converter is not None and not converter.is_file():
        raise UsageError(f"there is no program {converter}", hint="For example: --converter litert/bin/python")


def write_litert(
    module: RawToLogits, inputs: Sequence[SeriesInput | VideoInput], path: Path, converter: Path | None
) -> None:
    """Writes a network as a LiteRT model (`.tflite`); representations and normalisation are part of it.

    Args:
        module: The network.
        inputs: What it takes, in its order.
        path: The file.
        converter: As for `check_litert`.

    Raises:
        UsageError: An input has no fixed length, or a part of the network has no form there.
    """
    arguments = tuple(examples(inputs, 1))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "network.pt2")
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.export.save(torch.export.export(module, arguments, strict=False), program)
        command = [str(converter or sys.executable), "-I", str(litert_converter.__file__), str(program), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not path.is_file():
        raise UsageError(
            f"this network has no form in LiteRT: {_reason(done.stderr)}",
            hint="Export it for ONNX or torch: --format onnx",
        )


def _reason(told: str) -> str:
    """The line of a program's errors that says why it ended."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    failing = [line for line in lines if any(word in line for word in _FAILS)]
    return (failing[-1:] or lines[-1:] or ["no reason given"])[0][:300]
