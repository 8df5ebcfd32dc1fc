"""The error for a finished run whose files are no longer those that it wrote."""

from __future__ import annotations

from kdbench.errors import DataError


def damaged(message: str) -> DataError:
    """A `DataError` about a run's files, with what its owner can do.

    Args:
        message: Which file it is, and what is wrong with it.
    """
    return DataError(
        message, hint="Repeat the run's command, which trains it again; or remove the run: kdbench runs rm RUN"
    )
