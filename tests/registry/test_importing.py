"""What a plugin does when it is imported: raise, leave, wait, print, or be another thing than it says."""

from __future__ import annotations

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from plugin_site import Site, loss_source

from kdbench.errors import UsageError
from kdbench.registry import registry
from kdbench.registry.streams import stdout_to_stderr

LOSSES = registry("loss")
POINT = "[kdbench.losses]\nmine = mine_kd:mine\n"


def _error(name: str = "mine", kind: str = "loss") -> UsageError:
    with pytest.raises(UsageError) as caught:
        registry(kind).get(name)
    return caught.value


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("raise ValueError('three\\nlines\\nlong')", "ValueError: three lines long"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Own(BaseException): pass\nraise Own('mine')", "Own: mine"),
        ("import pytest\npytest.importorskip('no_such_library')", "Skipped: could not import 'no_such_library'"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def", "SyntaxError: invalid syntax (mine_kd.py, line 1)"),
    ],
)
def test_an_import_that_raises_is_an_error_of_the_plugin(head: str, said: str, site: Site) -> None:
    site.add("odd", POINT, {"mine_kd.py": head})
    error = _error()
    assert error.message.startswith(f"the loss 'mine' of odd 1.5 (mine_kd:mine) cannot be imported: {said}")
    assert "\n" not in error.message
    assert error.hint == "See where: kdbench list --broken. Mend or uninstall that distribution."
    assert "mine_kd" not in sys.modules


def test_it_is_tried_again_after_it_was_mended(site: Site) -> None:
    site.add("odd", POINT, {"mine_kd.py": "raise ValueError\n"})
    _error()
    site.write("mine_kd.py", loss_source("mine"))
    assert LOSSES.get("mine").__module__ == "mine_kd"


def test_modules_that_were_imported_half_are_forgotten(site: Site) -> None:
    site.add(
        "odd",
        "[kdbench.losses]\nmine = pack_kd.loss:mine\n",
        {
            "pack_kd/__init__.py": "from pack_kd import tools\n",
            "pack_kd/tools.py": "SCALE = 1.0\n",
            "pack_kd/loss.py": "from pack_kd.tools import FACTOR\n",
        },
    )
    assert "cannot import name 'FACTOR'" in _error().message
    assert not [name for name in sys.modules if name.startswith("pack_kd")]
    site.write("pack_kd/tools.py", "FACTOR = 22.0\n")
    site.write("pack_kd/loss.py", loss_source("mine", head="from pack_kd.tools import FACTOR"))
    assert LOSSES.get("mine").__module__ == "pack_kd.loss"


def test_an_attribute_that_is_not_there(site: Site) -> None:
    site.add("odd", POINT, {"mine_kd.py": "yours = 1\n"})
    assert "AttributeError: module 'mine_kd' has no attribute 'mine'" in _error().message
    site.write("mine_kd.py", loss_source("mine"))
    assert LOSSES.get("mine").__module__ == "mine_kd"


def test_an_object_that_is_not_decorated(site: Site) -> None:
    site.add("odd", POINT, {"mine_kd.py": "def mine(student, teacher): return 0\n"})
    assert str(_error()) == (
        "the loss 'mine' of odd 1.5 (mine_kd:mine) is not decorated\nPut @loss('mine', …) from kdbench above it."
    )


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("from kdbench import fusion\n@fusion('mine')\nclass mine: pass\n", "the fusion 'mine'"),
        (loss_source("yours") + "\nmine = yours\n", "the loss 'yours'"),
        ("from kdbench.losses.se import SemanticEmbedding\nclass mine(SemanticEmbedding): pass\n", "the loss 'se'"),
    ],
)
def test_an_object_that_is_decorated_as_something_else(source: str, what: str, site: Site) -> None:
    site.add("odd", POINT, {"mine_kd.py": source})
    assert f"the loss 'mine' of odd 1.5 (mine_kd:mine) is decorated as {what}" in str(_error())


def test_a_data_set_that_is_no_reader(site: Site) -> None:
    site.add("odd", "[kdbench.datasets]\nmine = mine_kd:Mine\n", {"mine_kd.py": "class Mine: pass\n"})
    message = _error(kind="dataset").message
    assert message == ("the data set 'mine' of odd 1.5 (mine_kd:Mine) is not a subclass of kdbench.Reader")


def test_what_it_prints_goes_to_the_error_stream(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("odd", POINT, {"mine_kd.py": loss_source("mine", head="print('Welcome to my plugin')")})
    LOSSES.get("mine")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Welcome to my plugin\n"


def test_what_it_writes_past_python_goes_to_the_error_stream_too(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.add("odd", POINT, {"mine_kd.py": loss_source("mine", head="import os\nos.write(1, b'raw')")})
    os.write(1, b"before ")
    LOSSES.get("mine")
    os.write(1, b"after")
    assert capfd.readouterr() == ("before after", "raw")


def test_standard_output_is_put_back_after_an_import_that_raises(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.add("odd", POINT, {"mine_kd.py": "import os\nos.write(1, b'raw')\nraise ValueError\n"})
    _error()
    sys.stdout.write("after")
    assert capfd.readouterr() == ("after", "raw")


def test_standard_output_is_put_back_when_the_last_of_several_threads_is_done(
    capfd: pytest.CaptureFixture[str],
) -> None:
    first, second = stdout_to_stderr(), stdout_to_stderr()
    with ThreadPoolExecutor(1) as thread:
        with contextlib.ExitStack() as outer:
            outer.enter_context(first)
            thread.submit(second.__enter__).result()
        os.write(1, b"still ")
        sys.stdout.write("inside")
        thread.submit(second.__exit__, None, None, None).result()
    sys.stdout.write("outside")
    assert capfd.readouterr() == ("outside", "still inside")


def test_an_import_that_takes_long_says_which(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.registry.importing.SLOW_SECONDS", 0.05)
    site.add("odd", POINT, {"mine_kd.py": loss_source("mine", head="import time\ntime.sleep(0.5)")})
    LOSSES.get("mine")
    assert capsys.readouterr().err == ("still importing the loss 'mine' of odd 1.5 after 0.05 s; Ctrl-C stops it\n")


def test_a_quick_import_says_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("odd", POINT, {"mine_kd.py": loss_source("mine")})
    LOSSES.get("mine")
    assert capsys.readouterr().err == ""


def test_an_interrupt_is_the_users(site: Site) -> None:
    site.add("odd", POINT, {"mine_kd.py": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        LOSSES.get("mine")


def test_a_broken_plugin_costs_a_line_where_all_are_gone_through(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("odd", POINT, {"mine_kd.py": "raise ValueError('no')\n"})
    for _ in range(2):
        found = dict(LOSSES.components())
    assert "mine" not in found
    assert "rkd" in found
    assert capsys.readouterr().err == (
        "warning: the loss 'mine' of odd 1.5 (mine_kd:mine) cannot be imported: ValueError: no\n"
    )


def test_a_missing_library_of_a_part_of_ours_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "kdbench.encoders.swin", raising=False)
    error = _error("swin_t", "encoder")
    assert "the encoder 'swin_t' (kdbench.encoders.swin:SwinT, built in) cannot be imported" in error.message
    assert error.hint == "Install it: pip install timm"
