"""The launcher `part_name`: what it adds, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdbench.launch.launcher import Program
from kdbench.testing import parametrize
from kdbench.util.progress import Reporter

from kdbench_part_name.launcher import PartName


@parametrize("launcher", PartName)
def test_conformance(check: Callable[[], None]) -> None:
    """Programs that find what they are given, exit codes, programs that are asked to end, and so on."""
    check()


def test_programs_give_way(tmp_path: Path) -> None:
    """A program runs with the niceness that was asked for."""
    with PartName(jobs=1, device="cpu", reporter=Reporter(), niceness=7) as place:
        job = place.start(Program("timeit", ("-n1", "-r1", "import os; print(os.nice(0))")), tmp_path / "log", 0)
        while job.poll() is None:
            pass
    assert job.printed().splitlines()[0] == "7"
