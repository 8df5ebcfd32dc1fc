"""One cell of the benchmark: method × dataset × protocol × preset × seed, and what makes two of them equal."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
from dataclasses import dataclass
from typing import Any

from kdbench import __version__
from kdbench.data.store import Dataset
from kdbench.recipe import NetworkSpec, Recipe
from kdbench.types import VIDEO

LIBRARIES = ("torch", "torchvision", "timm", "transformers", "accelerate", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Cell:
    """What a run is a run of.

    Attributes:
        recipe: The method as resolved.
        dataset: The prepared data.
        protocol: Name of the split.
        preset: Name of the size.
        seed: The run's seed.
    """

    recipe: Recipe
    dataset: Dataset
    protocol: str
    preset: str
    seed: int

    @property
    def method(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def folder(self) -> str:
        """Name of the run's folder: readable parts, then a hash of everything that its numbers depend on."""
        parts = (self.method, self.dataset.card.name, self.protocol, self.preset, f"s{self.seed}")
        return f"{'-'.join(re.sub(r'[^A-Za-z0-9_.]', '_', part) for part in parts)}-{_hash(self._key())}"

    @property
    def teacher_folder(self) -> str:
        """Name of the teacher's folder; equal for all methods that use the same teacher."""
        parts = (self.dataset.card.name, self.protocol, self.preset, f"s{self.seed}")
        return f"{'-'.join(parts)}-{_hash(self._teacher_key())}"

    def _shared_key(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "dataset": self.dataset.card.name,
            "protocol": self.protocol,
            "preset": self.preset,
            "seed": self.seed,
            "validation": recipe.selection.needs_validation,
            "rule": recipe.selection.rule,
            "precision": recipe.precision,
            "compile": recipe.compile,
            "semantics": recipe.semantics.model_dump(),
        }

    def _key(self) -> dict[str, Any]:
        recipe = self.recipe.model_dump(exclude={"summary", "source"})
        return self._shared_key() | {"recipe": recipe, "fingerprint": self.dataset.fingerprint}

    def _teacher_key(self) -> dict[str, Any]:
        teacher = self.recipe.teacher
        key = self._shared_key() | {
            "teacher": teacher.model_dump() if teacher else None,
            "series_length": self.recipe.data.series_length,
            "fingerprint": self.dataset.series_fingerprint,
        }
        if teacher and teacher.modality == VIDEO:
            key |= {"data": self.recipe.data.model_dump(), "fingerprint": self.dataset.fingerprint}
        return key

    def conditions(self) -> dict[str, Any]:
        """All that must be equal for two results to stand in one ranking."""
        recipe = self.recipe
        reported = recipe.student or recipe.teacher
        assert reported is not None
        return {
            "dataset": self.dataset.card.name,
            "fingerprint": self.dataset.fingerprint,
            "packed": self.dataset.packed,
            "view": self.dataset.view if reported.modality == "video" else None,
            "protocol": self.protocol,
            "preset": self.preset,
            "part": recipe.selection.part,
            "selection": recipe.selection.rule,
            "data": recipe.data.model_dump(),
            "encoder": reported.encoder.model_dump(),
            "train": reported.train.model_dump(),
            "augment": reported.augment.model_dump(),
            "precision": recipe.precision,
            "compile": recipe.compile,
            "test_modalities": test_modalities(reported, self.dataset),
            "tuning": "defaults",
            "libraries": library_versions(),
        }


def test_modalities(spec: NetworkSpec, dataset: Dataset) -> list[str]:
    """What a network is shown at test time."""
    if spec.modality == "video":
        return [f"video:{dataset.view}"]
    return list(spec.sensors or dataset.sensors)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that numbers depend on."""
    versions = {"python": platform.python_version(), "kdbench": __version__}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def environment(device: Any) -> dict[str, Any]:
    """The machine and the software, as far as they explain a figure; no host name, no user, no path."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "libraries": library_versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "gpu": gpu,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "command": ["kdbench", *sys.argv[1:]],
    }


def _hash(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:10]
