"""YAML of plain values: what it means, and what is refused by name instead of followed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from kdbench.errors import UsageError
from kdbench.recipes.changes import parse_overrides
from kdbench.recipes.resolve import resolve
from kdbench.util import paths, plain_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e-4", {"a": 1e-4}),
        ("a: [1_000, -3, 0x10, .5, 1., .inf, 1e3]", {"a": [1000, -3, 16, 0.5, 1.0, float("inf"), 1000.0]}),
        ("a: 2015-10-01", {"a": "2015-10-01"}),
        ("a: [007, 08, 12:30, '1', \"2\"]", {"a": ["007", "08", "12:30", "1", "2"]}),
        ("a: [yes, No, true, off, ~, null, Null]", {"a": [True, False, True, False, None, None, None]}),
        ("on: 1\n3: 2\n~: x\n", {"on": 1, "3": 2, "~": "x"}),
        ("a:\n", {"a": None}),
        (
            "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: *x\n",
            {"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}, "e": {"b": 1, "c": 2}},
        ),
        ("a: !!str 5\nb: !!float 2\n", {"a": "5", "b": 2.0}),
        ("\ufeffa: 1", {"a": 1}),
        ("", None),
        ("plain text", "plain text"),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("a: [., -, e5, .e, 1e, -.]", {"a": [".", "-", "e5", ".e", "1e", "-."]}),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: Any) -> None:
    assert plain_yaml.parse(text, "it") == value


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "holds more than 200,000 values"),
        (MERGES, "holds more than 200,000 values"),
        ("a: &a [*a]", "a.0 refers to itself"),
        ("a: &a {b: *a}", "a.b refers to itself"),
        ("[" * 100_000, "is nested more than 40 deep"),
        ("{a: " * 100_000, "is nested more than 40 deep"),
        ("- " * 5_000 + "x", "is nested more than 40 deep"),
        ("a: {b: 1, c: 2, b: 3}", "line 1, column 17: the key b stands twice under a"),
        (f"deep: {{number: {'9' * 5000}}}", "deep.number is a number of 5,000 digits"),
        (f"a: 1.{'9' * 5000}", "a is a number of 5,002 digits"),
        ("lr: 1e999", "lr = 1e999 is too large a number"),
        ("a: !!binary aGk=", "a has the type !!binary; expected plain values alone"),
        ("a: !!timestamp 2020-01-01", "a has the type !!timestamp"),
        ("a: !!set {x}", "a has the type !!set"),
        ("a: !!omap [x: 1]", "a has the type !!omap"),
        ("a: !mine 3", "a has the type !mine"),
        ("a: !!python/object/apply:os.getcwd []", "a has the type !!python/object/apply:os.getcwd"),
        ("!!python/name:os.system ''", "it has the type !!python/name:os.system"),
        ("? [1, 2]\n: 3", "has a key that is not text"),
        ("? {a: 1}\n: 3", "has a key that is not text"),
        ("a: !!int x", "a = 'x' is no !!int"),
        ("a: 1\n---\nb: 2", "holds several documents"),
        ("a: {<<: 3}", "<< takes in mappings alone under a"),
        ("a: [1", "it is not valid YAML, line 2"),
        ("a:\n\t- 1", "Indent with spaces, not with tabs"),
        ("a: *nobody", "a refers to what does not stand above it: *nobody"),
        ("a: \x00", "it is not valid YAML"),
        ("a: '\ud800'", "it is not valid YAML"),
    ],
)
def test_what_is_more_than_plain_values_is_refused_by_its_place(text: str, said: str) -> None:
    begin = time.process_time()
    with pytest.raises(UsageError) as caught:
        plain_yaml.parse(text, "it")
    assert said in str(caught.value)
    assert caught.value.hint
    assert len(caught.value.message) < 500
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: \xff", "byte 4 is not UTF-8"),
        ("a: 1".encode("utf-16"), "is not UTF-8"),
        (b"# \n" + b"a" * (4 * 2**20), "has more than 4 MiB"),
        (b"- 1", "holds a list of 1, expected a mapping"),
        (b"", "holds null, expected a mapping"),
    ],
)
def test_a_file_is_named_when_it_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        paths.read_mapping(path, "recipe")
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_a_folder_and_a_missing_file_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        paths.read_mapping(tmp_path, "recipe")
    with pytest.raises(UsageError, match="there is no recipe"):
        paths.read_mapping(tmp_path / "none.yaml", "recipe")


@pytest.mark.parametrize("value", [BOMB, "[" * 3000, "9" * 5000, "!!python/name:os.system ''", "{a: 1, a: 2}"])
def test_an_override_is_read_within_the_same_bounds(value: str) -> None:
    with pytest.raises(UsageError, match=r"--set student\.train\.lr"):
        parse_overrides([f"student.train.lr={value}"])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (".".join("a" * 5000) + "=1", "names more than 40 keys"),
        ("a..b=1", "cannot read the override"),
        (".a=1", "cannot read the override"),
        ("=1", "cannot read the override"),
        ("x" * 100_000, "cannot read the override"),
    ],
)
def test_an_override_without_a_proper_key_is_refused(item: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_overrides([item])
    assert said in caught.value.message
    assert len(caught.value.message) < 300


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@fuzz(200)
@given(PLAIN)
def test_what_is_written_is_read_back(content: Any) -> None:
    assert plain_yaml.parse(plain_yaml.dump(content), "it") == content


@fuzz(300)
@given(st.text(alphabet=" \n-:{}[],&*!|>'\"%@#?<ab01.eE_~\t", max_size=60))
def test_nothing_but_plain_sentences_comes_out(text: str) -> None:
    with contextlib.suppress(UsageError):
        plain_yaml.parse(text, "it")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: 5\n", "extends = 5: expected the name or path of a recipe, or a list of them"),
        ("extends: [hinton, {a: 1}]\n", "extends.1 = {a}: expected the name or path of a recipe"),
        ("extends: {a: 1}\n", "extends = {a}"),
        ("extends: hinton\npresets: [1]\n", "presets = a list of 1: expected a mapping"),
        ("extends: hinton\npresets: {small: 3}\n", "presets.small = 3: expected a mapping"),
        ("extends: hinton\npresets: {smal: {}}\n", "did you mean 'small'"),
        ("extends: hinton\nstudent: 3\n", "student = 3: expected a mapping with the keys modality"),
        (
            "extends: hinton\nstudent: {train: {epochs: 1000000000000}}\n",
            "student.train.epochs = 1000000000000: expected",
        ),
        ("extends: hinton\nstudent: {train: {lr: .inf}}\n", "student.train.lr = inf: expected a finite number"),
        (f"extends: {'x' * 100_000}\n", "unknown method"),
        ('extends: "a\\0b.yaml"\n', "there is no recipe file"),
        (f"extends: {'x/' * 5000}y.yaml\n", "there is no recipe file"),
    ],
)
def test_a_recipe_of_odd_types_is_refused_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve(str(path), "small")
    assert said in caught.value.message
    assert len(caught.value.message) < 1000


def test_recipes_that_extend_one_another_many_times_over_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "r0.yaml").write_text("extends: hinton\n")
    for number in range(1, 40):
        (tmp_path / f"r{number}.yaml").write_text(f"extends: [r{number - 1}.yaml, r{number - 1}.yaml]\n")
    begin = time.process_time()
    assert resolve(str(tmp_path / "r39.yaml"), "small").name == "r39"
    assert time.process_time() - begin < 5


def test_a_chain_of_recipes_without_end_is_refused(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"r{number}.yaml").write_text(f"extends: r{number + 1}.yaml\n")
    with pytest.raises(UsageError, match="more than 100 recipes"):
        resolve(str(tmp_path / "r0.yaml"), "small")


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("a: *nobody", True),
        ("a: !mine 3", True),
        ("a: 1e999", True),
        (f"a: {'9' * 50}", True),
        ("a: b: c", True),
        ("a: @b", True),
        ("a: &a [*a]", False),
        ("{a: 1, a: 2}", False),
        ("[" * 100, False),
        ("a: 1\n---\nb: 2", False),
        ("a: {<<: 3}", False),
        ("? [1, 2]\n: 3", False),
        ("a: !!int x", False),
        ("a: [1", False),
        ("a:\n\t- 1", False),
    ],
)
def test_quotes_are_advised_where_they_help(text: str, helps: bool) -> None:
    with pytest.raises(UsageError) as caught:
        plain_yaml.parse(text, "it")
    assert caught.value.hint
    assert ("quotes" in caught.value.hint) is helps
