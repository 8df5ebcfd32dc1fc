"""What a launcher is tried with: `python -m kdbench.testing.program WHAT …`.

`echo WORDS…` prints as JSON the words, the first line of its input, its folder and the variable `MARK`; `exit N` ends
with N; `wait FILE` makes the file and waits, and prints `kept` where it is asked to end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from kdbench.launch.tied import tie

MARK = "PROBE_OF_A_LAUNCHER"
_SECONDS = 600


def main(words: list[str]) -> int:
    """Does what the first word says; returns the exit code."""
    what, *rest = words
    line = sys.stdin.readline().rstrip("\n") if what == "echo" else ""
    tie()
    if what == "exit":
        return int(rest[0])
    if what == "echo":
        found = {"words": rest, "line": line, "folder": str(Path.cwd()), "mark": os.environ.get(MARK)}
        sys.stdout.write(json.dumps(found))
        return 0
    try:
        Path(rest[0]).touch()
        time.sleep(_SECONDS)
    except KeyboardInterrupt:
        sys.stdout.write("kept\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
