"""Plugins that are one file, from the command line and from Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import kdbench as in_fork
from plugin_site import COSINE, loss_source

import kdbench
from kdbench.errors import UsageError
from kdbench.registry import registry
from kdbench.registry.file import loaded, unload_plugin

LOSSES = registry("loss")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file that is unloaded after the test."""
    path = tmp_path / "mine.py"
    yield path
    unload_plugin(path)


def _error(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        kdbench.load_plugin(path)
    return str(caught.value)


def test_everything_that_is_decorated_in_it_is_known_and_belongs_to_the_file(file: Path) -> None:
    file.write_text(
        loss_source("one")
        + loss_source("two")
        + "from kdbench import fusion\nfrom kdbench.fusions.base import Fusion\n"
        + "@fusion('three')\nclass Three(Fusion): pass\n"
    )
    parts = kdbench.load_plugin(file)
    assert [(part.kind, part.name) for part in parts] == [("loss", "one"), ("loss", "two"), ("fusion", "three")]
    assert LOSSES.get("two").__name__ == "two"
    origin = registry("fusion").origin("three")
    assert (origin.owner, origin.target, origin.version) == (str(file), "mine.py:Three", "")
    assert LOSSES.origin("one").summary() == "The loss one."


def test_what_it_imports_does_not_count(file: Path) -> None:
    file.write_text(loss_source("one", head="from kdbench.losses.rkd import relational\nfrom kdbench.losses import at"))
    assert [part.name for part in kdbench.load_plugin(file)] == ["one"]


def test_loaded_again_it_replaces_what_it_brought(file: Path) -> None:
    file.write_text(loss_source("one") + loss_source("two"))
    kdbench.load_plugin(file)
    before = LOSSES.origin("one")
    file.write_text(loss_source("one", 2.0))
    kdbench.load_plugin(file)
    assert not LOSSES.has("two")
    assert LOSSES.origin("one").source_sha256() != before.source_sha256()


def test_what_was_known_stays_where_an_edit_breaks_it(file: Path) -> None:
    file.write_text(loss_source("one"))
    kdbench.load_plugin(file)
    held = LOSSES.get("one")
    file.write_text(loss_source("one") + "\nraise ValueError('half done')\n")
    assert "ValueError: half done (mine.py, line 10)" in _error(file)
    assert LOSSES.get("one") is held


def test_two_parts_of_one_name_are_an_error(file: Path) -> None:
    file.write_text(loss_source("one") + loss_source("one", 2.0))
    assert _error(file) == f"the plugin {file} registers the loss 'one' 2 times\nRename all but one."
    assert not LOSSES.has("one")


@pytest.mark.parametrize("name", ["rkd", "one"])
def test_a_name_that_is_taken_is_an_error_and_nothing_is_registered(name: str, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(loss_source("one"))
    file.write_text(loss_source("two") + loss_source(name))
    owner = "built in" if name == "rkd" else other
    with loaded([other]):
        assert _error(file) == f"the loss '{name}' exists already ({owner})\nGive yours another name."
        assert not LOSSES.has("two")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library' (mine.py, line 1)"),
        ("raise SystemExit\n", "cannot be imported: SystemExit (mine.py, line 1)"),
        ("raise SystemExit\n", "Mend it there. The whole traceback: python "),
        ("import not_there.at_all\n", "Install not_there, or put that module beside the plugin."),
        ("def x(:\n", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("x = 1\n", "decorates nothing\nPut @loss(NAME, …), @encoder(NAME, …), … above a component."),
    ],
)
def test_a_file_that_is_no_good_is_named(source: str, message: str, file: Path) -> None:
    file.write_text(source)
    text = _error(file)
    assert text.startswith(f"the plugin {file} ")
    assert message in text
    assert not [name for name in sys.modules if name.startswith("kdbench_plugin_mine")]


def test_a_path_that_is_no_plugin(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert "does not exist, expected a Python file" in _error(tmp_path / "none.py")
    assert "Name the file of the part: --plugin FILE.py." in _error(tmp_path / "none.py")
    assert "is a folder, expected a Python file" in _error(tmp_path)
    (tmp_path / "my_loss.py").write_text("")
    for meant in (tmp_path, tmp_path / "my_los.py"):
        assert f"--plugin {tmp_path / 'my_loss.py'}. To start one: kdbench new loss NAME" in _error(meant)
    assert "is no Python file (*.py)" in _error(tmp_path / "notes.txt")
    assert "Give a recipe by its path, --method FILE" in _error(tmp_path / "mine.yaml")


def test_a_data_set_in_a_file_has_its_card_beside_it(file: Path) -> None:
    from kdbench.data.card import load_card

    file.write_text(
        "from kdbench import dataset\nfrom kdbench.data.readers.motionsim.reader import MotionSim\n"
        "@dataset('mine')\nclass Mine(MotionSim):\n    '''My own.'''\n"
    )
    shipped = load_card("motionsim").folder / "card.yaml"
    (file.parent / "card.yaml").write_text(
        shipped.read_text().replace("name: motionsim", "name: mine").replace("reader: motionsim", "reader: mine")
    )
    with loaded([file]):
        assert load_card("mine").folder == file.parent
        assert registry("dataset").get("mine").__name__ == "Mine"
    with pytest.raises(UsageError, match="unknown data set 'mine'"):
        load_card("mine")


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_the_option_stands_anywhere(before: bool, tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(COSINE)
    second.write_text(loss_source("two"))
    options = ["--plugin", str(first), f"--plugin={second}"]
    command = ["list", "losses"]
    done = in_fork(*options, *command) if before else in_fork(*command, *options)
    assert done.returncode == 0, done.stderr
    assert f"{first}" in done.stdout
    assert "The loss two." in done.stdout


def test_describe_says_how_to_use_it(tmp_path: Path) -> None:
    path = tmp_path / "my loss.py"
    path.write_text(COSINE)
    done = in_fork("describe", "cosine", "--plugin", str(path))
    assert f"cosine · loss · {path} · my loss.py:cosine" in done.stdout
    assert f"Use it: --set student.losses.cosine.weight=1 --plugin '{path}'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--plugin"], "--plugin needs a Python file\nFor example: kdbench list --plugin my_loss.py"),
        (["list", "--plugin", "--json"], "--plugin needs a Python file"),
        (["list", "--plugin", "none.py"], "the plugin none.py does not exist, expected a Python file"),
    ],
)
def test_a_wrong_option_leaves_with_2(arguments: list[str], message: str) -> None:
    done = in_fork(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
