"""Unpacks what strangers packed, tables and pictures, in a process of its own that may crash, hang and fill its memory.

The libraries that unpack are written in C++, where a damaged file may end the process that reads it. The bytes go to
the other process, and plain arrays come back; one that dies is replaced, and costs the file that killed it its answer.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np

from kdbench.errors import DataError

SECONDS = 60.0
"""How long one file may take to unpack; an honest one takes a tenth of a second."""
MOST_MEMORY = 3 * 2**30
"""Bytes that unpacking a file may take."""
_MOST_ANSWER = 2 * 2**30
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from kdbench.leaderboard import reading; reading.answer()"
)


def arrays(name: str, data: bytes, **about: int) -> list[np.ndarray]:
    """What a file holds, as plain arrays.

    Args:
        name: The file's name, of those in `_reads`.
        data: Its content.
        about: What its reader has to know.

    Raises:
        DataError: It is not what its name says, or too much.
    """
    said, answer = _READER.ask(name, data, about)
    if "problem" in said:
        raise DataError(said["problem"])
    with np.load(io.BytesIO(answer), allow_pickle=False) as held:
        return [held[f"arr_{number}"] for number in range(said["arrays"])]


class _Reader:
    """The other process, started when the first file is read."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._parent = 0
        self._alone = threading.Lock()

    def ask(self, name: str, data: bytes, about: dict[str, int]) -> tuple[dict[str, Any], bytes]:
        with self._alone:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                _send(process.stdin, {"name": name, "about": about}, data)
                return _received(process.stdout)
            except (OSError, ValueError, EOFError) as error:
                slow = not timer.is_alive()
                self.close()
                why = f"takes longer than {SECONDS:.0f} s" if slow else "ends the process that reads it"
                raise DataError(f"{name} cannot be read: it {why}") from error
            finally:
                timer.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        # A process that was forked from this one has to start one of its own.
        if self._process is None or self._process.poll() is not None or self._parent != os.getpid():
            self._parent = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._process

    def close(self) -> None:
        if self._process is not None and self._parent == os.getpid():
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
        self._process = None


_READER = _Reader()
atexit.register(_READER.close)


def answer() -> None:
    """What the other process does: it answers, one file after the other, until nobody asks any more."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    # What a library prints may not come between the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            asked, data = _received(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found = _read(asked["name"], data, asked["about"])
            buffer = io.BytesIO()
            np.savez(buffer, *found, allow_pickle=False)
            _send(out, {"arrays": len(found)}, buffer.getvalue())
        except DataError as error:
            _send(out, {"problem": error.message}, b"")
        except MemoryError:
            most = MOST_MEMORY // 2**20
            _send(out, {"problem": f"{asked['name']} takes more than {most} MiB of memory when it is unpacked"}, b"")
        except Exception as error:
            why = f"{type(error).__name__}: {str(error)[:200]}"
            _send(out, {"problem": f"{asked['name']} cannot be read: {why}"}, b"")


def _read(name: str, data: bytes, about: dict[str, int]) -> list[np.ndarray]:
    from kdbench.leaderboard.picture import redrawn
    from kdbench.leaderboard.predictions import unpacked
    from kdbench.leaderboard.schema import PICTURE

    if name == PICTURE:
        return [np.frombuffer(redrawn(data), dtype=np.uint8)]
    return unpacked(data, **about)


def _send(pipe: IO[bytes], about: dict[str, Any], data: bytes) -> None:
    pipe.write(json.dumps(about | {"bytes": len(data)}).encode() + b"\n")
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    line = pipe.readline(2**16)
    if not line.endswith(b"\n"):
        raise EOFError
    said = json.loads(line)
    size = said["bytes"]
    if not 0 <= size <= _MOST_ANSWER:
        raise ValueError(f"{size} bytes")
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return said, data
