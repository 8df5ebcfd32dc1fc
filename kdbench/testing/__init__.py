"""Conformance checks for authors of parts: from Python, in pytest, and behind `kdbench check`.

    from kdbench.testing import check, parametrize

    report = check("loss", "cosine")
    assert report.passed, report

    @parametrize("loss", cosine)
    def test_conformance(check):
        check()

Options of `check` and `parametrize`, by kind; a check that an option does not concern ignores it:

- loss: `params` (as in a recipe), `device`, `reference` and `tolerance`. The reference is a function that gets what the
  loss gets (two tensors, tuples of maps or `Features`, as it is declared) and gives the value; or a list of
  `(student, teacher, value)`.
- encoder, pooling, fusion, representation: `params`, `device`.
- semantics: `params`, `dataset` (whose class names).
- dataset: `data_dir`, `options`, `trials` (how many recordings are read with their video).
- method: `dataset`, `preset`, `overrides`, `data_dir`, and `make`, a function like
  `kdbench.runs.student.student_training`, by which a loop, a teacher or a loader of one's own is held to what the
  framework's guarantees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kdbench.testing.base import Check, Report, Result
from kdbench.testing.find import checks_of, report_of, targets

__all__ = ["Check", "Report", "Result", "check", "checks", "parametrize"]


def check(kind: str | None, name_or_component: Any, *, only: Sequence[str] = (), **options: Any) -> Report:
    """Runs the conformance checks of a part.

    Args:
        kind: `loss`, `encoder`, `pooling`, `fusion`, `representation`, `semantics`, `dataset` or `method`; None for
            every kind in which the name exists.
        name_or_component: A registered name, a decorated component that need not be registered, or the path of a
            recipe's or a data set's YAML file.
        only: Names of the checks that are wanted; all by default.
        options: See the module. Where a name stands for parts of several kinds, each gets those that its kind takes.

    Returns:
        One result a check. A component that raises has failed the check; nothing is raised for it.

    Raises:
        UsageError: No such name, kind, check or option.
    """
    return report_of(checks(kind, name_or_component, only=only, **options))


def checks(kind: str | None, name_or_component: Any, *, only: Sequence[str] = (), **options: Any) -> list[Check]:
    """The checks of a part, not yet run; arguments and errors as in `check`."""
    return checks_of(targets(kind, name_or_component), options, only)


def parametrize(kind: str | None, name_or_component: Any, **options: Any) -> Callable[[Any], Any]:
    """Makes one test of every check: a decorator for a test function with the parameter `check`.

    The ids of the tests are the names of the checks. Calling `check()` skips the test, or fails it with one message.

    Args:
        kind: As in `check`.
        name_or_component: As in `check`.
        options: As in `check`.

    Raises:
        UsageError: As in `check`; at collection.
    """
    import pytest

    def as_test(single: Check) -> Callable[[], None]:
        def call() -> None:
            result = single.run()
            if result.outcome == "skipped":
                pytest.skip(result.message)
            if result.outcome == "failed":
                pytest.fail(f"{single.name} ({single.summary}): {result.in_full}", pytrace=False)

        return call

    every = checks(kind, name_or_component, **options)
    several = len({(single.kind, single.component) for single in every}) > 1
    ids = [f"{single.kind}-{single.name}" if several else single.name for single in every]
    return pytest.mark.parametrize("check", [as_test(single) for single in every], ids=ids)
