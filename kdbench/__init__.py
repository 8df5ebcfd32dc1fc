"""kdbench: cross-modal knowledge distillation, from wearable sensors to video, compared under identical conditions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kdbench.registry import dataset, encoder, fusion, launcher, loss, pooling, representation, semantics

if TYPE_CHECKING:
    from kdbench.comparison import compare
    from kdbench.data.readers.base import Reader
    from kdbench.encoders.base import Encoder
    from kdbench.explanation.make import explain
    from kdbench.export.make import export_run
    from kdbench.fusions.base import Fusion
    from kdbench.poolings.base import Pooling
    from kdbench.registry.file import load_plugin
    from kdbench.representations.base import Representation
    from kdbench.runs.run import run
    from kdbench.students.load import load_student
    from kdbench.tuning.searching import search
    from kdbench.types import Batch, Context, Features

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Context",
    "Encoder",
    "Features",
    "Fusion",
    "Pooling",
    "Reader",
    "Representation",
    "__version__",
    "compare",
    "dataset",
    "encoder",
    "explain",
    "export_run",
    "fusion",
    "launcher",
    "load_plugin",
    "load_student",
    "loss",
    "pooling",
    "representation",
    "run",
    "search",
    "semantics",
]

_LAZY = {
    "run": "kdbench.runs.run",
    "compare": "kdbench.comparison",
    "explain": "kdbench.explanation.make",
    "export_run": "kdbench.export.make",
    "search": "kdbench.tuning.searching",
    "load_plugin": "kdbench.registry.file",
    "load_student": "kdbench.students.load",
    "Batch": "kdbench.types",
    "Context": "kdbench.types",
    "Features": "kdbench.types",
    "Encoder": "kdbench.encoders.base",
    "Fusion": "kdbench.fusions.base",
    "Pooling": "kdbench.poolings.base",
    "Representation": "kdbench.representations.base",
    "Reader": "kdbench.data.readers.base",
}


def __getattr__(name: str) -> Any:
    """Imports what needs torch only when it is used."""
    # A module of the same name would be found first, and hide its function.
    if name in _LAZY:
        try:
            return getattr(importlib.import_module(_LAZY[name]), name)
        except ModuleNotFoundError as error:
            from kdbench.util.extras import lacking

            if (missing := lacking(error, f"kdbench.{name}")) is None:
                raise
            raise missing from error
    raise AttributeError(f"module 'kdbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Lists what is imported on use as well."""
    return sorted({*globals(), *__all__})
