"""What a command prints never ends its work: a stream that is full or closed loses the text alone.

A stream that cannot show a letter, as one that is ASCII, gets a plain one.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO

_PLAIN = "kdbench.plain"
_LETTERS = {
    "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "±": "+/-", "→": "->", "←": "<-", "≥": ">=",
    "≤": "<=", "≠": "!=", "‘": "'", "’": "'", "“": '"', "”": '"', "●": "*", "•": "*", "✓": "ok", "✗": "x",
    "█": "#", "░": ".", "━": "-", "─": "-", "│": "|", "┃": "|", "ß": "ss",
}  # fmt: skip


@contextlib.contextmanager
def unbreakable() -> Iterator[Streams]:
    """Makes the standard streams of a command such that writing to them never fails; restores them afterwards."""
    _occupy_closed()
    usual = sys.stdout, sys.stderr
    streams = Streams()
    sys.stdout, sys.stderr = streams.guarded(usual[0]), streams.guarded(usual[1])
    try:
        yield streams
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = usual


class Streams:
    """The guarded streams of a command.

    Attributes:
        lost: Why something that was printed is lost, for another reason than that nobody reads on.
    """

    def __init__(self) -> None:
        self._raws: list[_Raw] = []

    @property
    def lost(self) -> OSError | None:
        """Why something that was printed is lost."""
        errors = [raw.lost for raw in self._raws if raw.lost is not None]
        return next((error for error in errors if not isinstance(error, BrokenPipeError)), None)

    def guarded(self, stream: TextIO | None) -> Any:
        """The stream on the same file, which never raises; others, such as those of a test, stay themselves."""
        if stream is None:
            return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - a stream for the whole command
        if not isinstance(stream, io.TextIOWrapper):
            return stream
        try:
            number = stream.fileno()
            stream.flush()
        except (OSError, ValueError):
            return stream
        raw = _Raw(number)
        self._raws.append(raw)
        codecs.register_error(_PLAIN, _plainly)
        return io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=_PLAIN,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )


class _Raw(io.FileIO):
    """A file that swallows what it cannot write."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes, or pretends to."""
        if self.lost is None:
            try:
                written = super().write(data)
                while written is None:
                    # A terminal that another program has set not to wait.
                    _wait_for(self.fileno())
                    written = super().write(data)
                return written
            except OSError as error:
                self.lost = error
        return len(data)


def _wait_for(number: int) -> None:
    import select

    select.select([], [number], [])


def _occupy_closed() -> None:
    """Opens nothing in the places of closed standard streams, so that no file of a run gets their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Stands in for letters that a stream cannot encode."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = []
    for letter in error.object[error.start : error.end]:
        plain = _LETTERS.get(letter) or unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
        characters.append(plain or "?")
    return "".join(characters), error.end
