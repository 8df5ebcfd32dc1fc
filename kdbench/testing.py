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
- encoder, fusion, representation: `params`, `device`.
- semantics: `params`, `dataset` (whose class names).
- dataset: `data_dir`, `options`, `trials` (how many recordings are read).
- method: `dataset`, `preset`, `overrides`, `data_dir`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdbench.checks.base import Check, Report, Result
from kdbench.checks.find import checks_of, report_of, targets
from kdbench.errors import unknown

__all__ = ["Report", "Result", "check", "checks", "parametrize"]


def check(kind: str | None, name_or_component: Any, *, only: tuple[str, ...] = (), **options: Any) -> Report:
    """Runs the conformance checks of a part.

    Args:
        kind: `loss`, `encoder`, `fusion`, `representation`, `semantics`, `dataset` or `method`; None for every kind in
            which the name exists.
        name_or_component: A registered name, a decorated component that need not be registered, or the path of a
            recipe's or a data set's YAML file.
        only: Names of the checks that are wanted; all by default.
        options: See the module.

    Returns:
        One result a check. A component that raises has failed the check; nothing is raised for it.

    Raises:
        UsageError: No such name, kind, check or option.
    """
    return report_of(checks(kind, name_or_component, only=only, **options))


def checks(kind: str | None, name_or_component: Any, *, only: tuple[str, ...] = (), **options: Any) -> list[Check]:
    """The checks of a part, not yet run; arguments and errors as in `check`.

    Where a name stands for parts of several kinds, each gets the options that its kind takes.
    """
    found = targets(kind, name_or_component)
    for option in options:
        if not any(option in target.suite.options for target in found):
            known = sorted({name for target in found for name in target.suite.options})
            raise unknown("option", option, known)
    fitting = [{name: value for name, value in options.items() if name in target.suite.options} for target in found]
    wanted = [tuple(name for name in only if len(found) == 1 or name in target.suite.names) for target in found]
    return [
        each
        for target, given, names in zip(found, fitting, wanted, strict=True)
        if names or not only
        for each in checks_of(target, given, names)
    ]


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

    def as_test(each: Check) -> Callable[[], None]:
        def call() -> None:
            result = each.run()
            if result.outcome == "skipped":
                pytest.skip(result.message)
            if result.outcome == "failed":
                pytest.fail(f"{each.name} ({each.summary}): {result.message}", pytrace=False)

        return call

    found = checks(kind, name_or_component, **options)
    several = len({(each.kind, each.component) for each in found}) > 1
    ids = [f"{each.kind}-{each.name}" if several else each.name for each in found]
    return pytest.mark.parametrize("check", [as_test(each) for each in found], ids=ids)
