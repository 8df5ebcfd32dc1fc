"""The wheel: what a plain `pip install .` puts on a machine."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kdbench.recipes.shipped import names
from kdbench.registry.scaffold import TEMPLATES

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("kdbench-*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_brings_recipes_cards_and_tables(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    assert {f"kdbench/_methods/{name}.yaml" for name in names()} <= files
    suites = {f"kdbench/_benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.yaml")}
    assert {name for name in files if name.startswith("kdbench/_benchmarks/")} == suites
    for dataset in ("utd_mhad", "motionsim"):
        assert f"kdbench/_datasets/{dataset}/card.yaml" in files
        assert any(name.startswith(f"kdbench/_datasets/{dataset}/label_vectors") for name in files)
    assert {f"kdbench/_leaderboard/reference/yuan2024_table{n}.yaml" for n in (1, 2)} <= files
    assert {f"kdbench/_leaderboard/site/{path.name}" for path in (ROOT / "leaderboard/site").iterdir()} <= files
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in files)
    templates = {str(path.relative_to(ROOT)) for path in TEMPLATES.rglob("*.*") if path.suffix != ".pyc"}
    assert {name for name in files if name.startswith("kdbench/registry/templates/")} == templates


@pytest.mark.slow
def test_the_installed_package_finds_them(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import kdbench; from kdbench.recipes.resolve import resolve;"
        "from kdbench.data.card import load_card; assert kdbench.__file__.startswith(sys.argv[1]), kdbench.__file__;"
        "print(resolve('sgm_ft', 'small').name, len(load_card('utd_mhad').classes))"
    )
    command = [sys.executable, "-I", "-c", program, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["sgm_ft", "27"]
