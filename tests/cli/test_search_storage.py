"""`kdbench search --storage` with a PostgreSQL that cannot be used: what is wrong, the next step, and no password."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from helpers import WORLD

pytestmark = pytest.mark.postgres
TINY = ["--method", "student_only", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--set", *WORLD]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


def _without_driver(patch: pytest.MonkeyPatch, server: postgres.Server) -> str:
    patch.setitem(sys.modules, "psycopg", None)
    return server.address()


def _without_rights(_: pytest.MonkeyPatch, server: postgres.Server) -> str:
    server.sql("CREATE ROLE guest LOGIN PASSWORD 's3cret/pass@word'")
    return server.address().replace("//kdbench:", "//guest:")


def _unreachable(_: pytest.MonkeyPatch, server: postgres.Server) -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return server.address().replace(f":{server.port}/", f":{taken.getsockname()[1]}/")


WRONG: dict[str, tuple[Any, int, str, str]] = {
    "password": (
        lambda _, server: server.address(password="wrong%2Fs3cret"),
        1,
        'password authentication failed for user "kdbench"',
        "Put the right one into ~/.pgpass or $PGPASSWORD",
    ),
    "server": (_unreachable, 1, "Connection refused", "Check host and port, and that the server runs"),
    "database": (
        lambda _, server: server.address(database="nowhere"),
        1,
        'database "nowhere" does not exist',
        "Make it once, with createdb",
    ),
    "driver": (
        _without_driver,
        2,
        "needs the package 'psycopg', which is not installed",
        "pip install '.[postgresql]'",
    ),
    "other driver": (
        lambda _, server: server.address().replace("postgresql:", "postgresql+pg8000:"),
        2,
        "needs the package 'pg8000', which is not installed",
        "pip install pg8000",
    ),
    "rights": (_without_rights, 1, "permission denied for schema public", "GRANT CREATE, USAGE ON SCHEMA public"),
}


@pytest.mark.parametrize("dry", [False, True], ids=["search", "dry run"])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_address_is_told_with_the_next_step_and_without_the_password(
    what: str,
    dry: bool,
    server: postgres.Server,
    kdbench: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, code, said, step = WRONG[what]
    monkeypatch.setenv("KDBENCH_STORAGE", address(monkeypatch, server))
    done = kdbench("search", *TINY, *(["--dry-run"] if dry else []), "--out", str(tmp_path))
    if what == "rights":
        server.sql("DROP ROLE guest")
        if dry:
            # To look needs no rights, and nothing is there.
            assert done.code == 0, done.err
            return
    assert done.code == code, done.err
    told = " ".join(done.err.split())
    assert said in told
    assert step in told
    assert not any(secret in done.err + done.out for secret in (*postgres.SECRETS, "wrong"))
    assert postgres.leaks(tmp_path) == []


def test_a_dry_run_makes_nothing_in_an_empty_database(
    server: postgres.Server, kdbench: Callable[..., Any], tmp_path: Path
) -> None:
    server.sql("CREATE DATABASE empty")
    place = ["--storage", server.address(database="empty"), "--out", str(tmp_path)]
    done = kdbench("search", *TINY, "--trials", "7", "--dry-run", *place)
    assert done.code == 0, done.err
    assert "7 trials each" in done.out
    assert server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "empty") == "0"
