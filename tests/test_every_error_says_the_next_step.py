"""Every error tells its reader what to do next, and what it proposes works."""

from __future__ import annotations

import ast
import inspect
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kdbench
from kdbench.errors import KdbenchError, UsageError
from kdbench.recipes.changes import changes_of
from kdbench.recipes.placed import placed
from kdbench.registry import registry
from kdbench.testing.encoders import EncoderCase
from kdbench.testing.fusions import FusionCase
from kdbench.testing.losses import LossCase
from kdbench.testing.poolings import PoolingCase
from kdbench.testing.representations import RepresentationCase

SOURCES = Path(kdbench.__file__).parent
BUILDERS = {"unknown"}
"""Functions that make an error with the hint that they are given."""
WITHOUT = {
    "Interrupted": "the user stopped the command and knows it; what can be gone on with says so",
}
"""Errors that need no next step, and why."""


def _classes(trees: list[ast.Module]) -> set[str]:
    """The names of all classes of errors with a hint."""
    found = {"KdbenchError"}
    while True:
        more = {
            node.name
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any(isinstance(base, ast.Name) and base.id in found for base in node.bases)
        }
        if more <= found:
            return found
        found |= more


def _can_be_none(node: ast.expr) -> bool:
    """Whether one of the values that an expression chooses among is written as None, or as empty text."""
    if isinstance(node, ast.Constant):
        return not node.value
    if isinstance(node, ast.IfExp):
        return _can_be_none(node.body) or _can_be_none(node.orelse)
    return isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and _can_be_none(node.values[-1])


def _without_step(tree: ast.Module, classes: set[str]) -> Iterator[ast.Call]:
    """Errors that are made without a next step."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name = node.func.id
        if name not in classes | BUILDERS or name in WITHOUT:
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        # A parameter's own default, or another value, is what its error proposes.
        proposes = name == "ParameterError" and (len(node.args) > 1 or "instead" in given)
        if not proposes and ("hint" not in given or _can_be_none(given["hint"])):
            yield node


def test_no_error_is_made_without_a_next_step() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sorted(SOURCES.rglob("*.py"))}
    classes = _classes(list(trees.values()))
    assert {"UsageError", "ParameterError", "DataError", "RunFailed", "Damaged"} <= classes
    missing = [
        f"{path.relative_to(SOURCES.parent)}:{node.lineno}: {ast.unparse(node)[:100]}"
        for path, tree in trees.items()
        for node in _without_step(tree, classes)
    ]
    assert not missing, "\n".join(["Say what to do next by hint=:", *missing])


@pytest.mark.parametrize(
    ("code", "is_missed"),
    [
        ("raise DataError('x') from error", True),
        ("raise DataError('x', hint=None)", True),
        ("raise DataError('x', hint='y' if z else None)", True),
        ("return DataError('x', hint=y or None)", True),
        ("raise unknown('loss', name, known)", True),
        ("raise ParameterError('x')", True),
        ("raise ParameterError('x', 'key')", False),
        ("raise DataError('x', hint='y')", False),
        ("raise Interrupted('x')", False),
        ("raise ValueError('x')", False),
    ],
)
def test_the_search_finds_what_lacks_one(code: str, is_missed: bool) -> None:
    classes = {"DataError", "ParameterError", "Interrupted"}
    assert bool(list(_without_step(ast.parse(code), classes))) is is_missed


CASES: dict[str, Any] = {
    "encoder": EncoderCase,
    "fusion": FusionCase,
    "pooling": PoolingCase,
    "representation": RepresentationCase,
    "loss": LossCase,
}
BIG = {"swin_t", "video_swin_t"}
"""Encoders that take seconds to build; they check nothing that others do not."""
WRONG: dict[type, list[Any]] = {
    str: ["wrong"],
    int: [-1, 0, "wrong"],
    float: [-1.0, 5.0],
    tuple: [[], [0]],
    type(None): [-1, []],
}
"""Values that a parameter of such a default is likely to refuse."""


def _works(kind: str, name: str, params: dict[str, Any]) -> None:
    """Builds a part and calls it, as a training does."""
    component = registry(kind).get(name)
    case = CASES[kind](name, component, params=params)
    if kind == "loss":
        case.value(case.build(), case.draw())
    else:
        case.outputs(case.module(), case.input())


def _parts() -> Iterator[tuple[str, str]]:
    for kind in CASES:
        for name, origin in registry(kind).origins().items():
            if origin.built_in and ":" not in name and name not in BIG:
                yield kind, name


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("st", {"temperature": "warm"}, "student.losses.st.temperature = 'warm', expected a number"),
        ("semckd", {"samples": None}, "student.losses.semckd.samples = None, expected a whole number"),
        ("at", {"stages": 2}, "student.losses.at.stages = 2, expected a list of whole numbers or null"),
    ],
)
def test_a_loss_that_fails_on_a_value_of_another_type_says_what_it_takes(
    name: str, params: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        _works("loss", name, params)
    assert caught.value.message == told


@pytest.mark.parametrize(("kind", "name"), list(_parts()))
def test_a_part_takes_what_its_refusal_proposes(kind: str, name: str) -> None:
    component = registry(kind).get(name)
    where = f"student.losses.{name}" if kind == "loss" else f"student.{kind}"
    for key, parameter in inspect.signature(component).parameters.items():
        for value in WRONG.get(type(parameter.default), []):
            try:
                _works(kind, name, {key: value})
            except KdbenchError as error:
                told = error if kind == "loss" else placed(error, where, name, component)
            # Where a part is built from a recipe, these are told as what they are: a value of another type.
            except (TypeError, ValueError, AttributeError):
                continue
            else:
                continue
            assert where in told.message
            assert told.hint
            _, is_proposed, words = told.hint.partition("For example: --set ")
            if is_proposed:
                changes: Any = changes_of([word for word in shlex.split(words) if word != "--set"])
                for step in where.split("."):
                    changes = changes[step]
                _works(kind, name, {key: value, **changes})
