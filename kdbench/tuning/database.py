"""The address of a search's database: its driver, how it is connected to, and what is said where it fails."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import make_url

from kdbench.errors import RunFailed, UsageError
from kdbench.text.redaction import redacted, redacted_words
from kdbench.tuning.patience import DATABASE_ERRORS, cause_of
from kdbench.util.extras import installing

DATABASE = "optuna.db"
_EXTRA = "postgresql"
_EXAMPLES = "For example sqlite:////folder/file.db or postgresql://user@host/name"
_AGAIN = "Repeat the same command: finished trials are kept, the others come back."
_NEXT = {
    r"password authentication failed|no password supplied|authentication failed": "Put the right one into ~/.pgpass or "
    "$PGPASSWORD, or into the address, with / as %2F and @ as %40.",
    r"connection refused|could not translate host|timeout expired|timed out|no route to host|resolve": "Check host and "
    "port, and that the server runs and listens there; or leave --storage out for a sqlite file beside the runs.",
    r"database \S+ does not exist": "Make it once, with createdb on the server, or name one that is there.",
    r"role \S+ does not exist": "Make the user once, with createuser on the server, or name one that is there.",
    r"permission denied": "Let the user make tables there: GRANT CREATE, USAGE ON SCHEMA public TO …, or give it a "
    "database of its own.",
    r"too many (clients|connections)|connection slots": "Take fewer workers, or raise max_connections of the server.",
}
"""What to do next, by what the server or its driver says."""
_CONNECTING: dict[str, Any] = {
    "connect_timeout": 10,
    # A machine that vanishes closes no connection; this finds out within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""Of libpq, which both psycopg and psycopg2 stand on."""


def storage_url(root: Path, given: str | None) -> str:
    """Address of the database: the given one, with a driver, else a sqlite file in the folder of the runs."""
    if given is None or not given:
        return f"sqlite:///{root.absolute() / DATABASE}"
    return re.sub(r"\Apostgres(ql)?://", "postgresql+psycopg://", given)


def shown(url: str) -> str:
    """An address without its passwords."""
    return redacted_words([url])[0]


def check_address(url: str) -> None:
    """Looks at an address and its driver, and connects to nothing.

    Raises:
        UsageError: It is none, or its driver is not installed.
    """
    try:
        make_url(url).get_dialect().import_dbapi()
    except ImportError as error:
        package = str(error.name or make_url(url).get_driver_name())
        more = "" if isinstance(error, ModuleNotFoundError) else f": {str(error).strip().partition(chr(10))[0]}"
        raise UsageError(
            f"--storage {shown(url)} needs the package '{package}', which is not installed{more}",
            hint=f"Install it: {installing(_EXTRA) if 'psycopg' in package else f'pip install {package}'}",
        ) from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise UsageError(
            f"--storage {shown(url)} cannot be opened: {redacted(str(error), url)}", hint=_EXAMPLES
        ) from error


def engine_options(url: str) -> dict[str, Any]:
    """How SQLAlchemy connects to an address."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        # It lets one process write at a time.
        return {"connect_args": {"timeout": 60}}
    # A worker trains for minutes between two calls: idle connections of hundreds of them would fill a server, which has
    # a hundred places by default; and none of them outlives a restart.
    options: dict[str, Any] = {"poolclass": sqlalchemy.pool.NullPool}
    if address.get_driver_name().startswith("psycopg"):
        options["connect_args"] = {key: value for key, value in _CONNECTING.items() if key not in address.query}
    return options


def is_server(url: str) -> bool:
    """Whether a server answers there, which may come back after it was away."""
    return make_url(url).get_backend_name() != "sqlite"


def failure(error: BaseException, url: str, what: str, *, otherwise: str, then: str | None = None) -> RunFailed:
    """What is said where the database of a search fails.

    Args:
        error: Of optuna or SQLAlchemy.
        url: The address.
        what: What cannot be done: `cannot be opened`.
        otherwise: The next step where the error itself does not tell it.
        then: The step after that.
    """
    cause = cause_of(error)
    text = str(getattr(cause, "orig", None) or cause).strip()
    step = next((step for said, step in _NEXT.items() if re.search(said, text, re.IGNORECASE)), otherwise)
    return RunFailed(
        f"the database of the search {what}: {shown(url)}: {redacted(text.partition(chr(10))[0], url)}",
        hint=f"{step}\n{then}" if then else step,
    )


@contextlib.contextmanager
def reachable(url: str) -> Iterator[None]:
    """Says so where the database of the block goes away.

    Raises:
        RunFailed: It did.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        raise failure(error, url, "cannot be used any more", otherwise="Bring it back.", then=_AGAIN) from error
