"""`kdbench describe`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sweep import swept

from kdbench.data.card import load_card
from kdbench.recipes.assembly import LINEAGE, teacher_at
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.recipes.shipped import names
from kdbench.registry import KINDS, registry

_FILES = {"method", "teacher", "dataset"}
PARTS = [(kind, name) for kind in KINDS if kind not in _FILES for name in registry(kind).names()]


@swept(("kind", "name"), PARTS)
def test_every_part_is_described_with_its_parameters(kind: str, name: str, kdbench: Callable[..., Any]) -> None:
    done = kdbench("describe", name, "--kind", kind)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{name} · {kind} · built in · kdbench.")
    heading, use = ("Options", "kdbench run") if kind == "launcher" else ("Parameters in a recipe", "--set ")
    assert f"\n{heading}\n" in done.out
    assert "(required)" not in done.out
    assert "It has no docstring" not in done.out
    assert f"Use it: {use}" in done.out


def test_parameters_have_types_and_defaults(kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", "hash").out
    assert "  size: int = 384 · " in out
    assert "\n  seed: int = 0 · " in out
    assert "names" not in out.partition("Parameters in a recipe")[2]


@pytest.mark.parametrize(
    ("name", "kind", "option"),
    [
        ("gaf", "representation", "--set teacher.representation.name=gaf"),
        ("clip", "representation", "--set student.representation.name=clip"),
        ("conv2plus1d", "encoder", "--set student.encoder.name=conv2plus1d"),
        ("ft", "fusion", "--set teacher.fusion.name=ft"),
        ("sp", "loss", "--set student.losses.sp.weight=1"),
        ("table", "semantics", "--set semantics.name=table"),
    ],
)
def test_the_option_that_uses_it(name: str, kind: str, option: str, kdbench: Callable[..., Any]) -> None:
    assert f"Use it: {option}\n" in kdbench("describe", name, "--kind", kind).out


def test_a_name_that_stands_for_two_things_shows_both(kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", "rkd").out
    assert "rkd · method · preset small" in out
    assert "rkd · loss · built in" in out
    assert "rkd · loss" not in kdbench("describe", "rkd", "--kind", "method").out


@swept("name", registry("fusion").names())
def test_a_fusion_shows_what_it_does_and_whether_it_couples_the_batch(name: str, kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", name, "--kind", "fusion").out
    component = registry("fusion").get(name)
    assert (component.__doc__ or "").partition("\n")[0] in out
    assert f"joint: {'yes' if component.joint else 'no'} · " in out
    assert f"couples_batch: {'yes' if component.couples_batch else 'no'}" in out
    given = out[out.index("Parameters in a recipe") : out.index("\nDeclared\n")]
    own = list(inspect.signature(component).parameters)[3:]
    assert all(f"  {parameter}: " in given for parameter in own)
    # Each is explained, not only listed.
    assert all(" · " in line for line in given.splitlines() if line.startswith("  ") and own)
    assert not {"channels", "sources", "shapes"} & {line.strip().partition(":")[0] for line in given.splitlines()}


@pytest.mark.slow
@swept("preset", ["paper", "small", "smoke"])
@swept("name", names())
def test_a_methods_description_is_its_resolved_recipe(name: str, preset: str, kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", name, "--kind", "method", "--preset", preset).out
    text = out[out.index("\ndata:") : out.index("\nUse it:")]
    recipe = resolve(name, preset)
    shown = yaml.safe_load(text) | {key: getattr(recipe, key) for key in ("name", *LINEAGE)}
    assert Recipe.model_validate(shown).called(recipe.method, recipe.taught_by, recipe.title) == recipe
    assert (f"Its teacher is {recipe.taught_by}" in out) == (recipe.taught_by is not None)


@pytest.mark.parametrize("name", ["rkd", "sgm", "utd_mhad", "losses"])
@pytest.mark.usefixtures("eighty_columns")
def test_no_line_is_wider_than_the_terminal(name: str, kdbench: Callable[..., Any]) -> None:
    lines = kdbench("describe", name).out.splitlines()
    assert [line for line in lines if len(line) > 80 and " " in line.strip() and "kdbench" not in line] == []


@pytest.mark.usefixtures("eighty_columns")
def test_yaml_of_a_narrow_terminal_says_the_same(kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", "utd_mhad").out
    shown = yaml.safe_load(out[out.index("\nversion:") : out.index("\nTracks:")])
    card = load_card("utd_mhad")
    assert [entry["name"] for entry in shown["classes"]] == list(card.class_names)
    assert shown["citation"] == card.citation


def test_a_teachers_description_is_the_network_that_it_gives(kdbench: Callable[..., Any]) -> None:
    for name in registry("teacher").names():
        out = kdbench("describe", name, "--kind", "teacher", "--preset", "small").out
        first = re.search(r"^[a-z]+:", out, re.MULTILINE)
        assert first is not None
        text = out[first.start() : out.index("\nUse it:")]
        assert yaml.safe_load(text) == teacher_at(name, "small")
        assert f"Use it: kdbench run --method kd --teacher {name} " in out


def test_a_method_shows_what_it_extends(kdbench: Callable[..., Any]) -> None:
    assert "Extends, the later over the earlier: sgm_ft → kd → rkd" in kdbench("describe", "rkd").out


def test_ones_own_recipe_by_path(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: kd\nstudent: {losses: {st: {temperature: 2.0}}}\n")
    done = kdbench("describe", str(path))
    assert "mine · method" in done.out
    assert "temperature: 2.0" in done.out


def test_ones_own_teacher_by_path(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: raw\ntrain: {epochs: 7}\n")
    out = kdbench("describe", str(path)).out
    assert f"{path} · teacher · preset small\n\nExtends, the later over the earlier: gaf_ft → " in out
    assert "epochs: 7" in out


def test_a_fusion_says_which_branches_it_joins(kdbench: Callable[..., Any]) -> None:
    assert "joins: alike · joint: no" in kdbench("describe", "ft").out
    assert "joins: any · joint: yes" in kdbench("describe", "concat").out


def test_a_data_set_shows_its_card(kdbench: Callable[..., Any]) -> None:
    out = kdbench("describe", "utd_mhad").out
    card = load_card("utd_mhad")
    assert card.title in out
    text = out[out.index("\nversion:") : out.index("\nTracks:")]
    shown = yaml.safe_load(text)
    assert [entry["name"] for entry in shown["classes"]] == list(card.class_names)
    assert shown["citation"] == card.citation
    assert set(shown["protocols"]) == {"cross_subject", "cross_subject_swapped", "subject_specific", "loso_{subject}"}
    assert kdbench("describe", str(card.folder / "card.yaml")).out.startswith("utd_mhad · data set")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["sgmm"], "unknown name 'sgmm'; did you mean 'sgm'"),
        (["sgm", "--kind", "lose"], "unknown kind of part 'lose'; did you mean 'loss'?"),
        (["sgm", "--kind", "encoder"], "unknown encoder 'sgm'"),
        (["sgm_ft", "--preset", "smal"], "unknown preset 'smal'; did you mean 'small'?"),
        (["no/such/recipe.yaml"], "no/such/recipe.yaml"),
    ],
)
def test_what_does_not_exist_leaves_with_2(arguments: list[str], text: str, kdbench: Callable[..., Any]) -> None:
    done = kdbench("describe", *arguments)
    assert done.code == 2
    assert text in done.err


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("card.yaml", "name: mine\n", "the card {path} has"),
        ("mine.yaml", "title: Mine\nclasses: [a]\nprotocols: {}\n", "the card {path} has"),
        ("card.yaml", "name: [\n", "the card {path} is not valid YAML"),
        ("mine.yaml", "extends: rkd\nstudnt: {}\n", "recipe"),
        ("mine.yaml", "methods: [rkd]\nseed: 3\n", "the suite {path}"),
    ],
)
def test_a_broken_file_is_told_its_faults_as_what_it_is(
    kdbench: Callable[..., Any], tmp_path: Path, file: str, text: str, said: str
) -> None:
    path = tmp_path / file
    path.write_text(text)
    done = kdbench("describe", str(path))
    assert done.code == 2
    assert said.format(path=path) in done.err.replace("\n", " ").replace("  ", " ")


def test_a_recipe_shows_its_formulas_and_what_is_not_as_published(tmp_path: Path, kdbench: Callable[..., Any]) -> None:
    words = "extends: kd\nequations: [L = CE + KL]\ndeviations: ['T = 4: not in the paper']\n"
    (tmp_path / "mine.yaml").write_text(words)
    out = kdbench("describe", str(tmp_path / "mine.yaml")).out
    assert "\nEquations\n  L = CE + KL\n" in out
    assert "\nNot as published, or not published\n  T = 4: not in the paper\n" in out
    changed = resolve(str(tmp_path / "mine.yaml"), "small")
    (tmp_path / "mine.yaml").write_text("extends: kd\n")
    assert changed.model_dump() == resolve(str(tmp_path / "mine.yaml"), "small").model_dump()
