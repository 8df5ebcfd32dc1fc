"""The benchmark of the step runs and prints what it measures; the figures themselves depend on the machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import WORLD

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def output_of(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_step_is_measured_against_one_written_by_hand() -> None:
    quick = [f"--set={each}" for each in (*WORLD, "teacher.train.epochs=8", "teacher.train.batch_size=8")]
    told = output_of("step_overhead.py", "--dataset", "motionsim", "--preset", "smoke", "--steps", "3", *quick)
    assert re.search(r"kdbench [\d.]+ ms, plain [\d.]+ ms per step of \d+ trials", told)
    assert re.search(r"ratio: median [\d.]+, quartiles [\d.]+ to [\d.]+, 3 pairs", told)
