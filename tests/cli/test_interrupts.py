"""A run that is asked to end, by any of the ways of asking, keeps what it has and can be gone on with."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from forked import fork, wait
from helpers import WORLD, tiny

from kdbench.cli.interrupts import as_interrupts
from kdbench.launch.launcher import Program
from kdbench.util.records import read_json

CHANGES = ["student.train.epochs=40", "student.train.batch_size=8"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_it_is_heard_like_ctrl_c_and_only_in_the_command(name: str) -> None:
    number = getattr(signal, name)
    # Whoever started the tests may have told them to ignore it, as nohup does.
    held = signal.signal(number, signal.SIG_DFL)
    try:
        with as_interrupts(), pytest.raises(KeyboardInterrupt, match=name):
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, held)


def test_what_was_told_to_be_ignored_stays_ignored() -> None:
    held = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, held)


@pytest.mark.slow
def test_a_terminated_run_says_so_and_goes_on(tmp_path: Path) -> None:
    command = ["run", "--method", "student_only", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu"]
    command += [part for change in [*WORLD, *CHANGES] for part in ("--set", change)]
    with (tmp_path / "said").open("wb") as said:
        process = fork(Program("kdbench", (*command, "--out", str(tmp_path))), said)
        deadline = time.monotonic() + 240
        while not (held := list(tmp_path.glob("*/checkpoint/state.safetensors"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        assert wait(process, 120) == 130
    result = read_json(held[0].parents[1] / "run.json")
    assert (result["status"], result["message"]) == ("interrupted", "interrupted by SIGTERM")
    assert b"Repeat the same command to go on" in (tmp_path / "said").read_bytes()
    resumed = tiny("student_only", tmp_path, *CHANGES)
    assert resumed.result["resumed"] == 1
    assert np.array_equal(resumed.predictions(), tiny("student_only", tmp_path / "whole", *CHANGES).predictions())
