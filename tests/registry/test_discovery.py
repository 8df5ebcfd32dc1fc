"""Which plugins are installed, whose a name is, and what broken metadata cost."""

from __future__ import annotations

import importlib
import sys

import pytest
from plugin_site import Site, loss_source

from kdbench.errors import UsageError
from kdbench.registry import registry

LOSSES = registry("loss")


def _loss(site: Site, distribution: str, name: str, value: float = 1.0) -> None:
    module = f"{distribution.replace('-', '_')}_{name}"
    point = f"[kdbench.losses]\n{name} = {module}:{name}\n"
    site.add(distribution, point, {f"{module}.py": loss_source(name, value)})


def _text(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        LOSSES.get(name)
    return str(caught.value)


def test_a_plugin_is_found_and_only_the_one_that_is_asked_for_is_imported(site: Site) -> None:
    _loss(site, "first", "one")
    _loss(site, "second", "two")
    assert LOSSES.origin("one").owner == "first 1.5"
    assert LOSSES.get("one").__name__ == "one"
    assert "first_one" in sys.modules
    assert "second_two" not in sys.modules


def test_a_built_in_name_keeps_its_meaning_and_the_plugin_goes_by_its_distribution(site: Site) -> None:
    builtin = LOSSES.get("rkd")
    _loss(site, "kd_zoo", "rkd")
    assert LOSSES.get("rkd") is builtin
    assert LOSSES.get("kdbench:rkd") is builtin
    assert LOSSES.get("kd-zoo:rkd").__module__ == "kd_zoo_rkd"
    assert LOSSES.get("KD_Zoo:rkd").__module__ == "kd_zoo_rkd"
    assert LOSSES.origins()["rkd"].owner == "built in"
    assert LOSSES.origins()["kd-zoo:rkd"].owner == "kd_zoo 1.5"
    assert LOSSES.clashes() == ["the loss 'rkd' is the built-in one; that of kd_zoo 1.5 goes by kd-zoo:rkd"]


def test_a_name_that_two_plugins_claim_is_an_error_that_names_both_and_the_way_out(site: Site) -> None:
    _loss(site, "first", "twice")
    _loss(site, "second", "twice")
    assert _text("twice") == (
        "the loss 'twice' is claimed by first 1.5 and by second 1.5\nSay which one: first:twice or second:twice"
    )
    assert LOSSES.get("first:twice").__module__ == "first_twice"
    assert LOSSES.get("second:twice").__module__ == "second_twice"
    assert "twice" not in LOSSES.names()
    assert {"first:twice", "second:twice"} <= set(LOSSES.names())
    assert len(LOSSES.clashes()) == 1


def test_a_clash_breaks_nothing_else(site: Site) -> None:
    _loss(site, "first", "twice")
    _loss(site, "second", "twice")
    _loss(site, "third", "alone")
    assert LOSSES.get("alone").__module__ == "third_alone"
    assert LOSSES.get("rkd").__module__ == "kdbench.losses.rkd"
    assert "did you mean 'rkd'" in _text("rkdd")


def test_one_distribution_that_registers_a_name_twice_is_broken_and_the_rest_of_it_is_not(site: Site) -> None:
    points = "[kdbench.losses]\ntwice = a_kd:first\ntwice = a_kd:second\nonce = a_kd:once\n"
    site.add("clumsy", points, {"a_kd.py": loss_source("once")})
    text = _text("twice")
    assert "the loss 'twice' of clumsy 1.5 is broken" in text
    assert "clumsy registers this name more than once: a_kd:first and a_kd:second" in text
    assert LOSSES.get("once").__module__ == "a_kd"


def test_a_prefix_of_a_family_means_the_family(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.losses.FAMILIES", {"zoo": "kdbench.losses.rkd:relational"}, raising=False)
    _loss(site, "zoo", "rkd")
    assert LOSSES.origin("zoo:rkd").built_in
    assert "zoo:rkd" not in LOSSES.origins()
    (line,) = LOSSES.clashes()
    assert line.endswith("that of zoo 1.5 cannot be named, since 'zoo:' is a family")


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Site(site.folder.parent / "older")
    _loss(older, "copy", "mine", 2.0)
    _loss(site, "copy", "mine")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.folder)])
    assert LOSSES.origin("mine").owner == "copy 1.5"
    assert LOSSES.clashes() == []


