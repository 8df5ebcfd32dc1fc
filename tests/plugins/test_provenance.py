"""What a result says of the plugins that it used, and which edits make another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import watching
from plugin_site import Site, loss_source

from kdbench.cell import Cell
from kdbench.data.card import load_card
from kdbench.data.layout import key_for
from kdbench.plugins.file import loaded
from kdbench.plugins.provenance import of_method
from kdbench.registry import registry
from kdbench.runner import run
from kdbench.setting import settle

TWO = "data.options={actions: 2, subjects: 4, trials: 2}"


def _cell(method: str = "hinton", *overrides: str, dataset: str = "motionsim") -> Cell:
    return settle(method, dataset, preset="smoke", device="cpu", overrides=[TWO, *overrides]).cell


def _plugin_keys(key: dict[str, Any]) -> list[str]:
    return [plugin["name"] for plugin in key.get("plugins", [])]


def test_a_run_without_plugins_has_the_key_that_it_had() -> None:
    cell = _cell()
    assert "plugins" not in cell._key()
    assert "plugins" not in cell._teacher_key()
    assert "plugins" not in cell.conditions()
    assert cell.plugins() == []


def test_an_edited_plugin_makes_another_run_and_keeps_the_teacher(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    folders, teachers, conditions = [], [], []
    for value in (1.0, 2.0, 1.0):
        file.write_text(loss_source("mine", value))
        with loaded([file]):
            cell = _cell("hinton", "student.losses.mine.weight=1")
            folders.append(cell.folder)
            teachers.append(cell.teacher_folder)
            conditions.append(cell.conditions())
    assert folders[0] == folders[2] != folders[1]
    # A loss of the student is no condition: it is what is compared.
    assert teachers[0] == teachers[1] == _cell().teacher_folder
    assert conditions[0] == conditions[1] == _cell().conditions()


def test_a_plugin_in_the_teacher_names_the_teacher(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    teachers = []
    for value in (1, 2):
        file.write_text(
            "from kdbench import fusion\nfrom kdbench.fusions.none import NoFusion\n"
            f"@fusion('mine')\nclass Mine(NoFusion):\n    '''Version {value}.'''\n"
        )
        with loaded([file]):
            teachers.append(_cell("hinton", "teacher.fusion.name=mine").teacher_folder)
    assert teachers[0] != teachers[1]


def test_what_is_seen_at_test_time_is_a_condition(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from kdbench import encoder\nfrom kdbench.encoders.conv import Conv2Plus1d\n"
        "@encoder('mine', eats='clip')\nclass Mine(Conv2Plus1d):\n    '''My own.'''\n"
    )
    with loaded([file]):
        cell = _cell("hinton", "student.encoder={name: mine}")
        assert _plugin_keys(cell.conditions()) == ["mine"]
        assert _plugin_keys(cell._teacher_key()) == []
        assert _plugin_keys(cell._key()) == ["mine"]


def test_the_hash_is_of_what_was_imported(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = mine_kd.loss:mine\n", {"mine_kd/__init__.py": ""})
    site.write("mine_kd/loss.py", loss_source("mine"))
    first = _cell("hinton", "student.losses.mine.weight=1")
    site.write("mine_kd/loss.py", loss_source("mine", 2.0))
    assert _cell("hinton", "student.losses.mine.weight=1").folder == first.folder


def test_every_file_of_a_package_counts(site: Site) -> None:
    site.add("mine-kd", "[kdbench.losses]\nmine = mine_kd.deep.loss:mine\n", {"mine_kd/__init__.py": ""})
    site.write("mine_kd/deep/loss.py", loss_source("mine"))
    site.write("mine_kd/helper.py", "SCALE = 1\n")
    before = registry("loss").origin("mine").source_sha256()
    assert before == registry("loss").origin("mine").source_sha256()
    site.write("mine_kd/helper.py", "SCALE = 2\n")
    assert registry("loss").origin("mine").source_sha256() != before


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
        "[kdbench.methods]\nhinton = mine_kd\n",
        {"mine_kd/__init__.py": "", "mine_kd/hinton.yaml": "extends: hinton\nprecision: fp32\n"},
    )
    mine = tmp_path / "own.yaml"
    mine.write_text("extends: mine-kd:hinton\n")
    (plugin,) = of_method(str(mine))
    assert (plugin["kind"], plugin["name"], plugin["distribution"]) == ("method", "hinton", "mine-kd")
    assert of_method("hinton") == []


READER = '''
from kdbench import dataset
from kdbench.data.motionsim.reader import MotionSim


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
            cell = _cell("student_only", dataset="mine")
            folders.append(cell.folder)
            assert [plugin["kind"] for plugin in cell.plugins()] == ["dataset"]
            assert _plugin_keys(cell.conditions()) == ["mine"]
    assert keys[0] != keys[1]
    assert folders[0] != folders[1]


def test_a_loss_of_this_process_is_a_plugin_too() -> None:
    with watching("seen_only"):
        cell = _cell("hinton", "student.losses.seen_only.weight=0")
        (plugin,) = cell.plugins()
    assert (plugin["name"], plugin["distribution"], plugin["version"]) == ("seen_only", "this process", "")
    assert len(plugin["source_sha256"]) == 64
