"""`kdbench list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kdbench.methods import names
from kdbench.registry import KINDS, registry

COSINE = '''
"""A plugin."""
import torch.nn.functional as F
from kdbench import loss


@loss("cosine", on="embedding")
def cosine(student, teacher):
    """Cosine distance of pooled features [x], (B, D) each."""
    return 1 - F.cosine_similarity(student, teacher).mean()
'''
POINTS = "[kdbench.losses]\ncosine = cosine_kd:cosine\n"


def test_everything_registered_is_listed_with_a_line(kdbench: Callable[..., Any]) -> None:
    found = json.loads(kdbench("list", "--json").out)
    assert set(found) == set(KINDS.values())
    assert [row["name"] for row in found["methods"]] == names()
    for kind, plural in KINDS.items():
        if kind != "method":
            assert [row["name"] for row in found[plural]] == registry(kind).names()
    for rows in found.values():
        for row in rows:
            assert row["summary"], f"{row['name']} has no summary"
            assert row["origin"] == "built in"


@pytest.mark.parametrize("word", ["loss", "losses"])
def test_one_kind_in_singular_or_plural(word: str, kdbench: Callable[..., Any]) -> None:
    assert list(json.loads(kdbench("list", word, "--json").out)) == ["losses"]


def test_a_line_a_name_for_grep(kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = kdbench("list", "losses").out.splitlines()
    assert lines[0].strip() == "losses"
    assert lines[1].split() == ["name", "origin", "what", "it", "is"]
    assert [line.split()[0] for line in lines[2:]] == registry("loss").names()


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


def test_working_plugins_are_not_called_broken(kdbench: Callable[..., Any], install: Callable[..., None]) -> None:
    install("cosine_working_kd", COSINE, POINTS.replace("cosine_kd", "cosine_working_kd"))
    assert kdbench("list", "--broken").out == "every plugin can be imported\n"
