"""A worker of a search: reads what to do from its standard input, and works until nothing is left."""

from __future__ import annotations

import json
import sys

from kdbench.cli.errors import exit_code_of
from kdbench.engine.progress import Reporter
from kdbench.tuning.progress import Told
from kdbench.tuning.work import joined, work


def main() -> int:
    """Works off trials; returns the exit code."""
    try:
        given = json.load(sys.stdin)
        with joined(given) as (plan, study):
            work(plan, study, Reporter(), Told(plan, 1, Reporter()), parent=given["parent"])
    except (Exception, KeyboardInterrupt) as error:
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