def test_a_copy_that_no_longer_has_plugins_hides_an_older_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    older = Site(site.folder.parent / "older")
    _loss(older, "copy", "mine")
    site.add("copy", "[console_scripts]\ncopy = copy:main\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.folder)])
    assert not LOSSES.has("mine")


def test_metadata_that_cannot_be_read_cost_a_line_once_and_are_tried_again(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    info = site.add("damaged", b"[kdbench.losses]\nmended = \xff\xfe\n", {"damaged_kd.py": loss_source("mended")})
    _loss(site, "sound", "alone")
    for _ in range(2):
        assert "mended" not in LOSSES.names()
        assert LOSSES.get("alone").__module__ == "sound_alone"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the plugins of damaged 1.5 are left out: entry_points.txt cannot be read (Unicode")
    (info / "entry_points.txt").write_text("[kdbench.losses]\nmended = damaged_kd:mended\n")
    assert LOSSES.get("mended").__module__ == "damaged_kd"


def test_a_line_without_a_value_is_unreadable_too(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("damaged", "[kdbench.losses]\nno value here\n")
    assert "ce" in LOSSES.names()
    assert "the plugins of damaged 1.5 are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ("", "bare 1.5"),
        ("Metadata-Version: 2.1\nName: bare\n", "bare 1.5"),
        ("Metadata-Version: 2.1\nName: Other\nVersion: 3\n", "Other 3"),
    ],
)
@pytest.mark.parametrize("library", ["importlib.metadata", "importlib_metadata"])
def test_metadata_without_a_version_or_missing_are_no_hindrance(
    library: str, metadata: str, owner: str, site: Site
) -> None:
    # The backport, which mlflow brings, takes over the search as soon as it is imported.
    importlib.import_module(library)
    site.add("bare", "[kdbench.losses]\nmine = bare_kd:mine\n", {"bare_kd.py": loss_source("mine")}, metadata=metadata)
    assert LOSSES.origin("mine").owner == owner
    assert LOSSES.get("mine").__module__ == "bare_kd"


@pytest.mark.parametrize(
    ("point", "name", "reason"),
    [
        ("mine = no attribute", "mine", "its entry point is 'no attribute', expected module:attribute"),
        ("mine = module_only", "mine", "its entry point is 'module_only', expected module:attribute"),
        ("my.loss = a:b", "my.loss", "its name is 'my.loss', expected letters, digits, '-' and '_'"),
    ],
)
def test_a_registration_that_makes_no_sense_is_broken(point: str, name: str, reason: str, site: Site) -> None:
    site.add("odd", f"[kdbench.losses]\n{point}\n")
    assert reason in _text(name)
    assert name in LOSSES.names()


def test_a_misspelt_group_is_pointed_out(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("odd", "[kdbench.loses]\nmine = a:b\n")
    LOSSES.names()
    line = capsys.readouterr().err
    assert "in the metadata of odd 1.5: unknown entry-point group 'kdbench.loses'" in line
    assert "did you mean 'kdbench.losses'" in line


def test_what_is_installed_while_the_process_runs_is_found(site: Site) -> None:
    assert not LOSSES.has("late")
    _loss(site, "late-comer", "late")
    assert LOSSES.get("late").__module__ == "late_comer_late"


@pytest.mark.parametrize("value", ["none", "off", "0", "OFF"])
def test_plugins_can_be_switched_off(value: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _loss(site, "first", "one")
    monkeypatch.setenv("KDBENCH_PLUGINS", value)
    assert "one" not in LOSSES.names()
    assert LOSSES.get("rkd").__module__ == "kdbench.losses.rkd"
    text = _text("one")
    assert "the loss 'one' of first 1.5 is switched off by $KDBENCH_PLUGINS" in text
    assert "add first to it" in text


@pytest.mark.parametrize("value", ["", "all", "on", "1"])
def test_all_plugins_are_allowed_by_default(value: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _loss(site, "first", "one")
    monkeypatch.setenv("KDBENCH_PLUGINS", value)
    assert "one" in LOSSES.names()


def test_some_plugins_can_be_allowed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for distribution, name in (("first", "one"), ("second_kd", "two"), ("third", "three")):
        _loss(site, distribution, name)
    monkeypatch.setenv("KDBENCH_PLUGINS", "first, Second-KD")
    assert {"one", "two"} <= set(LOSSES.names())
    assert "three" not in LOSSES.names()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("frist", "unknown plugin in $KDBENCH_PLUGINS 'frist'; did you mean 'first'?"),
        ("first,none", "unknown plugin in $KDBENCH_PLUGINS 'none'"),
        ("my_loss.py", "a file is given by --plugin FILE"),
        ("frist", "It is a comma-separated list of installed distributions, or off, or all."),
    ],
)
def test_a_value_that_means_nothing_is_explained(
    value: str, message: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _loss(site, "first", "one")
    monkeypatch.setenv("KDBENCH_PLUGINS", value)
    with pytest.raises(UsageError) as caught:
        LOSSES.names()
    assert message in str(caught.value)
    assert LOSSES.get("rkd").__module__ == "kdbench.losses.rkd"
