"""What the process does that unpacks strangers' files; `reading` starts it."""

from __future__ import annotations

import contextlib
import io
import os
import sys

import numpy as np

from kdbench.errors import DataError
from kdbench.leaderboard.picture import redrawn
from kdbench.leaderboard.predictions import unpacked
from kdbench.leaderboard.reading import MOST_MEMORY, received, send
from kdbench.leaderboard.schema import PICTURE


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
            asked, data = received(sys.stdin.buffer)
        except EOFError:
            return
        try:
            unpacked = _read(asked["name"], data, asked["about"])
            buffer = io.BytesIO()
            np.savez(buffer, *unpacked, allow_pickle=False)
            send(out, {"arrays": len(unpacked)}, buffer.getvalue())
        except DataError as error:
            send(out, {"problem": error.message}, b"")
        except MemoryError:
            most = MOST_MEMORY // 2**20
            send(out, {"problem": f"{asked['name']} takes more than {most} MiB of memory when it is unpacked"}, b"")
        # An error is an answer as well, and the process goes on to the next file.
        except Exception as error:
            why = f"{type(error).__name__}: {str(error)[:200]}"
            send(out, {"problem": f"{asked['name']} cannot be read: {why}"}, b"")


def _read(name: str, data: bytes, about: dict[str, int]) -> list[np.ndarray]:
    if name == PICTURE:
        return [np.frombuffer(redrawn(data), dtype=np.uint8)]
    return unpacked(data, **about)
