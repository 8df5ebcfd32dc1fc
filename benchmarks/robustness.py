"""Kills every command at each of its file operations, and feeds the readers with damaged and made-up inputs.

These are the tests of tests/, which try a few points and inputs, with all points and many more inputs:

    python benchmarks/robustness.py                       # all of it: an hour or more on two cores
    python benchmarks/robustness.py --only kills --select board
    python benchmarks/robustness.py --only inputs --factor 20
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLS = (
    "tests/results/test_folder.py",
    "tests/grid/test_grid_kills.py",
    "tests/tuning/test_search_kills.py",
    "tests/board/test_board_kills.py",
)
INPUTS = (
    "tests/test_hostile_inputs.py",
    "tests/test_plain_yaml.py",
    "tests/test_redaction.py",
    "tests/data/test_hostile_recordings.py",
    "tests/board/test_hostile.py",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("kills", "inputs"))
    parser.add_argument("--select", default="", help="only files whose path contains this")
    parser.add_argument("--factor", type=int, default=10, help="how many times as many inputs as the tests try")
    arguments = parser.parse_args()
    whole = True
    if arguments.only != "inputs":
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "kills"
            whole &= tried(KILLS, arguments.select, {"KDBENCH_EVERY_KILL": "1", "KDBENCH_KILL_LOG": str(log)})
            killed = Counter(log.read_text().split()) if log.is_file() else {}
        print("killed: " + (", ".join(f"{name} at {count} points" for name, count in sorted(killed.items())) or "none"))
    if arguments.only != "kills":
        whole &= tried(INPUTS, arguments.select, {"KDBENCH_FUZZ": str(arguments.factor)})
    sys.exit(not whole)


def tried(files: tuple[str, ...], select: str, environment: dict[str, str]) -> bool:
    """Runs the tests of some files, a process a file; prints what each tried, and what failed."""
    whole = True
    for file in (file for file in files if select in file):
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", file, "-q", "--timeout", "0", "--hypothesis-show-statistics"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
        )
        inputs = sum(int(count) for count in re.findall(r"(\d+) passing", done.stdout))
        closing = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
        made = f", {inputs:,} inputs made up" if inputs else ""
        print(f"{file}: {closing.strip('= ')}{made}, {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            whole = False
            print(
                "\n".join(line for line in done.stdout.splitlines() if line.startswith(("E  ", "FAILED"))), flush=True
            )
    return whole


if __name__ == "__main__":
    main()
