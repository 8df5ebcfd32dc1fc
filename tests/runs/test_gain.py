"""A gain is what the folder of runs says now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, network

from kdbench.runs.gain import gain_now
from kdbench.runs.store import stored_run


def _result(folder: Path) -> dict[str, Any]:
    return dict(stored_run(folder).result)


def test_a_baseline_that_was_run_later_counts(tmp_path: Path) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8))
    assert gain_now(tmp_path, taught).why == "run student_only with the same options to see it"
    alone = make_run(tmp_path, "student_only", wrong=20, folder="any-name")
    found = gain_now(tmp_path, taught)
    assert found.accuracy == pytest.approx(12 / 80)
    assert found.record() == {"run": "any-name", "accuracy": found.accuracy, "macro_f1": found.macro_f1}
    shutil.rmtree(alone)
    assert gain_now(tmp_path, taught).record() is None


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "5", "null", '{"method": "student_only"}', "\x00\xff", '{"method": "student_only", "seed": 0}'],
)
def test_a_damaged_neighbour_is_set_aside(tmp_path: Path, content: str) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8))
    (tmp_path / "a-damaged").mkdir()
    (tmp_path / "a-damaged" / "run.json").write_bytes(content.encode("latin-1"))
    assert gain_now(tmp_path, taught).record() is None
    make_run(tmp_path, "student_only", wrong=20)
    assert gain_now(tmp_path, taught).accuracy == pytest.approx(12 / 80)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe", {}),
        ("recipe", {"student": None}),
        ("recipe", {"student": [1]}),
        ("metrics", {}),
        ("metrics", {"accuracy": "x", "macro_f1": None}),
        ("seed", "0"),
        ("seed", None),
        ("conditions", {}),
    ],
)
def test_a_neighbour_of_odd_values_is_no_error(tmp_path: Path, key: str, value: object) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8))
    path = make_run(tmp_path, "student_only", wrong=20) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    found = gain_now(tmp_path, taught)
    assert found.record() is None


def test_other_conditions_are_named(tmp_path: Path) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8, threads=1))
    make_run(tmp_path, "student_only", wrong=20)
    assert gain_now(tmp_path, taught).why == (
        "student_only was run under other conditions (threads); run it with the same options to see it"
    )


def test_a_student_alone_on_other_recordings_is_not_compared(tmp_path: Path) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8))
    make_run(tmp_path, "student_only", wrong=20, dataset="kitchen")
    assert gain_now(tmp_path, taught).why == "run student_only with the same options to see it"


def test_a_library_that_one_of_them_does_without_keeps_nothing_apart(tmp_path: Path) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8, libraries={"torch": "2.11.0", "transformers": "4"}))
    make_run(tmp_path, "student_only", wrong=20)
    assert gain_now(tmp_path, taught).accuracy == pytest.approx(12 / 80)
    other = _result(make_run(tmp_path, "rkd", wrong=8, libraries={"torch": "2.12"}))
    assert "libraries.torch" in gain_now(tmp_path, other).why


def test_a_student_alone_of_other_losses_is_none(tmp_path: Path) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8))
    make_run(tmp_path, "student_only", wrong=20, student=network({"ce": {"weight": 2.0}}))
    assert gain_now(tmp_path, taught).record() is None
    assert gain_now(tmp_path, _result(make_run(tmp_path, "student_only", folder="plain"))).why == ""


def test_only_the_folders_that_may_be_the_student_alone_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = "utd_mhad-cross_subject-small"
    alone = make_run(tmp_path, "student_only", wrong=20, folder=f"student_only-{ending}-s0-0123456789")
    others = [
        make_run(tmp_path, name, seed, folder=f"{name}-{ending}-s{seed}-0123456789").name
        for seed, name in ((1, "student_only"), (0, "hinton_raw"), (0, "kd"), (0, "sgm_ft_raw_ft"))
    ]
    taught = stored_run(make_run(tmp_path, "rkd", wrong=8)).result
    read: list[str] = []
    original = Path.read_text

    def watched(self: Path, *arguments: Any, **options: Any) -> str:
        read.append(self.parent.name)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", watched)
    assert gain_now(tmp_path, taught).run == alone.name
    assert alone.name in read
    assert not {*others} & {*read}


def test_a_tuned_method_needs_a_student_alone_of_the_same_search(tmp_path: Path) -> None:
    taught = _result(make_run(tmp_path, "hinton", wrong=8))
    budget = {"trials": 20, "trial_seeds": 1, "sampler": "tpe", "pruner": "median", "metric": "accuracy"}
    taught["recipe"] = {**taught["recipe"], "tuning": {"budget": budget}}
    found = gain_now(tmp_path, taught).why
    asked = "--trials 20 --trial-seeds 1 --sampler tpe --pruner median"
    assert found == f"tune student_only under the same budget ({asked}) to see it"
    make_run(tmp_path, "student_only", wrong=20, threads=2)
    assert gain_now(tmp_path, taught).why.endswith(f"under the same budget ({asked}) to see it")
