"""`kdbench new`: what it writes can be installed, passes its own tests and the checks, and is clean."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kdbench.cli import main
from kdbench.errors import RunFailed, UsageError
from kdbench.registry.scaffold import TARGETS, TEMPLATES, write

# The command on each, in one process. Their own tests have run every check; only the data set's takes the name.
CHECK = """
import sys
from kdbench.cli import main
for name in sys.argv[1:]:
    try:
        main(["check", name] if name == "my_dataset" else ["check", name, "--only", "loads"])
    except SystemExit as left:
        print("left with", left.code or 0, name)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each kind."""
    root = tmp_path_factory.mktemp("new")
    for kind in TARGETS:
        write(kind, f"my_{kind}", root / kind)
    return {kind: root / kind for kind in TARGETS}


@pytest.fixture(scope="module")
def environment(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables under which all of them are installed."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), *map(str, folders.values())], check=True, capture_output=True)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "KDBENCH_CACHE": str(tmp_path_factory.mktemp("cache"))}


def _run(*arguments: str, environment: dict[str, str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )


@pytest.mark.slow
def test_their_own_tests_pass(folders: dict[str, Path], environment: dict[str, str]) -> None:
    done = _run("-m", "pytest", "-q", *(str(folder / "tests") for folder in folders.values()), environment=environment)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed" not in done.stdout


@pytest.mark.slow
def test_the_checks_pass(folders: dict[str, Path], environment: dict[str, str]) -> None:
    here = folders["dataset"]
    made = _run("-m", "kdbench_my_dataset.example", "data", environment=environment, folder=here)
    assert made.returncode == 0, made.stderr
    names = [f"my_{kind}" for kind in TARGETS]
    done = _run("-c", CHECK, *names, environment=environment, folder=here)
    assert [line for line in done.stdout.splitlines() if line.startswith("left with")] == [
        f"left with 0 {name}" for name in names
    ], done.stdout + done.stderr


@pytest.mark.slow
def test_they_are_listed_with_their_distribution(environment: dict[str, str]) -> None:
    done = _run("-m", "kdbench", "list", "--all", environment=environment)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for kind in TARGETS:
        assert f"kdbench-my-{kind} 0.1.0" in lines[f"my_{kind}"]
    assert "broken:" not in done.stdout


@pytest.mark.slow
def test_none_is_broken(environment: dict[str, str]) -> None:
    done = _run("-m", "kdbench", "list", "--broken", environment=environment)
    assert done.stdout == "every plugin can be imported\n"


def test_they_are_clean(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        for command in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
                capture_output=True,
                text=True,
                check=False,
                cwd=folder,
            )
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", TARGETS)
def test_nothing_of_the_template_is_left(kind: str, folders: dict[str, Path]) -> None:
    files = [path for path in folders[kind].rglob("*") if path.is_file() and "egg-info" not in str(path)]
    for path in [path for path in files if path.suffix in {".py", ".yaml", ".md", ".toml"}]:
        text = f"{path}\n{path.read_text()}"
        for word in ("part_", "part-", "PartName", ".template"):
            assert word not in text, path
    project = tomllib.loads((folders[kind] / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"kdbench-my-{kind}"
    (points,) = project["entry-points"].values()
    assert list(points) == [f"my_{kind}"]
    assert (folders[kind] / "README.md").read_text().startswith(f"# my_{kind}\n")


def test_every_kind_has_templates() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == {"common", *TARGETS}


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("MyLoss", "my_loss"),
        ("my-loss", "my_loss"),
        ("2nd", "nd"),
        ("my loss", "my_loss"),
        ("class", "my_loss"),
        ("a__b", "a_b"),
        ("a_", "a"),
        ("../up", "up"),
        ("é", "my_loss"),
        ("", "my_loss"),
    ],
)
def test_a_name_that_python_cannot_use_is_refused_with_one_that_it_can(name: str, better: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write("loss", name, tmp_path / "new")
    assert caught.value.message == f"'{name}' cannot be a name, expected a Python identifier in lower case"
    assert caught.value.hint == f"For example: kdbench new loss {better}"
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the loss 'rkd' exists already \(built in\)"):
        write("loss", "rkd", tmp_path / "new")
    assert write("fusion", "rkd", tmp_path / "new")


def test_a_kind_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown kind of part to start 'los'; did you mean 'loss'"):
        write("los", "mine", tmp_path / "new")


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UsageError, match="exists and is not an empty folder"):
            write("loss", "mine", out)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    assert tmp_path / "pyproject.toml" in write("loss", "mine", tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match="cannot write"):
        write("loss", "mine", tmp_path / "file" / "new")


def test_the_command_names_the_files_and_the_next_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["new", "losses", "mine"])
    assert not left.value.code
    out = capsys.readouterr().out
    assert "mine/kdbench_mine/loss.py\n" in out
    assert "Next:\n    cd mine\n    pip install -e .\n    kdbench describe mine\n    kdbench check mine\n" in out
    assert (tmp_path / "mine" / "tests" / "test_mine.py").is_file()
