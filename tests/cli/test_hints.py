"""Commands that messages name work when they are typed, for whatever name or path was given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from recordings import TRIALS, write_card, write_trial
from typer.testing import CliRunner

from kdbench.cli import app
from kdbench.data.card import load_card
from kdbench.data.splits import rule_of
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, KdbenchError, UsageError
from kdbench.recipes.resolve import resolve

COMMAND = re.compile(
    r"kdbench ((?:data )?(?:describe|verify|prepare|list)[^\n]*?)(?:\.? \(|[.,;]? [A-Z]|\.?$)", re.MULTILINE
)


def commands(error: KdbenchError) -> list[list[str]]:
    """The commands that a message names, as a shell would part them."""
    return [shlex.split(found) for found in COMMAND.findall(str(error))]


def typed(command: list[str], *, fails: bool = False) -> str:
    result = CliRunner().invoke(app, command)
    assert (result.exit_code == 0) != fails, (command, result.output, result.exception)
    return result.output


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A card of one's own in a folder with a space, and a data folder of which one trial lacks a file."""
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my card").mkdir()
    data = tmp_path / "my data"
    for trial in TRIALS:
        write_trial(data / "own_set", trial)
    (data / "own_set/Depth" / f"{TRIALS[0]}_depth.mat").unlink()
    return write_card(tmp_path / "my card", name="own_set"), data


def test_a_card_by_its_path_is_named_by_its_path(own: tuple[Path, Path]) -> None:
    card, data = own
    with pytest.raises(DataError) as caught:
        open_dataset(str(card), data_dir=data, frame_size=16, frames=2, progress=False)
    named = commands(caught.value)
    assert [each[:2] for each in named] == [["data", "verify"], ["data", "prepare"]]
    assert all(str(card) in each and str(data) in each for each in named)
    assert "--exclude-broken" in named[1]
    assert f"{TRIALS[0]}_depth.mat: missing" in CliRunner().invoke(app, named[0]).output
    with pytest.raises(UsageError, match="unknown protocol") as unknown:
        rule_of(load_card(card), "cross_subjct")
    assert commands(unknown.value) == [["describe", str(card)]]
    assert "own_set" in typed(commands(unknown.value)[0])


@pytest.mark.parametrize("name", ["hinton", "my methods/mine.yaml"])
def test_the_keys_of_a_recipe_are_shown_though_it_is_wrong_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my methods").mkdir()
    (tmp_path / "my methods/mine.yaml").write_text("extends: rkd\nstudent: {train: {lrr: 1}}\n")
    with pytest.raises(UsageError) as caught:
        resolve(name, "small", ["student.trian.lr=1"])
    (command,) = commands(caught.value)
    assert "losses" in typed(command)
