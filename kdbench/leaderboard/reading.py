"""Unpacks what strangers packed, tables and pictures, in a process of its own that may crash, hang and fill its memory.

The libraries that unpack are written in C++, where a damaged file may end the process that reads it. The bytes go to
the other process, and plain arrays come back; one that dies is replaced, and costs the file that killed it its answer.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np

from kdbench.leaderboard.faults import fault
from kdbench.util import numpy_files

SECONDS = 60.0
"""How long one file may take to unpack; an honest one takes a tenth of a second."""
MOST_MEMORY = 3 * 2**30
"""Bytes that unpacking a file may take."""
_MOST_ANSWER = 2 * 2**30
# The other process imports from where this one does.
_PROGRAM = "import json, sys; sys.path = json.loads(sys.argv[1]); import kdbench.leaderboard.unpacking as u; u.answer()"


def arrays(name: str, data: bytes, **about: int) -> list[np.ndarray]:
    """What a file holds, as plain arrays.

    Args:
        name: The file's name, of those in `_reads`.
        data: Its content.
        about: What its reader has to know.

    Raises:
        DataError: It is not what its name says, or too much.
    """
    head, answer = _READER.ask(name, data, about)
    if "problem" in head:
        raise fault(head["problem"])
    return list(numpy_files.archive(answer, [f"arr_{number}" for number in range(head["arrays"])]).values())


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
                send(process.stdin, {"name": name, "about": about}, data)
                return received(process.stdout)
            except (OSError, ValueError, EOFError) as error:
                # Only a timer that has run out has killed the process.
                slow = not timer.is_alive()
                self.close()
                why = f"takes longer than {SECONDS:.0f} s" if slow else "ends the process that reads it"
                raise fault(f"{name} cannot be read: it {why}") from error
            finally:
                timer.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        # A process that was forked from this one has to start one of its own.
        if self._process is None or self._process.poll() is not None or self._parent != os.getpid():
            self._parent = os.getpid()
            # In a group of its own: Ctrl-C is for this process, which ends the other one itself.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
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


def send(pipe: IO[bytes], about: dict[str, Any], data: bytes) -> None:
    """Writes a line of JSON, with the number of bytes that follow it."""
    pipe.write(json.dumps(about | {"bytes": len(data)}).encode() + b"\n")
    pipe.write(data)
    pipe.flush()


def received(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Reads what `send` wrote."""
    # Bounded too: who knows what became of the other process.
    line = pipe.readline(2**16)
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    size = head["bytes"]
    if not 0 <= size <= _MOST_ANSWER:
        raise ValueError(f"{size} bytes")
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return head, data
