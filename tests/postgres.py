"""A PostgreSQL of the test's own, of Debian's package: a cluster in its folder, on a free port of this machine.

with serving() as server:
    server.address()     # postgresql://kdbench:…@127.0.0.1:…/kdbench
    server.stop()
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "kdbench", "s3cret/pass@word"
SECRETS = ("s3cret", "pass@word", "pass%40word")
"""What of the password must stand nowhere."""
_QUICK = "fsync=off\nmax_connections=40\nshared_buffers=16MB\n"


def programs() -> Path | None:
    """Folder of initdb and pg_ctl: that on the path, or the newest of Debian's; None where there is none."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@dataclass
class Server:
    """A cluster.

    Attributes:
        folder: Where it lies.
        port: Where it listens, on 127.0.0.1 alone.
    """

    folder: Path
    port: int

    def address(self, *, password: str = "s3cret%2Fpass%40word", database: str = USER) -> str:
        """Its address, with a password as an address writes it."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        listening = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder}"
        _run("pg_ctl", "start", "-w", "-t", "60", "-D", self.data, "-l", self.folder / "log", "-o", listening)

    def stop(self, mode: str = "fast") -> None:
        """Stops it: `fast` ends its connections, `immediate` is a crash."""
        _run("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data)

    @property
    def data(self) -> Path:
        """Folder of its files."""
        return self.folder / "data"

    def sql(self, text: str, database: str = "postgres") -> str:
        """Runs a statement as the cluster's owner."""
        words = ["-X", "-A", "-t", "-h", self.folder, "-p", self.port, "-U", USER, "-d", database, "-c", text]
        return _run("psql", *words).strip()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Makes a cluster with a database, and removes both in the end."""
    # Whoever runs it must reach its folder, and pytest's are this user's alone.
    folder = Path(tempfile.mkdtemp(prefix="kdbench-postgres-"))
    try:
        word = folder / "word"
        word.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, word):
                shutil.chown(path, _owner())
        server = Server(folder, _free_port())
        words = ["--pwfile", word, "-A", "scram-sha-256", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
        _run("initdb", *words, "-D", server.data)
        # Whoever reaches the folder's socket is this test.
        (server.data / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8"
        )
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(_QUICK)
        server.start()
        try:
            server.sql(f"CREATE DATABASE {USER}")
            yield server
        finally:
            with contextlib.suppress(AssertionError):
                server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def leaks(folder: Path) -> list[str]:
    """Files below a folder that hold the password."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(secret.encode() in path.read_bytes() for secret in SECRETS)]


def _owner() -> str | None:
    """Who runs it where root runs the tests, since PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise AssertionError("no user who could run PostgreSQL")


def _run(program: str, *words: object) -> str:
    found = programs()
    assert found is not None
    owner = _owner()
    # The folder of psql is another one in some packages.
    path = found / program if (found / program).exists() else Path(shutil.which(program) or program)
    with tempfile.TemporaryFile() as said:
        # A pipe would be held open by the server that it leaves behind.
        code = subprocess.run(
            [path, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=owner,
            group=None if owner is None else pwd.getpwnam(owner).pw_gid,
            extra_groups=None if owner is None else [],
            timeout=120,
            check=False,
        ).returncode
        said.seek(0)
        text = said.read().decode(errors="replace")
    assert code == 0, f"{program}: {text}"
    return text


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
