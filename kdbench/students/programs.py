"""What runs an exported network: onnxruntime, torch or LiteRT; imported where an export asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from kdbench.errors import DataError, UsageError, unknown
from kdbench.students.folder import AGAIN
from kdbench.students.schema import Export
from kdbench.students.student import Program
from kdbench.util.extras import lacking

PROGRAMS: Mapping[str, str] = {
    "onnx": "kdbench.students.onnx_program:open_program",
    "torch": "kdbench.students.torch_program:open_program",
    "litert": "kdbench.students.litert_program:open_program",
}
"""Format to what opens its file."""
_EXTRAS = {"onnx": "predict", "torch": "predict-torch", "litert": "predict-litert"}


def open_program(folder: Path, export: Export, *, threads: int, int8: bool) -> Program:
    """Opens the network of an export.

    Args:
        folder: The export.
        export: What its `export.json` says.
        threads: On which it computes.
        int8: The network in 8 bits, which the export may have.

    Raises:
        UsageError: There is none in 8 bits, or what runs it is not installed.
        DataError: It cannot be opened.
    """
    if export.format not in PROGRAMS:
        raise unknown(
            "format of an export", export.format, PROGRAMS, hint="Export the student again with this kdbench."
        )
    if int8 and export.int8 is None:
        raise UsageError(f"{folder} has no network in 8 bits", hint="Make one: kdbench export RUN --format onnx --int8")
    name = export.int8.file if int8 and export.int8 else export.program.file
    module, _, attribute = PROGRAMS[export.format].partition(":")
    try:
        program: Program = getattr(importlib.import_module(module), attribute)(folder / name, export, threads)
    except ModuleNotFoundError as error:
        if (missing := lacking(error, "this export", _EXTRAS[export.format])) is None:
            raise
        raise missing from error
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise DataError(f"{folder / name} cannot be opened: {str(error).splitlines()[0]}", hint=AGAIN) from error
    return program
