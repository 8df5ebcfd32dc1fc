"""Calls of a database that may be away for a while: restarted, failed over, or cut off by the network."""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError

PATIENCE_SECONDS = 300.0
"""How long a search waits for its database."""
DATABASE_ERRORS = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 5.0
# https://www.postgresql.org/docs/current/errcodes-appendix.html: serialization_failure, deadlock_detected.
_TO_BE_REPEATED = ("40001", "40P01")
_T = TypeVar("_T")


def cause_of(error: BaseException) -> BaseException:
    """The database's own error, which optuna may have wrapped, or asked again without looking at it."""
    cause = error.__cause__ or error if isinstance(error, StorageInternalError) else error
    if isinstance(cause, sqlalchemy.exc.PendingRollbackError):
        return cause.__context__ or cause
    return cause


def is_away(error: BaseException) -> bool:
    """Whether a call may succeed later: no connection, one that broke, or two transactions in each other's way."""
    cause = cause_of(error)
    if not isinstance(cause, sqlalchemy.exc.DBAPIError):
        return False
    # Without a statement it was the connecting that failed.
    never_there = cause.statement is None and isinstance(
        cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
    )
    return never_there or cause.connection_invalidated or getattr(cause.orig, "sqlstate", None) in _TO_BE_REPEATED


class Patience:
    """Makes calls again while the database is away, for so many seconds without any success.

    Args:
        seconds: How long; 0 for not at all.
        tell: Takes a line when the waiting begins, and one when it has paid.

    Attributes:
        away_at: When a call failed last because the database was away, of `time.monotonic`; None where none did.
    """

    def __init__(self, seconds: float, tell: Callable[[str], None]) -> None:
        self.seconds = seconds
        self._tell = tell
        self._since: float | None = None
        self.away_at: float | None = None

    def of(self, call: Callable[[], _T]) -> _T:
        """What a call returns, once it does.

        Raises:
            Exception: Of the call, where waiting would not help or has not helped.
        """
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                result = call()
            except DATABASE_ERRORS as error:
                if not is_away(error):
                    raise
                self.away_at = now = time.monotonic()
                if self._since is None:
                    self._since = now
                    if self.seconds:
                        self._tell(f"the database is away; waiting for it, for {self.seconds:.0f} s at most")
                # Whoever asks again after that is not kept waiting once more.
                if now - self._since >= self.seconds:
                    raise
            except BaseException as error:
                # A query that was interrupted keeps sqlite's database locked for as long as its cursor lives, which
                # the frames below hold and whoever looks at the error holds them.
                traceback.clear_frames(error.__traceback__)
                raise
            else:
                if self._since is not None and self.seconds:
                    self._tell("the database is back")
                self._since = None
                return result
            try:
                # Not all workers at once.
                time.sleep(wait * (0.5 + secrets.randbelow(1000) / 1000))
            except KeyboardInterrupt:
                self._since = float("-inf")
                raise
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
