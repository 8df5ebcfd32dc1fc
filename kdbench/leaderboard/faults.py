"""The error for a file of a submission that is not what it should be."""

from __future__ import annotations

from kdbench.errors import DataError

AGAIN = (
    "Write the submission again from its runs: kdbench leaderboard add RUN… --to FOLDER; or take its folder out of the "
    "board."
)


def fault(message: str) -> DataError:
    """A `DataError` about a submission's file, with what its author can do.

    Args:
        message: Which file it is, and what is wrong with it.
    """
    return DataError(message, hint=AGAIN)
