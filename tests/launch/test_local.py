"""Processes of this machine: a fork of the warm process is what an interpreter of its own would be."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from forked import alive, place
from helpers import WORLD
from plugin_site import COSINE

from kdbench.launch.fresh import FreshProcess
from kdbench.launch.launcher import Job, Program, stop
from kdbench.launch.local import Local
from kdbench.launch.machine import cores, environment_of
from kdbench.registry.file import loaded
from kdbench.runs.store import stored_run
from kdbench.util.progress import Reporter


def ended(job: Any, seconds: float = 300) -> int:
    deadline = time.monotonic() + seconds
    while (code := job.poll()) is None:
        assert time.monotonic() < deadline, "it did not end in time"
        time.sleep(0.02)
    return int(code)


def probe(log: Path, *arguments: str, text: str = "") -> Job:
    return place().start(Program("probe", arguments, text), log, 0)


def printed(job: Job, words: str) -> str:
    deadline = time.monotonic() + 120
    while words not in job.printed():
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.02)
    return job.printed()


def fresh(program: Program) -> tuple[int, str]:
    environment = environment_of(0, jobs=2, gpus=[], cores=cores(), base=os.environ)
    with tempfile.TemporaryFile() as output:
        code = ended(FreshProcess(program, environment, output))
        output.seek(0)
        return code, output.read().decode()


@pytest.mark.slow
def test_a_fork_finds_the_same_world_as_an_interpreter_of_its_own_and_nothing_of_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(COSINE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("KDBENCH_PLUGINS", "none")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.delenv("KDBENCH_TRACKING")
    place()
    monkeypatch.chdir(tmp_path)
    program = Program("probe", ("world", "a b", "ü"), "a line\n")
    with warnings.catch_warnings(), loaded([tmp_path / "mine.py"]), torch.no_grad(), np.errstate(all="raise"):
        warnings.filterwarnings("ignore", message="kept by the parent")
        torch.manual_seed(7)
        job = place().start(program, tmp_path / "log", 0)
        assert ended(job) == 0, job.printed()
        code, text = fresh(program)
    assert code == 0, text
    found = json.loads(job.printed())
    assert found == json.loads(text)
    assert (found["arguments"], found["first line"]) == (["world", "a b", "ü"], "a line\n")
    assert (found["folder"], found["environment"]["KDBENCH_PLUGINS"]) == (str(tmp_path), "none")
    assert found["environment"]["CUDA_VISIBLE_DEVICES"] == "7"
    assert found["leads its group"]
    assert not found["cuda"]
    assert not found["plugins"]


@pytest.mark.slow
def test_two_forks_draw_otherwise_without_a_seed(tmp_path: Path) -> None:
    draws = []
    for _ in range(2):
        job = probe(tmp_path / "log", "draws")
        assert ended(job) == 0
        draws += job.printed().split()
    assert len(set(draws)) == 6


@pytest.mark.slow
def test_what_it_and_its_children_print_is_appended_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    log.parent.mkdir()
    log.write_text("of yesterday\n")
    job = probe(log, "streams")
    assert ended(job) == 0
    assert sorted(job.printed().splitlines()) == ["by a program", "by number", "complained", "printed"]
    assert log.read_text().startswith("of yesterday\n")
    job = probe(log, "raise")
    assert ended(job) == 1
    assert job.printed().strip().endswith("ValueError: as asked")


@pytest.mark.parametrize(("words", "code"), [("exit 0", 0), ("exit 3", 3), ("signal 9", -9), ("signal 15", -15)])
def test_its_exit_code_is_its_own(tmp_path: Path, words: str, code: int) -> None:
    assert ended(probe(tmp_path / "log", *words.split())) == code


def test_asked_to_end_it_ends_and_killed_it_takes_its_children_with_it(tmp_path: Path) -> None:
    early = probe(tmp_path / "early", "wait", str(tmp_path / "well"))
    early.interrupt()
    assert ended(early) in (-signal.SIGINT, 130)
    asked = probe(tmp_path / "asked", "wait", str(tmp_path / "well"))
    printed(asked, "waits")
    stop([early, asked])
    assert asked.poll() in (-signal.SIGINT, 130)
    job = probe(tmp_path / "killed", "wait", str(tmp_path / "well"))
    printed(job, "waits")
    assert len(alive(tmp_path / "killed")) == 2
    job.kill()
    assert job.poll() == -signal.SIGKILL
    assert not alive(tmp_path / "killed")


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str) -> None:
        self.lines.append(text)


def _warm() -> psutil.Process:
    """The youngest warm process of this one."""
    children = [child for child in psutil.Process().children() if "kdbench.launch.forks" in child.cmdline()]
    # Times of start are counted in hundredths of a second.
    return max(children, key=lambda child: (child.create_time(), child.pid))


@pytest.mark.slow
def test_where_the_warm_process_dies_another_takes_its_place_and_then_none(tmp_path: Path) -> None:
    place()
    told = Lines()
    with Local(jobs=1, device="cpu", reporter=told) as local:
        assert ended(local.start(Program("kdbench", ("--version",)), tmp_path / "log", 0)) == 0
        first = _warm()
        # Stopped, it forks nothing that could have ended before it is killed.
        first.suspend()
        job = local.start(Program("kdbench", ("--version",)), tmp_path / "log", 0)
        first.kill()
        while not told.lines:
            assert job.poll() is None
            time.sleep(0.02)
        assert told.lines == ["the process that the jobs are forked from ended: signal 9; another one takes its place"]
        second = _warm()
        assert second != first
        second.kill()
        assert ended(job) == 0
        assert job.printed().startswith("kdbench ")
        assert told.lines[1].endswith("ended: signal 9; the others start without it")
        assert ended(local.start(Program("kdbench", ("--nonsense",)), tmp_path / "log", 0)) == 2
    assert len(told.lines) == 2


@pytest.mark.slow
def test_a_fork_whose_warm_process_died_goes_on_and_has_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    with Local(jobs=1, device="cpu") as local:
        job = local.start(Program("probe", ("wait", str(tmp_path / "well"))), tmp_path / "log", 0)
        printed(job, "waits")
        warm = _warm()
        warm.kill()
        warm.wait()
        assert job.poll() is None
        (tmp_path / "well").touch()
        assert ended(job) == 5


@pytest.mark.slow
def test_the_numbers_of_a_fork_are_those_of_a_process_of_its_own_bit_for_bit(tmp_path: Path) -> None:
    folders = []
    for name in ("fork", "own"):
        words = ["run", "--method", "sgm_ft", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu"]
        changes = [*WORLD, "teacher.train.epochs=8", "teacher.train.batch_size=8", "student.train.epochs=1"]
        words += [word for change in changes for word in ("--set", change)]
        program = Program("kdbench", (*words, "--out", str(tmp_path / name)))
        if name == "fork":
            job = place().start(program, tmp_path / "log", 0)
            assert ended(job) == 0, job.printed()
        else:
            code, text = fresh(program)
            assert code == 0, text
        (path,) = (tmp_path / name).glob("*/run.json")
        folders.append(path.parent)
    fork, own = (stored_run(folder) for folder in folders)
    assert folders[0].name == folders[1].name
    assert fork.result["metrics"] == own.result["metrics"]
    for name in ("predictions.parquet", "student.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
