"""Versions of the libraries that a run's numbers depend on: part of its name and of its conditions."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping

from kdbench import __version__

ALWAYS = ("torch", "torchvision", "timm", "numpy", "scipy")
"""Every network and every loss goes through these; a version of kdbench is always named beside them."""
INSTALLED = (
    *ALWAYS,
    "torchdistill",
    "transformers",
    "accelerate",
    "pyts",
    "av",
    "pillow",
    "scikit-learn",
)
"""What the environment of a run names, whether the run uses it or not."""
_BY_PART = {
    ("loss", "torchdistill"): ("torchdistill",),
    ("semantics", "transformer"): ("transformers",),
    ("dataset", "basic_motions"): ("pyts",),
    ("probe", "linear"): ("scikit-learn",),
}
"""Libraries of single parts: by kind, and by name or the family before its colon."""
_BY_FILE = {
    ".avi": ("av",),
    ".mp4": ("av",),
    ".mkv": ("av",),
    ".mov": ("av",),
    ".webm": ("av",),
    ".png": ("pillow",),
    ".jpg": ("pillow",),
}
"""Libraries that read a view, by the ending of its files."""


def used_by(parts: Iterable[tuple[str, str]], view_file: str | None = None) -> dict[str, str]:
    """Versions of what a run computes with.

    Args:
        parts: Kind and name of its parts, its label vectors and its reader.
        view_file: Pattern of the files of its video view, where there are any.
    """
    names = list(ALWAYS)
    for kind, name in parts:
        names += _BY_PART.get((kind, name.partition(":")[0]), ())
    for ending, needed in _BY_FILE.items():
        if view_file is not None and view_file.lower().endswith(ending):
            names += needed
    return {"kdbench": __version__, **{name: version(name) for name in dict.fromkeys(names)}}


def installed() -> dict[str, str]:
    """Versions of Python, kdbench and all libraries that the numbers of some run may depend on."""
    versions = {name: version(name) for name in INSTALLED}
    return {"python": platform.python_version(), "kdbench": __version__, **versions}


def version(name: str) -> str:
    """The installed version of a library, or that it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What has another version than then, as `torch 2.13, now 2.14`."""
    names = dict.fromkeys([*then, *now])
    pairs = ((name, then.get(name, "not recorded"), now.get(name, "not used")) for name in names)
    return [f"{name} {before}, now {after}" for name, before, after in pairs if before != after]
