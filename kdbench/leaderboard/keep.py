"""What is kept between two builds of a board: submissions that stood, and the hashes of their pages.

A submission is kept under the hash of all its files, of its place and of kdbench's own code, and only if it stood. All
of its files are read and hashed whenever a board is built, so that what is found is of these files and no others: an
edited one, one file more or less, or another kdbench leads to another hash, and the submission is checked as one that
nobody knows. Where the file of the keep cannot be used, everything is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import zlib
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.leaderboard.entry import BoardEntry, is_linked
from kdbench.leaderboard.files import MOST_BYTES, read_bytes
from kdbench.leaderboard.packing import Packed, Trials, pack, unpack
from kdbench.leaderboard.tier import Tier
from kdbench.util.own_code import own_code
from kdbench.util.paths import cache_dir

_FORMAT = "3"
_MOST = 20_000
"""Submissions and pages that are kept; the oldest go first."""
_AT_A_TIME = 200
"""Submissions that are written at once, so that no other build has to wait for long."""
_WAIT_SECONDS = 5
_BROKEN = (OSError, sqlite3.Error, ValueError, KeyError, zlib.error)


def key_of(folder: Path) -> str | None:
    """Hash of all files of a submission, of its place in the board, and of kdbench's own code.

    Returns:
        None where it has to be checked whatever is kept: something in its folder is no file of a submission.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
        if is_linked(folder) or not set(names) <= set(MOST_BYTES):
            return None
        files = {name: hashlib.sha256(read_bytes(folder, name)).hexdigest() for name in names}
    except (OSError, KdbenchError):
        return None
    content = [own_code(), folder.absolute().parts[-4:], files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Keep:
    """The keep, a context, at whose end what is new is written.

    Args:
        path: Its file; by default in the user's cache folder.

    Attributes:
        path: The same.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_dir() / "board.db"
        self._store: sqlite3.Connection | None = None
        self._new: dict[str, Packed] = {}
        self._pages: dict[str, str] = {}
        self._trials: dict[str, Trials] = {}

    def __enter__(self) -> Keep:
        with contextlib.suppress(*_BROKEN):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._store = _opened(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        if self._store is not None:
            self._store.close()
            self._store = None

    def find(self, folder: Path, key: str) -> tuple[BoardEntry, Tier] | None:
        """A submission that stood, and how far it was proven.

        Args:
            folder: Where it lies.
            key: Its key.

        Returns:
            None where nothing is kept under this key.
        """
        with contextlib.suppress(*_BROKEN, KdbenchError):
            row = self._row("SELECT head, numbers, trials FROM submissions WHERE key = ?", key)
            if row is not None:
                head, numbers, sha256 = row
                return unpack(folder, head, numbers, self._trials_of(sha256))
        return None

    def add(self, key: str, entry: BoardEntry, tier: Tier) -> None:
        """Keeps a settled submission that stands."""
        if self._store is not None and (packed := pack(entry, tier)) is not None:
            self._new[key] = packed
            if len(self._new) >= _AT_A_TIME:
                self._write()

    def page(self, key: str) -> str | None:
        """The sha256 of a page, by the hash of all that it was made of; None where none is kept."""
        with contextlib.suppress(*_BROKEN):
            row = self._row("SELECT sha256 FROM pages WHERE key = ?", key)
            return None if row is None else str(row[0])
        return None

    def add_page(self, key: str, sha256: str) -> None:
        """Keeps the hash of a page."""
        self._pages[key] = sha256

    def _row(self, query: str, key: str) -> tuple[bytes, bytes, str] | None:
        row: tuple[bytes, bytes, str] | None = None
        if self._store is not None:
            row = self._store.execute(query, (key,)).fetchone()
        return row

    def _trials_of(self, sha256: str) -> Trials:
        if sha256 not in self._trials:
            row = self._row("SELECT content FROM trials WHERE sha256 = ?", sha256)
            if row is None or hashlib.sha256(row[0]).hexdigest() != sha256:
                raise KeyError(sha256)
            self._trials[sha256] = Trials.unpacked(row[0])
        return self._trials[sha256]

    def _write(self) -> None:
        new, pages = self._new, self._pages
        self._new, self._pages = {}, {}
        if self._store is None or not (new or pages):
            return
        with contextlib.suppress(*_BROKEN), self._store:
            self._store.executemany("INSERT OR IGNORE INTO trials VALUES (?, ?)", {p.trials for p in new.values()})
            self._store.executemany(
                "INSERT OR REPLACE INTO submissions VALUES (?, ?, ?, ?)",
                [(key, packed.head, packed.numbers, packed.trials[0]) for key, packed in new.items()],
            )
            self._store.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?)", pages.items())
            for table in ("submissions", "pages"):
                self._store.execute(f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - {_MOST}")


def _opened(path: Path) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=_WAIT_SECONDS)
    try:
        with store:
            if store.execute("PRAGMA user_version").fetchone() != (int(_FORMAT),):
                for table in ("submissions", "pages", "trials"):
                    store.execute(f"DROP TABLE IF EXISTS {table}")
                store.execute(f"PRAGMA user_version = {_FORMAT}")
            store.execute(
                "CREATE TABLE IF NOT EXISTS submissions (key TEXT PRIMARY KEY, head BLOB, numbers BLOB, trials TEXT)"
            )
            store.execute("CREATE TABLE IF NOT EXISTS pages (key TEXT PRIMARY KEY, sha256 TEXT)")
            store.execute("CREATE TABLE IF NOT EXISTS trials (sha256 TEXT PRIMARY KEY, content BLOB)")
    except sqlite3.Error:
        store.close()
        raise
    return store
