"""`kdbench run` without names asks for them in a terminal, and nowhere else."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "kdbench", "run"]
WORLD = ["--set", "data.options={actions: 2, subjects: 4, trials: 4}"]
SECONDS = 240
END = "\x04"


def talk(arguments: list[str], answers: list[tuple[str, str]], cwd: Path, **environment: str) -> tuple[int, str]:
    """Runs the command in a terminal; types each answer once its question is there.

    Args:
        arguments: What follows `kdbench run`.
        answers: Ends of questions, each with what is typed then.
        cwd: Where it runs.
        environment: Variables beside those of this process.
    """
    own = {key: value for key, value in os.environ.items() if key not in ("CI", "KDBENCH_HOME")}
    side, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        **dict.fromkeys(("stdin", "stdout", "stderr"), terminal),
        cwd=cwd,
        env={**own, "NO_COLOR": "1", "TERM": "dumb", **environment},
        start_new_session=True,
        # What is typed there as Ctrl-C is then a signal to it.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    said, place, waiting, until = "", 0, list(answers), time.monotonic() + SECONDS
    while time.monotonic() < until:
        if select.select([side], [], [], 0.2)[0]:
            try:
                said += os.read(side, 65536).decode(errors="replace")
            except OSError:
                break
        elif process.poll() is not None:
            break
        if waiting and waiting[0][0] in said[place:]:
            place = len(said)
            # Nobody answers before the question is whole: Ctrl-C while readline sets up its handlers waits for a key.
            time.sleep(0.5)
            os.write(side, f"{waiting.pop(0)[1]}".encode())
    os.close(side)
    if process.poll() is None and time.monotonic() >= until:
        process.kill()
    assert not waiting, said
    return process.wait(30), said


@pytest.mark.slow
def test_it_asks_for_what_is_missing_and_runs(tmp_path: Path) -> None:
    answers = [
        ("Method [sgm_ft]: ", "student_onyl\n"),
        ("Method [sgm_ft]: ", "student_only\n"),
        ("[motionsim]: ", "\n"),
    ]
    code, said = talk(WORLD, [*answers, ("Preset [smoke]: ", "\n")], tmp_path)
    assert code == 0, said
    assert "did you mean 'student_only'" in said
    assert "kdbench run --method student_only --dataset motionsim --preset smoke" in said
    assert len(list(tmp_path.glob("runs/student_only-motionsim-cross_subject-smoke-s0-*/run.json"))) == 1


def test_what_was_given_is_not_asked_for_and_an_end_of_input_is_an_error(tmp_path: Path) -> None:
    code, said = talk(["--method", "kd"], [("Data set [motionsim]: ", END)], tmp_path)
    assert code == 2
    assert "Method" not in said
    assert re.search(r"error: --dataset: no answer\s+For example: kdbench run ", said)


def test_ctrl_c_at_a_question_is_an_interrupt(tmp_path: Path) -> None:
    code, said = talk([], [("Method [sgm_ft]: ", "\x03")], tmp_path)
    assert code == 130, said


def test_continuous_integration_and_pipes_are_not_asked(tmp_path: Path) -> None:
    code, said = talk([], [], tmp_path, CI="true")
    assert code == 2
    assert "error: --method is missing" in said
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, input="kd\n", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --method is missing\nFor example: kdbench run ")
