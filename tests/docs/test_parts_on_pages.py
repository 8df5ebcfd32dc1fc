"""Every name that `kdbench list` shows stands on the page of its kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import losses

from kdbench.registry import KINDS, registry

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "method": "methods",
    "teacher": "methods",
    "loss": "losses",
    "dataset": "data",
    "launcher": "cluster",
    **dict.fromkeys(("representation", "encoder", "pooling", "fusion", "semantics"), "parts"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_part_stands_on_its_page(kind: str) -> None:
    shipped = {name for name, origin in registry(kind).origins().items() if origin.built_in}
    page = (DOCS / f"{PAGES[kind]}.md").read_text(encoding="utf-8")
    assert shipped
    assert shipped - set(re.findall(r"`([^`\n]+)`", page)) == set()


@pytest.mark.parametrize("kind", ["method", "teacher"])
def test_the_tables_of_methods_name_nothing_else(kind: str) -> None:
    tables = {"method": ("method", "system"), "teacher": ("teacher",)}[kind]
    page = (DOCS / "methods.md").read_text(encoding="utf-8")
    for heading in tables:
        rows = page.partition(f"| {heading} |")[2].partition("\n\n")[0]
        first = [row.split("|")[1] for row in rows.splitlines()[2:]]
        assert first
        assert set(re.findall(r"`([^`]+)`", " ".join(first))) <= set(registry(kind).names())


def test_every_loss_is_said_to_be_checked_against_something_once() -> None:
    page = (DOCS / "losses.md").read_text(encoding="utf-8")
    table = page.partition("| against | losses |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[2])]
    shipped = {name for name, origin in registry("loss").origins().items() if origin.built_in}
    assert sorted(set(named) & shipped) == sorted(name for name in named if name in shipped)
    assert shipped - set(named) == set()
    assert set(named) - shipped == {"weighted"}


def test_a_loss_that_fits_one_student_is_shown_with_that_ones_method() -> None:
    users = losses.used_by()["reconstruction"]
    assert users == ["actionmae"]
    assert "kdbench run --dataset utd_mhad --method actionmae\n" in losses.page("reconstruction", users) + "\n"
