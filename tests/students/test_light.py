"""What asking a student takes: no bench is imported, and where a package is missing, the message says which."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from exports import an_export

import kdbench
from kdbench.util.extras import installing

ROOT = Path(__file__).parents[2]
BENCH = (
    *("torch", "torchvision", "pandas", "pyarrow", "scipy", "sklearn", "mlflow", "matplotlib", "timm", "transformers"),
    *("accelerate", "optuna", "filelock", "psutil", "safetensors", "threadpoolctl", "jinja2", "onnx", "pyts"),
)
# As if nothing but the extra `predict` were installed.
ALONE = f"import sys\nfor name in {BENCH!r}: sys.modules[name] = None\n"


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_onnx_export_needs_nothing_of_the_bench(tmp_path: Path) -> None:
    frames = np.zeros((20, 120, 160), np.uint16)
    frames[:, 30:110, 60:90] = 2500
    np.save(tmp_path / "person.npy", frames)
    code = "import kdbench; print(kdbench.load_student(sys.argv[1]).predict(sys.argv[2]).probabilities.sum())"
    done = python(code, str(an_export("student_only", "onnx").folder), str(tmp_path / "person.npy"))
    assert done.stderr == ""
    assert float(done.stdout) == pytest.approx(1)


@pytest.mark.slow
def test_an_export_for_torch_says_that_torch_is_missing() -> None:
    code = "import kdbench\ntry: kdbench.load_student(sys.argv[1])\nexcept Exception as error: print(error)"
    done = python(code, str(an_export("student_only", "torch").folder))
    assert done.stdout.splitlines() == [
        "this export needs the package 'torch', which is not installed",
        f"Install it: pip install '.[predict-torch]' in {ROOT}",
    ]


@pytest.mark.parametrize("command", ["run --method kd --dataset motionsim", "compare", "runs list"])
def test_a_command_of_the_bench_says_what_to_install(command: str) -> None:
    done = python("from kdbench.cli import main; main(sys.argv[1:])", *command.split())
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: kdbench {command.split()[0]} needs the package '")
    assert hint == f"Install it: pip install '.[bench]' in {ROOT}"


def test_kdbench_run_from_python_says_what_to_install() -> None:
    done = python("import kdbench\ntry: kdbench.run\nexcept Exception as error: print(type(error).__name__, error)")
    assert done.stdout.startswith("UsageError kdbench.run needs the package '")
    assert f"pip install '.[bench]' in {ROOT}" in done.stdout


def test_without_a_copy_of_the_repository_the_wheel_is_installed(tmp_path: Path) -> None:
    (tmp_path / "kdbench").mkdir()
    wheel = f"pip install './kdbench-{kdbench.__version__}-py3-none-any.whl[predict]' in the folder of the wheel"
    assert installing("predict", tmp_path / "kdbench") == wheel
    # Another project's folder is no copy of this one.
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    assert installing("predict", tmp_path / "kdbench") == wheel


@pytest.mark.parametrize("origin", ["copy", "wheel", "gone"])
def test_what_was_installed_from_a_copy_or_a_wheel_is_installed_from_there(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip keeps the address beside an installation, as PEP 610 asks."""
    site, place = tmp_path / "site", tmp_path / "a copy"
    place.mkdir()
    (place / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    wheel = place / "kdbench-0.1.0-py3-none-any.whl"
    wheel.touch()
    info = site / f"kdbench-{kdbench.__version__}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: kdbench\nVersion: {kdbench.__version__}\n")
    address = {"copy": place, "wheel": wheel, "gone": tmp_path / "gone"}[origin].as_uri()
    (info / "direct_url.json").write_text(json.dumps({"url": address, "dir_info": {}}))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("kdbench.util.extras.PACKAGE", site / "kdbench")
    said = installing("stream", site / "kdbench")
    if origin == "copy":
        assert said == f"pip install '.[stream]' in {place}"
    elif origin == "wheel":
        assert said == f"pip install '{wheel}[stream]'"
    else:
        assert said.endswith("whl[stream]' in the folder of the wheel")


def test_the_doctor_finds_what_only_predicts_sound() -> None:
    code = (
        "import importlib.metadata as m\nold = m.version\n"
        "def version(name):\n"
        f"    if name in {BENCH!r} or name == 'starlette': raise m.PackageNotFoundError(name)\n"
        "    return old(name)\n"
        "m.version = version\nimport sys\nsys.argv = ['kdbench', 'doctor']\nfrom kdbench.cli import main\nmain()"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].startswith("ok   kdbench predict: onnxruntime ")
    assert lines[2] == "ok   kdbench stream: without matplotlib, starlette: no page, no report"
    assert "[stream]" in lines[3]
    assert lines[4] == "ok   all other commands: not installed; an exported student needs none of them"
    assert lines[-1] == "4 ok, 0 warnings, 0 errors"


def test_the_page_on_installing_lists_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([^`]+)`", rows)) == set(extras)
    assert f"kdbench-{kdbench.__version__}-py3-none-any.whl" in page


def test_an_import_of_the_bench_that_fails_otherwise_is_not_explained_away() -> None:
    done = python("sys.modules['kdbench.runs.run'] = None\nimport kdbench\nkdbench.run")
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of kdbench.runs.run halted")


def test_what_a_plain_installation_brings_is_small() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {line.partition(">")[0].partition("[")[0] for line in project["dependencies"]}
    assert not base & set(BENCH)
    extras = project["optional-dependencies"]
    assert {"predict", "predict-torch", "stream", "bench", "dev"} <= extras.keys()
    assert any(line.startswith("kdbench[bench") for line in extras["dev"])


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    folder = an_export("student_only", "onnx").folder
    (tmp_path / "student").symlink_to(folder)
    frames = np.zeros((20, 120, 160), np.uint16)
    frames[:, 30:110, 60:90] = 2500
    np.save(tmp_path / "recording.npy", frames)
    command = [sys.executable, "-c", ALONE + example]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    label, _, confidence = done.stdout.strip().rpartition(" ")
    said = kdbench.load_student(folder).predict(frames)
    assert (label, float(confidence)) == (said.label, pytest.approx(said.confidence))
