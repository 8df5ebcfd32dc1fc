"""`kdbench describe` of published systems: their formulas, their published form, and what a size changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from sweep import swept

from kdbench.grid.suite import load_suite
from kdbench.recipes.assembly import teacher_at
from kdbench.recipes.differences import ABSENT, differences
from kdbench.recipes.layers import layers
from kdbench.recipes.resolve import resolve
from kdbench.recipes.shipped import names
from kdbench.registry import registry


def formula_of(name: str) -> str:
    """The first formula that a description holds: of the recipe, or of the loss that is called like it."""
    said = resolve(name, "small").equations
    if not said and registry("loss").has(name):
        said = tuple(re.findall(r"`?\b(L\w* = [^`]+)`?", registry("loss").get(name).__doc__ or ""))
    return said[0] if said else ""


@swept("name", [name for name in names() if "source" in layers(name)[-1].settings])
def test_a_method_of_a_paper_has_its_formula(name: str, kdbench: Callable[..., Any]) -> None:
    """In its recipe, in the docstring of the loss that it is called like, or in what it says it is a variant of."""
    if formula_of(name):
        return
    out = kdbench("describe", name, "--kind", "method").out
    other, kind = re.search(r"Its formulas.* kdbench describe (\w+)(?: --kind (\w+))?", out).groups()
    assert layers(other, "teacher")[-1].settings["equations"] if kind == "teacher" else formula_of(other)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        *(("sakdn", "sakdn_trn"), ("gsdm", "sakdn_trn"), ("mmad", "mmad_tsn"), ("mmd", "mmd_tsn")),
        *(("hamlet_style", "hamlet"), ("mumu_style", "mumu"), ("keyless_style", "keyless")),
        *(("sakdn_vgg", "sakdn_trn"), ("pskd", "pskd_style")),
    ],
)
def test_what_is_not_the_whole_system_names_the_published_form(
    name: str, published: str, kdbench: Callable[..., Any]
) -> None:
    out = kdbench("describe", name).out
    assert f"as published: kdbench describe {published}\n" in "\n".join(out.splitlines()[:3]) + "\n"


def changed_keys(out: str) -> dict[str, tuple[Any, Any]]:
    """What a description says that its size changes, by dotted key, each with both values."""
    text = re.search(r"\nAt (small|smoke), unlike at paper\n((?:  .*\n)+)", out)
    assert text is not None
    lines = re.sub(r"\n    ", " ", text[2]).strip("\n").splitlines()
    pairs = [line.strip().split(": ", 1) for line in lines]
    return {key: tuple(yaml.safe_load(side) for side in values.split(" → ")) for key, values in pairs}


@pytest.mark.parametrize("name", ["hamlet", "mumu", "keyless"])
def test_a_description_says_what_its_size_changes_of_the_published_numbers(
    name: str, kdbench: Callable[..., Any]
) -> None:
    out = kdbench("describe", name, "--kind", "method", "--preset", "small").out
    said = changed_keys(out)
    paper, small = (resolve(name, preset).teacher for preset in ("paper", "small"))
    assert paper is not None
    assert small is not None
    assert said["teacher.train.epochs"] == (paper.train.epochs, small.train.epochs)
    assert said["teacher.train.lr"] == (paper.train.lr, small.train.lr)
    encoders = tuple(spec.branches["camera"].encoder.model_dump(mode="json") for spec in (paper, small))
    assert said["teacher.branches.camera.encoder"] == encoders
    own = changed_keys(kdbench("describe", name, "--kind", "teacher", "--preset", "small").out)
    assert {f"teacher.{key}" for key in own} == {key for key in said if key.startswith("teacher.")}
    assert "unlike at paper" not in kdbench("describe", name, "--preset", "paper").out


@swept("name", ["tsn", "trn", "sgm_ft", "radevski2023", "vskd", "sakdn"])
def test_every_setting_that_a_size_changes_is_said_and_no_other(name: str, kdbench: Callable[..., Any]) -> None:
    said = changed_keys(kdbench("describe", name, "--kind", "method", "--preset", "smoke").out)
    here, there = (
        resolve(name, preset).model_dump(mode="json", exclude={"name", "summary", "source"})
        for preset in ("paper", "smoke")
    )
    for key, (before, after) in said.items():
        for whole, value in ((here, before), (there, after)):
            for step in key.split(".")[:-1]:
                whole = whole[step]
            assert whole.get(key.split(".")[-1], "nothing") == value
    for key in ("data", "student"):
        parts = [part for part in differences(here[key], there[key], key) if part.before != part.after]
        assert {part.key for part in parts} == {each for each in said if each.split(".")[0] == key}


def test_another_part_differs_as_a_whole() -> None:
    before = {"encoder": {"name": "a", "width": 1}, "train": {"lr": 1.0, "epochs": 2}, "only": 3}
    after = {"encoder": {"name": "b"}, "train": {"lr": 1.0, "epochs": 4}, "new": None}
    assert list(differences(before, after)) == [
        ("encoder", before["encoder"], after["encoder"]),
        ("train.epochs", 2, 4),
        ("new", ABSENT, None),
        ("only", 3, ABSENT),
    ]
    assert list(differences(before, before)) == []
    assert not list(differences(teacher_at("raw", "paper"), teacher_at("raw", "small")))


@swept("suite", ["table1", "systems", "losses"])
def test_a_suite_is_yaml_of_which_no_line_is_a_marker(suite: str, kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", suite, "--kind", "suite").out
    assert "..." not in out.splitlines()
    shown = yaml.safe_load(out[out.index("\nmethods:") : out.index("\nUse it:")])
    assert [each if isinstance(each, str) else each["name"] for each in shown["methods"]] == [
        method.name for method in load_suite(suite).methods
    ]


def test_a_former_name_is_described_as_all_that_it_is(kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", "pskd").out
    assert out.startswith("pskd_branches_style · method")
    assert "pskd is a former name of pskd_branches_style with the teacher gaf_ft" in out
    assert "\npskd · loss · built in" in out
    assert "pskd_style" in out
