"""Packages that only a part of kdbench needs, and what to install where one is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import urllib.parse
from pathlib import Path

from kdbench.errors import UsageError

PACKAGE = Path(__file__).parents[1]
BENCH = "bench"
OF_COMMANDS = {"predict": "predict", "stream": "stream"}
"""The extra that a command needs, where it is not `bench`."""
_MARKS_OF_BENCH = ("pandas", "mlflow")
"""Packages that nothing but the bench needs."""


def has_bench() -> bool:
    """Whether more is installed than what predicts."""
    return any(importlib.util.find_spec(name) is not None for name in _MARKS_OF_BENCH)


def installing(extra: str, package: Path = PACKAGE) -> str:
    """What one types to install an extra: where kdbench was installed from; no index has it.

    Args:
        extra: Its name.
        package: Folder of kdbench's modules.
    """
    origin = installed_from() if package == PACKAGE else None
    for copy in (package.parent, *([] if origin is None else [origin])):
        project = copy / "pyproject.toml"
        if project.is_file() and '\nname = "kdbench"\n' in project.read_text(encoding="utf-8"):
            return f"pip install '.[{extra}]' in {copy}"
    if origin is not None and origin.is_file():
        return f"pip install '{origin}[{extra}]'"
    version = importlib.metadata.version("kdbench")
    return f"pip install './kdbench-{version}-py3-none-any.whl[{extra}]' in the folder of the wheel"


def installed_from() -> Path | None:
    """The folder or wheel that pip installed kdbench from, as it keeps it by PEP 610; None where nothing says so."""
    try:
        address = json.loads(importlib.metadata.distribution("kdbench").read_text("direct_url.json") or "{}")["url"]
    except (importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError, OSError):
        return None
    parts = urllib.parse.urlsplit(str(address))
    return Path(urllib.parse.unquote(parts.path)) if parts.scheme == "file" else None


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
