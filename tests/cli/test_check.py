"""`kdbench check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LEAKY = '''
"""A plugin that prints, and whose gradient stops."""
import ctypes
import os

import numpy as np
import torch
from kdbench import loss

print("hello from the plugin")
os.write(1, b"past Python's stream\\n")
ctypes.CDLL(None).printf(b"from C\\n")
os.system("echo from a child")


@loss("leaky", on="embedding", compiles=False)
def leaky(student, teacher):
    """A detour through numpy."""
    print("called")
    os.write(1, b"called past Python's stream\\n")
    return torch.tensor(np.square(student.detach().float().numpy() - teacher.float().numpy()).mean())
'''
COSINE = '''
"""The plugin of a reader in a hurry."""
import torch.nn.functional as F
from kdbench import loss


@loss("cosine", on="embedding")
def cosine(student, teacher):
    """Cosine distance of pooled features, (B, D) each."""
    return 1 - F.cosine_similarity(student, teacher).mean()
'''
LACKING = "import library_of_nowhere\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KDBENCH_DATA", raising=False)


def test_a_part_as_a_table(kdbench: Callable[..., Any]) -> None:
    done = kdbench("check", "st", "--kind", "loss", "--verbose")
    assert done.code == 0
    assert done.out.startswith("✓ loss st: ")
    lines = {line.split()[0]: line for line in done.out.splitlines()[1:]}
    assert lines["check"].split() == ["check", "outcome", "message"]
    assert lines["is_finite"].split() == ["is_finite", "passed"]
    assert "there is no GPU here" in lines["is_the_same_on_a_gpu"] or "passed" in lines["is_the_same_on_a_gpu"]


@pytest.mark.slow
def test_json_is_all_that_standard_output_holds_though_the_component_prints(
    kdbench_process: Callable[..., Any], install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("leaky_kd", LEAKY, "[kdbench.losses]\nleaky = leaky_kd:leaky\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    done = kdbench_process("check", "leaky", "--json")
    assert done.code == 1
    report = json.loads(done.out)
    for line in ("hello from the plugin", "past Python's stream", "from C", "from a child", "called"):
        assert f"\n{line}\n" in f"\n{done.err}"
    assert report["passed"] is False
    failed = {row["name"] for row in report["results"] if row["outcome"] == "failed"}
    assert failed == {"gradient_reaches_the_student", "never_waits_for_the_device"}
    assert {"name", "outcome", "message", "seconds", "kind", "component", "place"} == set(report["results"][0])


@pytest.mark.slow
def test_a_table_goes_to_standard_output_alone_though_the_component_prints(
    kdbench_process: Callable[..., Any], install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("leaky_kd", LEAKY, "[kdbench.losses]\nleaky = leaky_kd:leaky\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    done = kdbench_process("check", "leaky", "--only", "is_finite")
    assert done.code == 0
    assert done.out.startswith("✓ loss leaky: ")
    assert "called" not in done.out


def test_the_documented_plugin_passes(
    kdbench: Callable[..., Any], install: Callable[..., None], tmp_path: Path
) -> None:
    install("cosine_of_readers_kd", COSINE, "[kdbench.losses]\ncosine = cosine_of_readers_kd:cosine\n")
    done = kdbench("check", "cosine")
    assert done.code == 0, done.out


def test_a_library_that_is_missing_is_said_once_with_the_way_to_get_it(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("lacking_kd", LACKING, "[kdbench.losses]\nlacking = lacking_kd:lacking\n")
    done = kdbench("check", "lacking")
    assert done.code == 1
    assert "pip install library_of_nowhere" in done.out
    assert "every check was skipped" in done.out
    assert "Traceback" not in done.out + done.err


def test_some_checks_and_a_parameter(kdbench: Callable[..., Any]) -> None:
    done = kdbench("check", "st", "--kind", "loss", "--only", "is_finite", "--set", "temperature=2", "--json")
    assert done.code == 0
    assert [row["name"] for row in json.loads(done.out)["results"]] == ["is_finite", "was_checked"]
    done = kdbench("check", "st", "--kind", "losses", "--set", "temperature=-2")
    assert done.code == 1
    assert "temperature is -2" in done.out


@pytest.mark.slow
def test_a_name_of_two_kinds_and_a_whole_kind(kdbench: Callable[..., Any]) -> None:
    done = kdbench("check", "ft", "fusions", "--only", "is_deterministic")
    assert done.code == 0
    assert "✓ fusion ft" in done.out
    assert "✓ fusion concat" in done.out
    assert "all passed" in done.out


def test_everything_of_a_kind(kdbench: Callable[..., Any]) -> None:
    done = kdbench("check", "--all", "--kind", "representation", "--only", "makes_what_it_declares", "--json")
    assert done.code == 0
    assert {"raw", "gaf", "clip"} <= {row["component"] for row in json.loads(done.out)["results"]}


def test_a_recipes_file(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: hinton_raw\nstudent: {losses: {pskd: {weight: 1}}}\n", encoding="utf-8")
    done = kdbench("check", str(path))
    assert done.code == 1
    assert "needs_are_met" in done.out
    assert "semantic" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "name what is to be checked, or give --all"),
        (["check", "st", "--all"], "name what is to be checked, or give --all"),
        (["check", "sttt"], "did you mean"),
        (["check", "st", "--kind", "los"], "unknown kind of part 'los'; did you mean 'loss'"),
        (["check", "st", "--only", "is_finit"], "did you mean 'is_finite'"),
        (["check", "hash", "--device", "cpu"], "unknown option of the checks of a semantics 'device'"),
        (["check", "st", "--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_a_wrong_call_leaves_with_2(arguments: list[str], message: str, kdbench: Callable[..., Any]) -> None:
    done = kdbench(*arguments)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""


def test_skipped_checks_are_a_line_and_told_why_when_asked(kdbench: Callable[..., Any]) -> None:
    chosen = ("check", "st", "--kind", "loss", "--only", "is_finite", "--only", "takes_unlike_grids")
    brief, whole = kdbench(*chosen).out, kdbench(*chosen, "--verbose").out
    assert "  skipped: takes_unlike_grids; --verbose says why" in brief.splitlines()
    assert sum("takes_unlike_grids" in line for line in brief.splitlines()) == 1
    (row,) = [line for line in whole.splitlines() if "takes_unlike_grids" in line]
    assert row.split()[:2] == ["takes_unlike_grids", "skipped"]
    assert len(row.split()) > 3
