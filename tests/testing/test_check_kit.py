"""The generator behind the function, the decorator and the command: what it gives, skips, and refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from broken_losses import reads_a_number, vector
from torch import Tensor

from kdbench import loss
from kdbench.data.readers.base import expecting
from kdbench.data.readers.files.windows import entries_of
from kdbench.errors import UsageError
from kdbench.testing import check, checks, parametrize
from kdbench.testing.base import CheckSuite, Failed, Result, Skipped
from kdbench.testing.explain import explained

pytest_plugins = ["pytester"]


class Case:
    def __init__(self, name: str, component: Any, *, knob: int = 0) -> None:
        self.component = component
        self.knob = knob


def is_there(case: Case) -> None:
    """It is there."""
    if case.component is None:
        raise Failed("nothing there")


def is_large(case: Case) -> str | None:
    """It is large."""
    if case.knob < 0:
        raise Skipped("nobody asked")
    return "very large" if case.knob > 5 else None


SMALL = CheckSuite(Case, gates=(is_there,), checks=(is_large,))


def run(load: Any, **options: Any) -> dict[str, Result]:
    return {each.name: each.run() for each in SMALL.checks("loss", "x", load, options)}


def test_a_check_that_returns_has_passed_maybe_with_a_note() -> None:
    found = run(lambda: 1, knob=9)
    assert [result.outcome for result in found.values()] == ["passed"] * 4
    assert found["is_large"].message == "very large"
    assert found["is_there"].message == ""


def test_behind_a_gate_that_failed_nothing_is_checked() -> None:
    found = run(lambda: None)
    assert found["is_there"].outcome == "failed"
    assert (found["is_large"].outcome, found["is_large"].message) == ("skipped", "not checked, since is_there failed")
    assert found["was_checked"].outcome == "passed"


def test_where_all_that_was_asked_for_was_skipped_the_cause_is_said() -> None:
    found = {each.name: each.run() for each in SMALL.checks("loss", "x", lambda: None, {}, only=["is_large"])}
    assert list(found) == ["is_large", "was_checked"]
    assert found["was_checked"].outcome == "failed"
    assert found["was_checked"].message == "every check was skipped, so nothing is known: nothing there"


def test_what_cannot_be_loaded_has_failed_with_its_error() -> None:
    def load() -> Any:
        raise RuntimeError("out of paper\nand ink")

    found = run(load)
    assert found["loads"].outcome == "failed"
    assert found["loads"].message.startswith("RuntimeError: out of paper (test_check_kit.py:")
    assert found["is_there"].outcome == "skipped"


def test_a_component_that_leaves_the_process_has_failed() -> None:
    def load() -> Any:
        raise SystemExit(3)

    assert run(load)["loads"].message.startswith("SystemExit: 3")


def test_a_missing_library_is_skipped_with_the_line_to_install_it_and_nothing_checked_has_failed() -> None:
    def load() -> Any:
        import skimage_of_nowhere

        return skimage_of_nowhere

    found = run(load)
    line = "it needs skimage_of_nowhere, which is not installed: pip install skimage_of_nowhere"
    assert (found["loads"].outcome, found["loads"].message) == ("skipped", line)
    assert found["is_there"].outcome == "skipped"
    assert found["was_checked"].outcome == "failed"
    assert found["was_checked"].message == f"every check was skipped, so nothing is known: {line}"


def test_a_library_that_a_plugin_lacks_is_found_behind_the_error_that_names_the_plugin() -> None:
    def load() -> Any:
        try:
            import sklearn_of_nowhere  # noqa: F401
        except ImportError as error:
            raise UsageError("the loss 'x' cannot be imported") from error

    assert "pip install sklearn_of_nowhere" in run(load)["loads"].message


def test_a_module_of_ones_own_that_is_missing_is_an_error() -> None:
    def load() -> Any:
        import kdbench.no_such_module  # noqa: F401

    assert run(load)["loads"].outcome == "failed"


def test_every_check_runs_once() -> None:
    calls: list[int] = []

    def load() -> int:
        calls.append(1)
        return 1

    found = SMALL.checks("loss", "x", load, {})
    for each in [*found, *found]:
        each.run()
    assert len(calls) == 1


def test_an_error_with_a_hint_keeps_it() -> None:
    assert explained(UsageError("no such thing", hint="Take another.")) == "no such thing\nTake another."


def test_what_kdbench_itself_wrote_for_its_users_is_told_without_a_place_in_its_code() -> None:
    def load() -> Any:
        return read_annotations(b"start,end,label\n2,1,wave\n")

    found = run(load)["loads"]
    assert found.message == "trial x: y.csv: line 2: it ends at 1 s and begins at 2 s; expected z\nMend it."
    assert re.fullmatch(
        r"trial x: y\.csv: line 2: it ends at 1 s and begins at 2 s; expected z \(windows\.py:\d+\)\nMend it\.",
        found.in_full,
    )


def read_annotations(content: bytes) -> Any:
    with expecting("z", "x", "y.csv", hint="Mend it."):
        return entries_of(content)


def test_a_long_message_is_cut() -> None:
    assert len(explained(ValueError("x" * 5000))) < 500


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("loss", "rkdd"), {}, "unknown loss 'rkdd'; did you mean 'rkd'"),
        (("losss", "rkd"), {}, "unknown kind of part 'losss'; did you mean"),
        ((None, "rkdd"), {}, "unknown name 'rkdd'; did you mean"),
        (("loss", "rkd"), {"parms": {}}, "unknown option of the checks of a loss 'parms'; did you mean 'params'"),
        (("loss", "rkd"), {"only": ["is_finit"]}, "unknown check of a loss 'is_finit'; did you mean 'is_finite'"),
        (("encoder", vector), {}, "'vector' is declared as a loss, and asked for as a encoder"),
        ((None, len), {}, "'len' is not decorated as a part of kdbench"),
        ((None, "nowhere/recipe.yaml"), {}, "there is no file nowhere"),
    ],
)
def test_a_wrong_request_is_an_error_of_usage(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(*arguments, **options)


def test_a_name_of_two_kinds_is_checked_as_both() -> None:
    found = checks(None, "rkd", params={}, dataset="motionsim")
    assert {(each.kind, each.component) for each in found} == {("loss", "rkd"), ("method", "rkd")}
    assert {each.kind for each in checks(None, "rkd", only=["is_finite"])} == {"loss"}


def test_a_card_and_a_recipe_are_told_apart_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("reader: motionsim\n")
    (tmp_path / "recipe.yaml").write_text("extends: hinton\n")
    assert checks(None, tmp_path / "card.yaml")[0].kind == "dataset"
    assert checks(None, str(tmp_path / "recipe.yaml"))[0].kind == "method"
    branches = "{wrist: {sees: accelerometer, representation: {name: raw}, encoder: {name: conv1d}}}"
    for text in (f"extends: raw\nbranches: {branches}\n", "extends: raw\ntrain: {epochs: 7}\n", "extends: raw_ft\n"):
        (tmp_path / "teacher.yaml").write_text(text)
        assert checks(None, tmp_path / "teacher.yaml")[0].kind == "teacher"


def test_a_component_whose_name_is_taken_is_told_so() -> None:
    @loss("st", on="logits")
    def mine(student: Tensor, teacher: Tensor) -> Tensor:
        return student.mean()

    report = check("loss", mine)
    assert report.failed == ("loads",)
    assert "the loss 'st' exists already" in report.result("loads").message


def test_a_component_that_was_checked_is_not_left_registered() -> None:
    check("loss", reads_a_number, only=["is_finite"])
    with pytest.raises(UsageError, match="unknown loss 'reads_a_number'"):
        check("loss", "reads_a_number")


def test_a_family_is_checked_by_its_name() -> None:
    report = check("loss", "torchdistill:NoSuchLoss")
    assert report.failed == ("loads",)


def test_the_report_as_plain_data_and_as_text() -> None:
    report = check("loss", "st", only=["is_finite"])
    assert report.as_dict()["passed"] is True
    assert [result["name"] for result in report.as_dict()["results"]] == ["is_finite", "was_checked"]
    assert str(report).splitlines()[0] == "passed  loss st is_finite"
    with pytest.raises(KeyError):
        report.result("nothing")


@parametrize("loss", "st", only=["loads", "is_finite", "uses_the_teacher"])
def test_the_decorator_makes_a_test_of_each_check(check: Any, request: pytest.FixtureRequest) -> None:
    check()
    assert request.node.callspec.id in {"loads", "is_finite", "uses_the_teacher", "was_checked"}


@pytest.mark.slow
def test_the_decorator_fails_skips_and_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from kdbench import loss
        from kdbench.testing import parametrize

        @loss("detached", on="logits")
        def detached(student, teacher):
            return (student.detach() - teacher).square().mean()

        @parametrize("loss", detached)
        def test_conformance(check):
            check()
        """
    )
    outcome = pytester.runpytest_subprocess("-q", "-rfs", "-p", "no:cacheprovider")
    counts = outcome.parseoutcomes()
    assert counts["failed"] == 1
    assert counts["passed"] >= 10
    assert counts["skipped"] >= 4
    text = outcome.stdout.str()
    assert "FAILED test_the_decorator_fails_skips_and_passes.py::test_conformance[gradient_reaches_the_student]" in text
    assert "no gradient gets there" in text
    assert "it reads no maps" in text
    assert "Traceback" not in text
