"""What a shell offers after Tab, asked for as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import make_run

from kdbench.runs.find import find_runs
from kdbench.runs.naming import rename


def offered(words: str, **environment: str) -> set[str]:
    """What bash is offered for the last word of a command line."""
    asked = {
        "_KDBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from kdbench.cli import main; main()"],
        env={**os.environ, **asked, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("kdbench ru", {"run", "runs"}),
        ("kdbench runs ", {"list", "show", "rm", "send"}),
        ("kdbench run --method student_on", {"student_only", "student_only_sensor", "student_only_skeleton"}),
        ("kdbench run --dataset utd", {"utd_mhad"}),
        ("kdbench run --suite los", {"losses"}),
        ("kdbench run --method kd --teacher raw_s", {"raw_sum"}),
        ("kdbench run --set student.losses.rk", {"student.losses.rkd.weight="}),
        ("kdbench search --method hinton_random_teacher_", {"hinton_random_teacher_raw"}),
        ("kdbench describe pk", {"pkd", "pkt"}),
        ("kdbench data prepare motion", {"motionsim"}),
    ],
)
def test_names_are_completed(words: str, expected: set[str]) -> None:
    assert offered(words) == expected


def test_runs_are_completed_by_folder_and_by_name(tmp_path: Path) -> None:
    make_run(tmp_path, "rkd", folder="rkd-x-s0-0123456789")
    rename(make_run(tmp_path, "pkt", folder="pkt-x-s0-aaaaaaaaaa"), "regular")
    assert offered("kdbench runs show r", KDBENCH_HOME=str(tmp_path)) == {"rkd-x-s0-0123456789", "regular"}
    assert offered(f"kdbench runs rm --out {tmp_path} pk") == {"pkt-x-s0-aaaaaaaaaa"}


def test_a_run_is_completed_by_what_its_method_is_called_today(tmp_path: Path) -> None:
    make_run(tmp_path, "kd", folder="hinton_raw-kitchen-s0-0123456789")
    expected = {"kd-kitchen-s0-0123456789"}
    assert offered("kdbench export kd-k", KDBENCH_HOME=str(tmp_path)) == expected
    assert {run.folder.name for name in expected for run in find_runs(name, tmp_path)} == {
        "hinton_raw-kitchen-s0-0123456789"
    }


def test_a_script_can_be_shown_and_installed(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    shown = subprocess.run(
        [sys.executable, "-c", "from kdbench.cli import main; main()", "--show-completion", "bash"],
        env=environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "_KDBENCH_COMPLETE=complete_bash" in shown.stdout
