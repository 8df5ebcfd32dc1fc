"""`kdbench list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from plugin_site import COSINE, POINTS, loss_source

from kdbench.grid.suite import load_suite, shipped_suites
from kdbench.recipes.shipped import names
from kdbench.registry import KINDS, registry


def test_everything_registered_is_listed_with_a_line(kdbench: Callable[..., Any]) -> None:
    found = json.loads(kdbench("list", "--json").out)
    assert set(found) == {*KINDS.values(), "suites"}
    assert [row["name"] for row in found["methods"]] == names()
    for kind, plural in KINDS.items():
        if kind != "method":
            assert [row["name"] for row in found[plural]] == registry(kind).names()
    for rows in found.values():
        for row in rows:
            assert row["summary"], f"{row['name']} has no summary"
            assert row["origin"] == "built in"


def test_the_suites_are_listed_with_the_number_of_their_runs(kdbench: Callable[..., Any]) -> None:
    (suites,) = json.loads(kdbench("list", "suite", "--json").out).values()
    assert {row["name"] for row in suites} == set(shipped_suites())
    for row in suites:
        suite = load_suite(row["name"])
        assert (row["summary"], row["origin"]) == (suite.summary, "built in")
        assert row["runs"] == len(suite.methods) * suite.seeds * max(len(suite.protocols), 1)
    heading, *lines = kdbench("list", "suites").out.splitlines()[1:]
    assert heading.split() == ["name", "runs", "what", "it", "is"]
    assert [line.split()[0] for line in lines] == shipped_suites()
    assert lines[shipped_suites().index("smoke")].split()[:2] == ["smoke", "5"]
    assert kdbench("list", "suites", "--broken").out == "every plugin can be imported\n"


@pytest.mark.parametrize("word", ["loss", "losses"])
def test_one_kind_in_singular_or_plural(word: str, kdbench: Callable[..., Any]) -> None:
    assert list(json.loads(kdbench("list", word, "--json").out)) == ["losses"]


def test_a_line_for_each_name_for_grep(kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = kdbench("list", "losses").out.splitlines()
    assert lines[0].strip() == "losses"
    assert lines[1].split() == ["name", "what", "it", "is"]
    families = [f"{prefix}:NAME" for prefix in registry("loss").families()]
    assert [line.split()[0] for line in lines[2:]] == registry("loss").names() + families


def test_an_unknown_kind_gets_the_near_miss(kdbench: Callable[..., Any]) -> None:
    done = kdbench("list", "lossess")
    assert done.code == 2
    assert "unknown kind of part 'lossess'; did you mean 'losses'?" in done.err


def test_a_plugin_is_listed_with_its_origin_and_not_imported(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("cosine_kd", COSINE + "\nraise RuntimeError('imported')\n", POINTS)
    rows = {row["name"]: row for row in json.loads(kdbench("list", "losses", "--json").out)["losses"]}
    assert rows["cosine"]["origin"] == "cosine_kd 1.5"
    assert rows["cosine"]["summary"] == "Cosine distance of pooled features [x], (B, D) each."
    assert "features [x], (B, D)" in kdbench("list", "losses").out


def test_broken_plugins_are_shown_with_their_tracebacks(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("cosine_kd", "import no_such_library\n", POINTS)
    done = kdbench("list", "--broken")
    assert done.code == 0
    assert "loss cosine (cosine_kd:cosine, cosine_kd 1.5)" in done.out
    assert "ModuleNotFoundError: No module named 'no_such_library'" in done.out
    assert "1 broken" in done.out
    assert "cosine" in kdbench("list", "losses").out


def test_broken_plugins_as_json(kdbench: Callable[..., Any], install: Callable[..., None]) -> None:
    install("cosine_kd", "print('Welcome')\nraise ValueError('no licence')\n", POINTS)
    (row,) = json.loads(kdbench("list", "losses", "--broken", "--json").out)
    assert (row["kind"], row["name"]) == ("loss", "cosine")
    assert row["traceback"].endswith("ValueError: no licence")
    assert json.loads(kdbench("list", "fusions", "--broken", "--json").out) == []


def test_a_hanging_plugin_is_broken_after_the_time_that_is_given(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("cosine_kd", "import time\ntime.sleep(600)\n", POINTS)
    done = kdbench("list", "losses", "--broken", "--seconds", "3")
    assert "it was still being imported after 3 s" in done.out
    assert 'cosine_kd.py", line 2 in <module>' in done.out


@pytest.mark.slow
def test_working_plugins_are_not_called_broken(kdbench: Callable[..., Any], install: Callable[..., None]) -> None:
    install("cosine_working_kd", COSINE, POINTS.replace("cosine_kd", "cosine_working_kd"))
    assert kdbench("list", "--broken").out == "every plugin can be imported\n"


def test_metadata_that_cannot_be_read_are_listed_as_broken(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("damaged", "", "[kdbench.losses]\nno value here\n")
    done = kdbench("list", "--broken")
    assert "distribution damaged 1.5 (entry_points.txt, damaged 1.5)" in done.out
    assert "1 broken" in done.out
    assert done.err.count("\n") == 1


def test_a_name_that_is_taken_is_listed_by_its_distribution_with_one_warning(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("zoo_kd", loss_source("rkd"), "[kdbench.losses]\nrkd = zoo_kd:rkd\n")
    done = kdbench("list", "losses")
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "built in" in lines["rkd"]
    assert "zoo_kd 1.5" in lines["zoo-kd:rkd"]
    assert "The loss rkd." in lines["zoo-kd:rkd"]
    assert done.err == "warning: the loss 'rkd' is the built-in one; that of zoo_kd 1.5 goes by zoo-kd:rkd\n"
    assert kdbench("list", "fusions").err == ""


def test_a_registration_that_makes_no_sense_is_listed_as_broken(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("odd_kd", "", "[kdbench.losses]\nodd = odd_kd\n[kdbench.methods]\nlost = odd_kd\n")
    found = json.loads(kdbench("list", "--json").out)
    rows = {row["name"]: row for row in [*found["losses"], *found["methods"]]}
    assert rows["odd"]["summary"] == "broken: its entry point is 'odd_kd', expected module:attribute"
    assert rows["lost"]["summary"].startswith("broken: the method 'lost' of odd_kd 1.5 is broken: there is no file")


def test_a_family_is_listed_by_its_prefix(kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.losses.FAMILIES", {"zoo": "kdbench.losses.sp:similarity_preserving"}, raising=False)
    (line,) = [line for line in kdbench("list", "losses").out.splitlines() if line.startswith("zoo:NAME")]
    assert "Squared difference of the similarities" in line


def test_json_stays_json_where_a_plugin_prints(kdbench: Callable[..., Any], install: Callable[..., None]) -> None:
    install("loud_kd", loss_source("loud", head="print('Welcome')"), "[kdbench.losses]\nloud = loud_kd:loud\n")
    assert kdbench("describe", "loud").out.startswith("loud · loss · loud_kd 1.5")
    assert "loud" in {row["name"] for row in json.loads(kdbench("list", "losses", "--json").out)["losses"]}


@pytest.mark.usefixtures("eighty_columns")
def test_without_a_kind_there_is_a_line_for_each_kind(kdbench: Callable[..., Any]) -> None:
    lines = kdbench("list").out.splitlines()
    assert len(lines) < 15
    assert max(map(len, lines)) <= 80
    for kind in KINDS.values():
        count = len(registry(next(each for each, plural in KINDS.items() if plural == kind)).names())
        (line,) = [line for line in lines if line.startswith(f"{count} {kind} ")]
        assert count <= 5 or line.endswith(", …")
    assert "kdbench list --all" in lines[-1]
    whole = kdbench("list", "--all").out
    assert all(f"\n{name} " in whole for name in registry("loss").names())


def test_plugins_come_first_in_the_overview(kdbench: Callable[..., Any], install: Callable[..., None]) -> None:
    install("zoo_kd", loss_source("zzz"), "[kdbench.losses]\nzzz = zoo_kd:zzz\n")
    (line,) = [line for line in kdbench("list").out.splitlines() if " losses " in line]
    assert line.split()[2] == "zzz,"
