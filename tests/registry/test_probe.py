"""`kdbench list --broken` and its likes, against plugins that crash, hang and print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugin_site import Site, loss_source

from kdbench.registry import GROUPS, KINDS
from kdbench.registry.discovery import discover
from kdbench.testing.plugins import broken

SOURCES = {
    "crashes": "import os\nos._exit(7)\n",
    "hangs": "import time\n\n\ndef wait():\n    time.sleep(600)\n\n\nwait()\n",
    "prints": loss_source("prints", head="print('Welcome')\nimport os\nos.system('echo loudly')"),
    "raises": "def helper():\n    raise ValueError('no licence')\n\n\nhelper()\n",
    "reads": "input('Your name? ')\n",
    "stays": loss_source(
        "stays", head="import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()"
    ),
    "unmarked": "def unmarked(student, teacher): return 0\n",
}


@pytest.fixture
def installed(site: Site) -> Site:
    """A distribution with a loss of every sort, a recipe without a file, and a data set without a card."""
    points = "[kdbench.losses]\n" + "".join(f"{name} = {name}_kd:{name}\n" for name in SOURCES)
    points += "gone = no_such_kd:gone\n"
    points += "[kdbench.methods]\nlost = recipes_kd\nwrong = recipes_kd\nright = recipes_kd\n"
    points += "[kdbench.datasets]\ncardless = cardless_kd:Cardless\n"
    files = {f"{name}_kd.py": source for name, source in SOURCES.items()}
    files["recipes_kd/__init__.py"] = ""
    files["recipes_kd/wrong.yaml"] = "extends: hinton\nstudnet: {}\n"
    files["recipes_kd/right.yaml"] = "summary: Twice as hot\nextends: hinton\nstudent: {losses: {st: {weight: 2}}}\n"
    files["cardless_kd.py"] = (
        "from kdbench.data.readers.base import Reader\nclass Cardless(Reader):\n    def read(self, *_): raise OSError\n"
    )
    site.add("zoo", points, files)
    return site


@pytest.mark.slow
def test_each_is_named_with_what_is_wrong(installed: Site) -> None:
    found = {each.origin.name: each.text for each in broken(discover(GROUPS).origins, seconds=6)}
    assert set(found) == {"crashes", "hangs", "raises", "reads", "unmarked", "gone", "lost", "wrong", "cardless"}
    assert found["crashes"] == "its import ended the process with exit code 7"
    assert found["hangs"].startswith("it was still being imported after 6 s:\n")
    assert 'hangs_kd.py", line 5 in wait' in found["hangs"]
    assert found["raises"].splitlines()[0] == "Traceback (most recent call last):"
    assert 'raises_kd.py", line 5, in <module>' in found["raises"].splitlines()[1]
    assert found["raises"].splitlines()[-1] == "ValueError: no licence"
    assert found["reads"].splitlines()[-1].startswith("EOFError")
    assert "is not decorated" in found["unmarked"]
    assert found["gone"].splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_kd'"
    assert f"there is no file {installed.folder / 'recipes_kd' / 'lost.yaml'}" in found["lost"]
    assert "unknown key 'studnet'; did you mean 'student'?" in found["wrong"]
    assert f"there is no file {installed.folder / 'card.yaml'}" in found["cardless"]


def test_every_kind_has_an_entry_point_group(site: Site) -> None:
    points = "".join(f"[kdbench.{plural}]\nmine = absent_kd:mine\n" for plural in KINDS.values())
    site.add("whole", points)
    assert {each.origin.kind for each in broken(discover(GROUPS).origins)} == set(KINDS)


def test_built_in_parts_and_files_are_not_probed(tmp_path: Path) -> None:
    from kdbench.registry.origin import Origin

    assert broken([Origin("loss", "rkd", "x:y"), Origin("loss", "a", "a.py:a", "a.py", file=tmp_path / "a.py")]) == []


def test_a_fault_that_is_known_needs_no_process(site: Site) -> None:
    site.add("zoo", "[kdbench.losses]\nmine = nonsense\n")
    (found,) = broken(discover(GROUPS).origins, seconds=0.001)
    assert found.text == "its entry point is 'nonsense', expected module:attribute"
    assert json.dumps(found.text)
