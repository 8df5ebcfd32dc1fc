"""kdbench: cross-modal knowledge distillation, from wearable sensors to video, compared under identical conditions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kdbench.registry import dataset, encoder, fusion, loss, representation

if TYPE_CHECKING:
    from kdbench.comparison import compare
    from kdbench.explanation.make import explain
    from kdbench.registry.file import load_plugin
    from kdbench.runs.run import run
    from kdbench.tuning.searching import search
    from kdbench.types import Batch, Context, Features

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Context",
    "Features",
    "__version__",
    "compare",
    "dataset",
    "encoder",
    "explain",
    "fusion",
    "load_plugin",
    "loss",
    "representation",
    "run",
    "search",
]

_LAZY = {
    "run": "kdbench.runs.run",
    "compare": "kdbench.comparison",
    "explain": "kdbench.explanation.make",
    "search": "kdbench.tuning.searching",
    "load_plugin": "kdbench.registry.file",
    "Batch": "kdbench.types",
    "Context": "kdbench.types",
    "Features": "kdbench.types",
}


def __getattr__(name: str) -> Any:
    """Imports what needs torch only when it is used."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'kdbench' has no attribute '{name}'")
