"""Names from cards and readers stay in their folder, and are one file each on every file system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import known
from recordings import write_card

from kdbench.data import names
from kdbench.data.card import load_card
from kdbench.data.readers.base import Trial
from kdbench.data.readers.motionsim.reader import MotionSim
from kdbench.data.store import manifest
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, KdbenchError, UsageError
from kdbench.registry import dataset


@pytest.mark.parametrize(
    "name",
    ["../a", "/a", "a/b", "a\\b", "C:a", "..", ".", ".hidden", "a.", "a ", " a", "a\0b", "a\nb", "a\x1b[0m", "con",
     "NUL.txt", "com1", "x" * 121, "ü" * 61, "", "a*b", "a?b", 'a"b', "a<b", "a|b", "a\u202eb"],
)  # fmt: skip
def test_a_name_that_is_no_file_everywhere_is_told(name: str) -> None:
    assert names.fault_of(name)


@pytest.mark.parametrize("name", ["a1_s2_t3", "walk fast", "läuft", "S01-walk.1", "console", "train_0", "a(b)", "1"])
def test_names_that_people_use_are_taken(name: str) -> None:
    assert not names.fault_of(name)


@pytest.mark.parametrize("ids", [["a", "A"], ["é", "e\u0301"], ["straße", "STRASSE"], ["ok", "../x"], ["a", "a"]])
def test_ids_are_one_file_each(ids: list[str]) -> None:
    with pytest.raises(DataError, match="trial"):
        names.check_ids(ids, "mine")


def _trials(**changes: Any) -> dict[str, Any]:
    return {"trials": {"id": "a{action}", "columns": {"action": 3}, "label": "action"} | changes}


def _sensor(**changes: Any) -> dict[str, Any]:
    return {"sensors": {"wrist": {"axes": ["x"], "unit": "g", "rate_hz": 50} | changes}}


def _protocol(**changes: Any) -> dict[str, Any]:
    rule = {"test": {"subject": [1]}, "validation": {"share": 0.5}} | changes
    return {"protocols": {changes.pop("name", "p"): {key: value for key, value in rule.items() if key != "name"}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (_trials(id="../../../../x/a{action}"), "id gives the trial '../../../../x/a1', which holds '/'"),
        (_trials(columns={"action": ["a", "b", "../c"]}), "id gives the trial 'a../c', which holds '/'"),
        (_trials(id="a\\0{action}"), "which holds"),
        (_trials(columns={"action": 10**6}), "trials.*: columns.action = 1000000: expected 1 to 200,000"),
        (_trials(columns={"action": -3}), "columns.action = -3"),
        (_trials(columns={"action": 0}), "columns.action = 0"),
        (_trials(columns={"action": True}), "columns.action = true"),
        (_trials(columns={"action": []}), "columns.action needs values"),
        (_trials(columns={"action": [1, 1, 2]}), "columns.action needs values, each once"),
        (_trials(columns={"action": [[1], 2, 3]}), "trials.columns.action.0 = a list of 1: expected a whole number or"),
        (_trials(columns={"action": {"a": 1}}), "trials.columns.action = {a}: expected a list"),
        (_trials(columns={"action": 1.5}), "trials.columns.action = 1.5: expected a list"),
        (_trials(columns=[3]), "trials.columns = a list of 1: expected a mapping"),
        (_trials(id="a{action:>10000000}"), "takes at most a width"),
        (_trials(id="a{action!r}"), "takes at most a width"),
        (_trials(id="a{action.real}"), "uses {action.real}, expected {action} alone"),
        (_trials(id="a{0}"), "uses {0}"),
        (_trials(id="a{action"), "trials"),
        (_trials(id="a{action:02d}", columns={"action": ["x", "y", "z"]}), "id writes action as a number"),
        (_trials(columns={"action": 3, "b": 60000, "c": 60000}, id="{action}{b}{c}"), "more than 200,000 trials"),
        (_trials(columns={"label": 3}, id="{label}", label="label"), "no column may be called label"),
        (_sensor(file="../../etc/{trial}"), "sensors.wrist.file = .*leads out of the data set's folder"),
        (_sensor(file="/etc/{trial}"), "leads out of the data set's folder"),
        (_sensor(file="C:\\\\x{trial}"), "leads out of the data set's folder"),
        (_sensor(file="a/{subject}.csv"), "uses {subject}, expected {trial} alone"),
        (_sensor(file="a{trial:>99999999}"), "takes at most a width"),
        (_sensor(columns=[-1]), "sensors.wrist.columns.0 = -1: expected at least 0"),
        (_sensor(columns=[1, 2]), "1 axis for 2 columns"),
        (_sensor(rate_hz=float("inf")), "sensors.wrist.rate_hz = inf: expected a finite number"),
        ({"sensors": {"../x": {"axes": ["x"], "unit": "g", "rate_hz": 5}}}, "the sensor '../x' must be made of"),
        ({"sensors": {"a.b": {"axes": ["x"], "unit": "g", "rate_hz": 5}}}, "the sensor 'a.b' must be made of"),
        ({"views": {"a/b": {"channels": 1, "rate_hz": 5, "height": 3, "width": 3}}}, "the view 'a/b' must be made of"),
        (_protocol(name="../p"), "the name '../p' holds '/'"),
        (_protocol(name="loso_{subject}"), "its name uses {subject}"),
        (_protocol(each={"subject": [1]}), "its name does not"),
        (_protocol(test={"subjct": [1]}), "protocols.p.test: unknown column 'subjct'; did you mean 'subject'"),
        (_protocol(validation={"draw": {"subjct": 1}}), "protocols.p.validation.draw: unknown column 'subjct'"),
        (_protocol(validation={"draw": {"subject": -1}}), "validation.draw.subject = -1: expected at least 1"),
        (_protocol(validation={"share": 0.5, "whole": "x"}), "protocols.p.validation.whole: unknown column 'x'"),
        (_protocol(disjoint=["subjects"]), "protocols.p.disjoint: unknown column 'subjects'"),
        ({"manifest": "../../etc/passwd"}, "manifest = '../../etc/passwd': holds '/'"),
        ({"label_vectors": "../x"}, "label_vectors = '../x': holds '/'"),
        ({"classes": [{"name": "a\x1b[2J", "short": "a"}]}, "classes.0.name"),
    ],
)  # fmt: skip
def test_a_card_that_leads_elsewhere_or_hangs_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "home" / "cache"))
    path = write_card(tmp_path, **changes)
    with pytest.raises(KdbenchError, match=said) as caught:
        open_dataset(str(path), data_dir=tmp_path, progress=False)
    assert len(caught.value.message) < 2000
    assert str(path) in caught.value.message
    assert isinstance(caught.value, UsageError)
    assert {each.name for each in tmp_path.iterdir()} <= {"card.yaml", "home"}


def test_a_reader_cannot_write_outside_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "deep" / "cache"))

    @dataset("leaving")
    class Leaving(MotionSim):
        """A reader with an id of its own choice."""

        def trials(self) -> list[Trial]:
            """See `Reader.trials`."""
            first, *rest = super().trials()
            return [Trial("../../../../out", first.label, first.columns), *rest]

    card = load_card("motionsim")
    content = card.model_dump(mode="json") | {"reader": "leaving", "name": "leaving"}
    path = tmp_path / "card.yaml"
    path.write_text(json.dumps(content))
    knobs = {"actions": 3, "subjects": 2, "trials": 1}
    with known(Leaving), pytest.raises(DataError, match=r"the trial id '\.\./\.\./\.\./\.\./out' of 'leaving'"):
        open_dataset(str(path), frame_size=16, frames=2, progress=False, options=knobs)
    assert not list(tmp_path.rglob("out*"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe" + b"a" * 64, "byte 1 is not UTF-8"),
        (b"a" * 63 + b"  x\n", "line 1: expected 'sha256  path'"),
        (b"z" * 64 + b"  x\n", "line 1: expected 'sha256  path'"),
        (b"a" * 64 + b"  ../../x\n", "line 1: the path '../../x' leads out"),
        (b"a" * 64 + b"  /etc/passwd\n", "leads out of the data set's folder"),
        (b"a" * 64 + b"  x\n" + b"b" * 64 + b"  x\n", "line 2: 'x' stands twice"),
        (b"\0" * 100_000, "line 1: expected"),
    ],
)
def test_a_broken_manifest_is_named_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    card = load_card(write_card(tmp_path, manifest="sums.txt"))
    (tmp_path / "sums.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        manifest.load(card)
    assert said in caught.value.message
    assert str(tmp_path / "sums.txt") in caught.value.message
    assert len(caught.value.message) < 400
