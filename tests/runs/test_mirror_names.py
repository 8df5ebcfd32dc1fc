"""Names that MLflow takes: readable, unlike each other, and with the way back."""

from __future__ import annotations

import pytest

from kdbench.data.card import load_card
from kdbench.registry import registry
from kdbench.runs.mirror_names import LONGEST, Names, numbers


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("arm curl (two arms)", "arm curl - two arms"),
        ("draw circle (clockwise)", "draw circle - clockwise"),
        ("two hand push", "two hand push"),
        ("sit/stand", "sit-stand"),
        ("torchdistill:KDLoss", "torchdistill_KDLoss"),
        ("Fallübung [links]", "Fallübung - links"),
        ("(x)", "x"),
        ("  walk   fast ", "walk fast"),
        ("..", "_"),
        ("", "_"),
        ("🙂", "_"),
    ],
)
def test_a_name_stays_readable(name: str, shown: str) -> None:
    names = Names()
    assert names.key(("per_class", name), "/") == f"per_class/{shown}"
    assert names.changed == ({} if name == shown else {shown: name})


def test_names_that_would_be_one_stay_two() -> None:
    found = numbers({"a (b)": 1, "a - b": 2, "a [b]": 3}, names := Names())
    assert found == {"a - b": 1, "a - b 2": 2, "a - b 3": 3}
    assert [names.changed.get(key, key) for key in found] == ["a (b)", "a - b", "a [b]"]
    assert numbers({"a - b": 5, "a (b)": 6}, names) == {"a - b 2": 5, "a - b": 6}


def test_mlflow_takes_every_class_of_the_shipped_data_sets_and_what_is_odd() -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    classes = [name for dataset in registry("dataset").names() for name in load_card(dataset).class_names]
    odd = ["/", "a/", "/a", ".", "a//b", "a\n\tb", "%&", "-", "x" * 500, "y" * 500 + "z"]
    found = numbers({"per_class": dict.fromkeys((*classes, *odd), 1.0)}, Names())
    assert len(found) == len({*classes, *odd})
    for key in found:
        _validate_metric_name(key)
        _validate_param_name(key)
        assert len(key) <= LONGEST


def test_what_is_no_number_is_left_out() -> None:
    assert numbers({"a": True, "b": None, "c": "1", "d": [1], "e": {"f": 2}}, Names()) == {"e/f": 2.0}
