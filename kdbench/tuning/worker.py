"""A worker of a search: reads what to do from its standard input, and works until nothing is left."""

from __future__ import annotations

import json
import sys

from kdbench.launch.tied import tie
from kdbench.tuning.progress import Told
from kdbench.tuning.work import joined, work
from kdbench.util.failures import exit_code_of
from kdbench.util.progress import Reporter


def main() -> int:
    """Works off trials; returns the exit code."""
    try:
        # Unbuffered, so that the pipe behind it is whole for `tie`.
        with open(0, "rb", buffering=0, closefd=False) as pipe:
            given = json.loads(pipe.readline())
        tie()
        with joined(given) as (plan, study):
            work(plan, study, Reporter(), Told(plan, 1, Reporter()))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
