"""Distributions that tests install for themselves: their metadata and modules in a folder on the import path."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

COSINE = '''
"""A plugin."""
import torch.nn.functional as F
from kdbench import loss


@loss("cosine", on="embedding")
def cosine(student, teacher):
    """Cosine distance of pooled features [x], (B, D) each."""
    return 1 - F.cosine_similarity(student, teacher).mean()
'''
POINTS = "[kdbench.losses]\ncosine = cosine_kd:cosine\n"


class Site:
    """A folder of installed distributions.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, name: str, points: str | bytes, files: Mapping[str, str] | None = None, *, metadata: str | None = None
    ) -> Path:
        """Installs version 1.5 of a distribution.

        Args:
            name: Its name.
            points: Its `entry_points.txt`.
            files: Its modules and other files, by their path.
            metadata: Its `METADATA`, where that is not as usual; empty for none.

        Returns:
            The folder of its metadata.
        """
        info = self.folder / f"{name}-1.5.dist-info"
        info.mkdir(parents=True)
        written = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n" if metadata is None else metadata
        if written:
            (info / "METADATA").write_text(written)
        (info / "entry_points.txt").write_bytes(points.encode() if isinstance(points, str) else points)
        for path, text in (files or {}).items():
            self.write(path, text)
        return info

    def write(self, path: str, text: str) -> Path:
        """Writes a file of a distribution."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


@contextmanager
def site_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder on the import path; afterwards what was imported from it is forgotten, and lines are said anew."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("kdbench.registry.notice._said", set())
    try:
        yield Site(folder)
    finally:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def loss_source(name: str, value: float = 1.0, head: str = "") -> str:
    """A module with one loss, `name`, whose value is a constant of the plugin's own."""
    return f"""{head}
from kdbench import loss


@loss("{name}", on="logits")
def {name}(student, teacher):
    \"\"\"The loss {name}.\"\"\"
    return {value} * (student - teacher).square().mean()
"""
