"""Packages that only a part of kdbench needs, and what to install where one is missing."""

from __future__ import annotations

import importlib.util

from kdbench.errors import UsageError

BENCH = "bench"
OF_COMMANDS = {"predict": "predict", "stream": "stream"}
"""The extra that a command needs, where it is not `bench`."""


def installing(extra: str) -> str:
    """What one types to install an extra."""
    return f"pip install 'kdbench[{extra}]'"


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
