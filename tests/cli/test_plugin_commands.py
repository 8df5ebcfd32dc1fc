"""Plugins on the command line: used, claimed twice, broken, switched off; and what they leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin_site import Site, loss_source, site_of

from kdbench.registry import registry

Kdbench = Callable[..., Any]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder in which a test installs distributions."""
    with site_of(tmp_path / "site", monkeypatch) as found:
        yield found


def test_a_name_that_is_claimed_twice_is_an_error_only_when_it_is_named(kdbench: Kdbench, site: Site) -> None:
    for owner in ("first", "second"):
        site.add(owner, f"[kdbench.losses]\ntwice = {owner}_kd:twice\n", {f"{owner}_kd.py": loss_source("twice")})
    done = kdbench("describe", "twice")
    assert done.code == 2
    assert done.err == (
        "error: the loss 'twice' is claimed by first 1.5 and by second 1.5\n"
        "Say which one: first:twice or second:twice\n"
    )
    assert kdbench("describe", "second:twice").out.startswith("second:twice · loss · second 1.5 · second_kd:twice")
    assert kdbench("describe", "sp", "--kind", "loss").err == ""
    listed = kdbench("list", "losses")
    assert listed.code == 0
    assert listed.err.startswith("warning: the loss 'twice' is claimed by first 1.5 and by second 1.5")
    assert listed.err.count("\n") == 1


def test_a_broken_part_is_an_error_only_when_it_is_named(kdbench: Kdbench, site: Site) -> None:
    site.add("odd", "[kdbench.losses]\nmine = mine_kd:mine\n", {"mine_kd.py": "raise SystemExit(0)\n"})
    done = kdbench("describe", "mine")
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: the loss 'mine' of odd 1.5 (mine_kd:mine) cannot be imported: SystemExit: 0\n")
    assert "kdbench list --broken" in done.err
    for command in (["list"], ["describe", "sp"]):
        unrelated = kdbench(*command)
        assert (unrelated.code, unrelated.err) == (0, "")


def test_a_run_with_a_file_says_which(kdbench: Kdbench, tmp_path: Path) -> None:
    file = tmp_path / "my_loss.py"
    file.write_text(
        "from kdbench import loss\n\n\n@loss('tiny', on='logits', teacher=False)\n"
        "def tiny(student):\n    return 0.01 * student.square().mean()\n"
    )
    world = ["--set", "data.options={actions: 2, subjects: 4, trials: 2}", "--set", "student.losses.tiny.weight=1"]
    where = ["--method", "student_only", "--dataset", "motionsim", "--preset", "smoke", "--out", str(tmp_path / "runs")]
    done = kdbench("run", *where, *world, "--plugin", str(file))
    assert done.code == 0, done.err
    (path,) = (tmp_path / "runs").glob("student_only-*/run.json")
    (plugin,) = json.loads(path.read_text())["plugins"]
    assert plugin["source_sha256"]
    assert (plugin["kind"], plugin["name"], plugin["distribution"]) == ("loss", "tiny", "my_loss.py")
    assert str(tmp_path) not in json.dumps(json.loads(path.read_text())["plugins"])
    assert not registry("loss").has("tiny")
    without = kdbench("run", *where, *world)
    assert without.code == 2
    assert "unknown loss 'tiny'" in without.err


def test_a_broken_data_set_does_not_hide_the_others(kdbench: Kdbench, site: Site) -> None:
    site.add("odd", "[kdbench.datasets]\nlost = lost_kd:Lost\n", {"lost_kd.py": "raise ValueError('no')\n"})
    done = kdbench("data", "list")
    assert done.code == 0
    assert "the data set 'lost' of odd 1.5 is broken: there is no file" in done.out
    assert "motionsim" in done.out
    assert "Generated human motion" in done.out


def test_a_broken_plugin_is_no_fault_of_the_installation(kdbench: Kdbench, site: Site) -> None:
    site.add("odd", "[kdbench.datasets]\nlost = lost_kd:Lost\n", {"lost_kd.py": "raise ValueError('no')\n"})
    done = kdbench("doctor")
    assert done.code == 0
    assert done.out.splitlines()[-1].endswith(" 0 errors")
    # It says nothing of what an import would do: that is asked for with list --broken.
    assert "lost (odd 1.5)" in done.out


def test_a_variable_that_means_nothing_is_explained(
    kdbench: Kdbench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("first", "[kdbench.losses]\none = one_kd:one\n", {"one_kd.py": loss_source("one")})
    monkeypatch.setenv("KDBENCH_PLUGINS", "frist")
    done = kdbench("list")
    assert done.code == 2
    assert "unknown plugin in $KDBENCH_PLUGINS 'frist'; did you mean 'first'?" in done.err
    assert kdbench("--help").code == 0


@pytest.mark.parametrize(
    "command", [["describe"], ["check"], ["check", "--kind", "loss"], ["describe", "--kind", "loss"]]
)
def test_a_part_that_is_switched_off_is_said_to_be(
    command: list[str], kdbench: Kdbench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("first", "[kdbench.losses]\none = one_kd:one\n", {"one_kd.py": loss_source("one")})
    monkeypatch.setenv("KDBENCH_PLUGINS", "off")
    for name in ("one", "first:one"):
        done = kdbench(*command, name)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"error: the loss '{name}' of first 1.5 is switched off by $KDBENCH_PLUGINS\n"
            "Unset KDBENCH_PLUGINS, or add first to it.\n"
        )
    assert kdbench("describe", "onne").err.startswith("error: unknown name 'onne'")


def test_a_recipe_of_a_plugin_may_extend_the_shipped_one_of_its_name(kdbench: Kdbench, site: Site) -> None:
    files = {
        "zoo_kd/__init__.py": "",
        "zoo_kd/hinton.yaml": "summary: Of its own\nextends: rkd\n",
        "zoo_kd/kd.yaml": "summary: Hotter\nextends: kd\nstudent: {losses: {st: {temperature: 9.0}}}\n",
        "zoo_kd/loop.yaml": "extends: zoo:loop\n",
    }
    site.add("zoo", "[kdbench.methods]\nkd = zoo_kd\nhinton = zoo_kd\nloop = zoo_kd\n", files)
    done = kdbench("describe", "zoo:kd")
    assert done.code == 0, done.err
    assert done.out.startswith("kd · method · zoo 1.5 · preset small")
    assert "temperature: 9.0" in done.out
    # A plugin's name is never taken for a former name.
    assert "hinton · method · zoo 1.5" in kdbench("describe", "hinton", "--kind", "method").out
    loop = kdbench("describe", "loop")
    assert loop.code == 2
    assert "the recipe 'loop' extends itself: loop → loop" in loop.err
    rows = {row["name"]: row for row in json.loads(kdbench("list", "methods", "--json").out)["methods"]}
    assert rows["kd"]["origin"] == "built in"
    assert rows["zoo:kd"] == {"name": "zoo:kd", "origin": "zoo 1.5", "summary": "Hotter"}
