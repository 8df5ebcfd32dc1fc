"""Packages that only a part of kdbench needs, and what to install where one is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from kdbench.errors import UsageError

PACKAGE = Path(__file__).parents[1]
BENCH = "bench"
OF_COMMANDS = {"predict": "predict", "stream": "stream"}
"""The extra that a command needs, where it is not `bench`."""


def installing(extra: str, package: Path = PACKAGE) -> str:
    """What one types to install an extra: in a copy of the repository, or where the wheel lies; no index has kdbench.

    Args:
        extra: Its name.
        package: Folder of kdbench's modules.
    """
    project = package.parent / "pyproject.toml"
    if project.is_file() and '\nname = "kdbench"\n' in project.read_text(encoding="utf-8"):
        return f"pip install '.[{extra}]' in {package.parent}"
    version = importlib.metadata.version("kdbench")
    return f"pip install './kdbench-{version}-py3-none-any.whl[{extra}]' in the folder of the wheel"


def lacking(error: ModuleNotFoundError, what: str, extra: str = BENCH) -> UsageError | None:
    """The error for a package that is not installed; None where something else went wrong.

    Args:
        error: Of the import.
        what: What needs it: `kdbench run`.
        extra: The extra that brings it.
    """
    package = (error.name or "").partition(".")[0]
    # The package is there, so that what is missing is within it, which an installation would not mend.
    if not package or package == "kdbench" or importlib.util.find_spec(package) is not None:
        return None
    return UsageError(
        f"{what} needs the package '{package}', which is not installed", hint=f"Install it: {installing(extra)}"
    )
