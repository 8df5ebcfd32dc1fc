"""The package in `examples/`, installed for real: it is listed, described, checked, and a run trains with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plugin_site import site_of

from kdbench.cli import main

EXAMPLE = Path(__file__).parent.parent / "examples" / "kdbench-cosine"
Call = Callable[..., str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed into."""
    root = tmp_path_factory.mktemp("example")
    # A build leaves files in its folder.
    copy = shutil.copytree(EXAMPLE, root / "copy")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(root / "site"), str(copy)], check=True, capture_output=True)
    return root / "site"


@pytest.fixture
def call(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Call]:
    """Runs a command of kdbench where the example is installed, and gives what it prints."""
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        captured = capsys.readouterr()
        assert not left.value.code, captured.out + captured.err
        return captured.out

    with site_of(installed, monkeypatch):
        yield run


@pytest.mark.slow
def test_it_is_listed(call: Call) -> None:
    found = json.loads(call("list", "--json"))
    rows = {row["name"]: row for kind in ("losses", "methods") for row in found[kind]}
    for name in ("cosine", "cosine_kd"):
        assert rows[name]["origin"] == "kdbench-cosine 0.1.0"
        assert rows[name]["summary"].startswith("Cosine distance of")


def test_it_is_described(call: Call) -> None:
    assert "cosine · loss · kdbench-cosine 0.1.0 · kdbench_cosine.loss:cosine" in call("describe", "cosine")
    out = call("describe", "cosine_kd")
    assert "cosine_kd · method · kdbench-cosine 0.1.0 · preset small" in out
    assert "sgm_ft → kd → cosine_kd" in out


def test_its_loss_passes_the_checks(call: Call) -> None:
    assert "failed" not in call("check", "cosine")


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
def test_its_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", str(EXAMPLE / "tests"), "-p", "no:cacheprovider"]
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_file_alone_is_a_plugin_too(capsys: pytest.CaptureFixture[str]) -> None:
    file = EXAMPLE / "kdbench_cosine" / "loss.py"
    with pytest.raises(SystemExit) as left:
        main(["describe", "cosine", "--plugin", str(file)])
    assert not left.value.code
    assert capsys.readouterr().out.startswith(f"cosine · loss · {file} · loss.py:cosine")
