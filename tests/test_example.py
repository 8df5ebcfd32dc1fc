"""The package in `examples/`, installed for real: it is listed, described, checked, and a run trains with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "kdbench-cosine"
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Runs a command of kdbench where the example is installed."""
    root = tmp_path_factory.mktemp("example")
    # A build leaves files in its folder.
    copy = shutil.copytree(EXAMPLE, root / "copy")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(root / "site"), str(copy)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(root / "site"), "KDBENCH_CACHE": str(root / "cache")}

    def run(*arguments: str, module: str = "kdbench") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_it_is_listed(call: Call) -> None:
    found = json.loads(call("list", "--json").stdout)
    rows = {row["name"]: row for kind in ("losses", "methods") for row in found[kind]}
    for name in ("cosine", "cosine_kd"):
        assert rows[name]["origin"] == "kdbench-cosine 0.1.0"
        assert rows[name]["summary"].startswith("Cosine distance of")


def test_it_is_described(call: Call) -> None:
    assert "cosine · loss · kdbench-cosine 0.1.0 · kdbench_cosine.loss:cosine" in call("describe", "cosine").stdout
    out = call("describe", "cosine_kd").stdout
    assert "cosine_kd · method · kdbench-cosine 0.1.0 · preset small" in out
    assert "sgm_ft → hinton → cosine_kd" in out


def test_its_loss_passes_the_checks(call: Call) -> None:
    assert "failed" not in call("check", "cosine").stdout


@pytest.mark.slow
def test_a_run_trains_with_it_and_says_so(call: Call, tmp_path: Path) -> None:
    world = ["--set", "data.options={actions: 2, subjects: 4, trials: 4}", "--set", "teacher.train.epochs=8"]
    call("run", "--method", "cosine_kd", "--dataset", "motionsim", "--preset", "smoke", "--out", str(tmp_path), *world)
    (path,) = tmp_path.glob("cosine_kd-*/run.json")
    result = json.loads(path.read_text())
    assert result["status"] == "finished"
    plugins = {plugin["kind"]: plugin for plugin in result["plugins"]}
    assert {kind: plugin["name"] for kind, plugin in plugins.items()} == {"loss": "cosine", "method": "cosine_kd"}
    assert {plugin["distribution"] for plugin in plugins.values()} == {"kdbench-cosine"}
    assert all(len(plugin["source_sha256"]) == 64 for plugin in plugins.values())
    epochs = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    assert "cosine" in json.dumps(epochs[-1])


@pytest.mark.slow
def test_its_own_tests_pass(call: Call) -> None:
    assert "failed" not in call("-q", str(EXAMPLE / "tests"), "-p", "no:cacheprovider", module="pytest").stdout


def test_the_file_alone_is_a_plugin_too() -> None:
    file = EXAMPLE / "kdbench_cosine" / "loss.py"
    command = [sys.executable, "-m", "kdbench", "describe", "cosine", "--plugin", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cosine · loss · {file} · loss.py:cosine")
