"""What a result says of the plugins that it used, and which edits make another run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import watching
from plugin_site import Site, loss_source

from kdbench.data.card import load_card
from kdbench.data.store.layout import key_for
from kdbench.registry import registry
from kdbench.registry.file import loaded
from kdbench.runs.context import context_for
from kdbench.runs.provenance import of_method
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run
from kdbench.runs.spec import RunSpec

TWO = "data.options={actions: 2, subjects: 4, trials: 2}"


def _run_spec(method: str = "hinton", *overrides: str, dataset: str = "motionsim") -> RunSpec:
    return context_for(RunRequest(method, dataset, preset="smoke", device="cpu", overrides=[TWO, *overrides])).run_spec


def _plugin_keys(key: dict[str, Any]) -> list[str]:
    return [plugin["name"] for plugin in key.get("plugins", [])]


def test_a_run_without_plugins_has_the_key_that_it_had() -> None:
    run_spec = _run_spec()
    assert "plugins" not in run_spec._key()
    assert "plugins" not in run_spec._teacher_key(run_spec.teacher_parts[0])
    assert "plugins" not in run_spec.conditions()
    assert run_spec.plugins() == []


def test_an_edited_plugin_makes_another_run_and_keeps_the_teacher(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    folders, teachers, conditions = [], [], []
    for value in (1.0, 2.0, 1.0):
        file.write_text(loss_source("mine", value))
        with loaded([file]):
            run_spec = _run_spec("hinton", "student.losses.mine.weight=1")
            folders.append(run_spec.folder)
            teachers.append(run_spec.teacher_folders[0])
            conditions.append(run_spec.conditions())
    assert folders[0] == folders[2] != folders[1]
    # A loss of the student is no condition: it is what is compared.
    assert teachers[0] == teachers[1] == _run_spec().teacher_folders[0]
    assert conditions[0] == conditions[1] == _run_spec().conditions()


def test_a_plugin_in_the_teacher_names_the_teacher(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    teachers = []
    for value in (1, 2):
        file.write_text(
            "from kdbench import fusion\nfrom kdbench.fusions.none import NoFusion\n"
            f"@fusion('mine')\nclass Mine(NoFusion):\n    '''Version {value}.'''\n"
        )
        with loaded([file]):
            teachers.append(_run_spec("hinton", "teacher.fusion.name=mine").teacher_folders[0])
    assert teachers[0] != teachers[1]


def test_what_is_seen_at_test_time_is_a_condition(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from kdbench import encoder\nfrom kdbench.encoders.conv import Conv2Plus1d\n"
        "@encoder('mine', eats='clip')\nclass Mine(Conv2Plus1d):\n    '''My own.'''\n"
    )
    with loaded([file]):
        run_spec = _run_spec("hinton", "student.encoder={name: mine}")
        assert _plugin_keys(run_spec.conditions()) == ["mine"]
        assert _plugin_keys(run_spec._teacher_key(run_spec.teacher_parts[0])) == []
        assert _plugin_keys(run_spec._key()) == ["mine"]


def test_the_hash_is_of_what_was_imported(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = mine_kd.loss:mine\n", {"mine_kd/__init__.py": ""})
    site.write("mine_kd/loss.py", loss_source("mine"))
    first = _run_spec("hinton", "student.losses.mine.weight=1")
    site.write("mine_kd/loss.py", loss_source("mine", 2.0))
    assert _run_spec("hinton", "student.losses.mine.weight=1").folder == first.folder


def test_every_file_of_a_package_counts(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = mine_kd.deep.loss:mine\n", {"mine_kd/__init__.py": ""})
    site.write("mine_kd/deep/loss.py", loss_source("mine"))
    site.write("mine_kd/helper.py", "SCALE = 1\n")
    before = registry("loss").origin("mine").source_sha256()
    assert before == registry("loss").origin("mine").source_sha256()
    site.write("mine_kd/helper.py", "SCALE = 2\n")
    assert registry("loss").origin("mine").source_sha256() != before


def _hash(site: Site, path: str | None = None, text: str = "") -> str:
    """Hash of the loss `mine` after a file was written."""
    if path is not None:
        site.write(path, text)
    sha256 = registry("loss").origin("mine").source_sha256()
    assert sha256 is not None
    return sha256


def _record(info: Path, *names: str) -> None:
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))


def test_every_file_of_a_namespace_package_counts(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = nsx.loss:mine\n", {"nsx/loss.py": loss_source("mine")})
    site.write("nsx/helper.py", "SCALE = 1\n")
    before = _hash(site)
    assert _hash(site, "nsx/helper.py", "SCALE = 2\n") != before
    assert _hash(site, "nsx/helper.py", "SCALE = 1\n") == before


def test_a_plugin_that_was_imported_in_another_process_is_another_after_its_helper_was_edited(
    site: Site, tmp_path: Path
) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = nsx.loss:mine\n", {"nsx/loss.py": loss_source("mine")})
    program = "from kdbench.registry import registry; print(registry('loss').origin('mine').source_sha256())"
    hashes = []
    for value in (1, 2, 1):
        site.write("nsx/helper.py", f"SCALE = {value}\n")
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": str(site.folder)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(done.stdout)
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_module_beside_the_plugins_module_counts(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = onemod:mine\n", {"onemod.py": loss_source("mine")})
    before = _hash(site, "onemod_util.py", "SCALE = 1\n")
    assert _hash(site, "onemod_util.py", "SCALE = 2\n") != before


@pytest.mark.parametrize("name", ["scale.txt", "weights.bin", "deep/labels"])
def test_a_file_of_any_suffix_in_a_package_counts(name: str, site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = pk.loss:mine\n", {"pk/__init__.py": "", "pk/loss.py": "x = 1"})
    before = _hash(site, f"pk/{name}", "1")
    assert _hash(site, f"pk/{name}", "2") != before


def test_what_running_leaves_behind_does_not_count(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = pk.loss:mine\n", {"pk/__init__.py": "", "pk/loss.py": "x = 1"})
    before = _hash(site)
    for path in (
        "pk/__pycache__/loss.cpython-312.pyc",
        "pk/.hidden/notes.txt",
        "runs/hinton/run.json",
        "run.log",
        "tests/test_mine.py",
        ".venv/pyvenv.cfg",
        "env/pyvenv.cfg",
        "env/lib/module.py",
    ):
        assert _hash(site, path, "x = 1\n") == before, path


def test_of_an_installed_distribution_its_recorded_files_count_and_no_others(site: Site) -> None:
    info = site.add("mine", "[kdbench.losses]\nmine = onemod:mine\n", {"onemod.py": loss_source("mine")})
    _record(info, "onemod.py", "onemod_util.py", "data/scale.bin", "../bin/mine", "mine-1.5.dist-info/RECORD")
    for name in ("onemod_util.py", "data/scale.bin", "other.py", "../bin/mine"):
        site.write(name, "1")
    before = _hash(site)
    assert _hash(site, "other.py", "2") == before
    assert _hash(site, "../bin/mine", "#!/another/python") == before
    first = _hash(site, "onemod_util.py", "2")
    assert first != before
    assert _hash(site, "data/scale.bin", "2") != first


def test_among_several_distributions_without_a_record_only_its_own_modules_count(site: Site) -> None:
    info = site.add("mine", "[kdbench.losses]\nmine = onemod:mine\n", {"onemod.py": loss_source("mine")})
    (info / "top_level.txt").write_text("onemod\nonemod_util\n")
    site.add("other", "", {"other.py": "1"})
    site.write("onemod_util.py", "1")
    before = _hash(site)
    assert _hash(site, "other.py", "2") == before
    assert _hash(site, "onemod_util.py", "2") != before


def test_an_editable_install_counts_what_lies_below_its_source(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "project" / "src"
    (source / "nsx").mkdir(parents=True)
    (source / "nsx" / "loss.py").write_text(loss_source("mine"))
    info = site.add("mine", "[kdbench.losses]\nmine = nsx.loss:mine\n", {"mine.pth": str(source)})
    _record(info, "mine.pth", "mine-1.5.dist-info/METADATA")
    monkeypatch.syspath_prepend(source)
    before = _hash(site)
    (source / "util_kd").mkdir()
    (source / "util_kd" / "tools.py").write_text("SCALE = 1\n")
    second = _hash(site)
    (source / "util_kd" / "scale.txt").write_text("1")
    assert len({before, second, _hash(site)}) == 3
    (tmp_path / "project" / "README.md").write_text("Read me.")
    assert _hash(site, "other.py", "1") == _hash(site)


def test_past_the_bound_only_name_and_size_of_a_file_count(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.registry.source.MOST_BYTES", 100)
    site.add("mine-kd", "[kdbench.losses]\nmine = pk.loss:mine\n", {"pk/__init__.py": "", "pk/loss.py": "x = 1"})
    before = _hash(site, "pk/weights.bin", "a" * 200)
    assert _hash(site, "pk/weights.bin", "b" * 200) == before
    assert _hash(site, "pk/loss.py", "x = 2") != before
    site.write("pk/loss.py", "x = 1")
    assert _hash(site, "pk/weights.bin", "a" * 201) != before


def _file_hash(file: Path) -> str | None:
    with loaded([file]):
        return registry("loss").origin("mine").source_sha256()


HELPED = "import {} as helper\nSCALE = helper.SCALE"


@pytest.mark.parametrize("name", ["helper_kd", "helpers_kd.deep"])
def test_what_a_file_imports_from_its_folder_counts_and_is_imported_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file, helper = tmp_path / "mine.py", tmp_path.joinpath(*name.split(".")).with_suffix(".py")
    helper.parent.mkdir(exist_ok=True)
    file.write_text(loss_source("mine", head=HELPED.format(name)))
    hashes, scales = [], []
    for value in (1, 22, 1):
        helper.write_text(f"SCALE = {value}\n")
        with loaded([file]):
            hashes.append(registry("loss").origin("mine").source_sha256())
            scales.append(registry("loss").get("mine").__globals__["SCALE"])
    assert scales == [1, 22, 1]
    assert hashes[0] == hashes[2] != hashes[1]


def test_what_a_helper_imports_counts_too_whoever_was_the_first_to_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file, other, deep = (tmp_path / name for name in ("mine.py", "other.py", "deep_kd.py"))
    (tmp_path / "helper_kd.py").write_text("from deep_kd import SCALE\n")
    deep.write_text("SCALE = 1\n")
    for path, name in ((file, "mine"), (other, "yours")):
        path.write_text(loss_source(name, head=HELPED.format("helper_kd")))
    alone = _file_hash(file)
    with loaded([other]):
        assert _file_hash(file) == alone
    deep.write_text("SCALE = 2\n")
    assert _file_hash(file) != alone


def test_what_a_file_imports_by_name_while_it_runs_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file, helper = tmp_path / "mine.py", tmp_path / "helper_kd.py"
    file.write_text(loss_source("mine", head="import importlib\nimportlib.import_module('helper' + '_kd')"))
    hashes = []
    for value in (1, 2):
        helper.write_text(f"SCALE = {value}\n")
        hashes.append(_file_hash(file))
    assert hashes[0] != hashes[1]


def test_what_else_lies_beside_a_file_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(loss_source("mine"))
    before = _file_hash(file)
    (tmp_path / "other.py").write_text("x = 1")
    (tmp_path / "runs").mkdir()
    assert _file_hash(file) == before == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_run_writes_down_its_plugins(site: Site, tmp_path: Path) -> None:
    recipe = "summary: Soft targets and more\nextends: student_only\nstudent: {losses: {mine: {weight: 1.0}}}\n"
    loss = (
        "from kdbench import loss\n@loss('mine', on='logits', teacher=False)\n"
        "def mine(student):\n    return student.square().mean()\n"
    )
    points = "[kdbench.losses]\nmine = mine_kd.loss:mine\n[kdbench.methods]\nmine_method = mine_kd\n"
    site.add(
        "mine-kd", points, {"mine_kd/__init__.py": "", "mine_kd/loss.py": loss, "mine_kd/mine_method.yaml": recipe}
    )
    result = run("mine_method", "motionsim", preset="smoke", device="cpu", out=tmp_path / "runs", overrides=[TWO])
    by_kind = {plugin["kind"]: plugin for plugin in result.result["plugins"]}
    assert set(by_kind) == {"loss", "method"}
    for kind, name in (("loss", "mine"), ("method", "mine_method")):
        assert by_kind[kind]["name"] == name
        assert (by_kind[kind]["distribution"], by_kind[kind]["version"]) == ("mine-kd", "1.5")
        assert len(by_kind[kind]["source_sha256"]) == 64
    assert result.result["method"] == "mine_method"


def test_a_recipe_that_extends_a_plugins_recipe_names_both(site: Site, tmp_path: Path) -> None:
    site.add(
        "mine-kd",
        "[kdbench.methods]\nkd = mine_kd\n",
        {"mine_kd/__init__.py": "", "mine_kd/kd.yaml": "extends: kd\nprecision: fp32\n"},
    )
    mine = tmp_path / "own.yaml"
    mine.write_text("extends: mine-kd:kd\n")
    (plugin,) = of_method(str(mine))
    assert (plugin["kind"], plugin["name"], plugin["distribution"]) == ("method", "kd", "mine-kd")
    assert of_method("kd") == []


READER = '''
from kdbench import dataset
from kdbench.data.readers.motionsim.reader import MotionSim


@dataset("mine")
class Mine(MotionSim):
    """Version {}."""
'''


def test_data_that_an_edited_reader_read_are_prepared_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    shipped = load_card("motionsim").folder / "card.yaml"
    (tmp_path / "card.yaml").write_text(
        shipped.read_text()
        .replace("name: motionsim", "name: mine")
        .replace("reader: motionsim", "reader: mine")
        .replace("label_vectors:", "# label_vectors:")
    )
    file = tmp_path / "mine.py"
    keys, folders = [], []
    for version in (1, 2):
        file.write_text(READER.format(version))
        with loaded([file]):
            card = load_card("mine")
            keys.append(key_for(registry("dataset").get("mine")(card), None, 0, 0).facts)
            run_spec = _run_spec("student_only", dataset="mine")
            folders.append(run_spec.folder)
            assert [plugin["kind"] for plugin in run_spec.plugins()] == ["dataset"]
            assert _plugin_keys(run_spec.conditions()) == ["mine"]
    assert keys[0] != keys[1]
    assert folders[0] != folders[1]


def test_a_loss_of_this_process_is_a_plugin_too() -> None:
    with watching("seen_only"):
        run_spec = _run_spec("hinton", "student.losses.seen_only.weight=0")
        (plugin,) = run_spec.plugins()
    assert (plugin["name"], plugin["distribution"], plugin["version"]) == ("seen_only", "this process", "")
    assert len(plugin["source_sha256"]) == 64
