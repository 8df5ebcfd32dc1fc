"""One line to the user about a plugin, once a process."""

from __future__ import annotations

import sys

_said: set[str] = set()


def once(text: str) -> None:
    """Writes a line on the error stream, unless this process has written it before."""
    from kdbench.text.terminal import printable

    if text not in _said:
        _said.add(text)
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()
