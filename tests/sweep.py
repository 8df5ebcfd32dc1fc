"""A test over many values that is one test, with a subtest for each value.

    @swept("scale", [0.0, 1.0])     # as pytest.mark.parametrize("scale", [0.0, 1.0])

A test of its own costs more to collect, to set up and to report than most of these cost to run.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def swept(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Calls the test with each of the values; fixtures of the test are shared by all of them.

    Args:
        names: The parameter that is given the values, or a tuple of several, each value a tuple then.
        values: What the test is called with.
    """
    parameters, cases = ((names,), [(value,) for value in values]) if isinstance(names, str) else (names, list(values))

    def over(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        wanted = [p for name, p in signature.parameters.items() if name not in (*parameters, "subtests")]
        passes_on = "subtests" in signature.parameters

        @functools.wraps(test)
        def whole(*instance: Any, subtests: pytest.Subtests, **fixtures: Any) -> None:
            if passes_on:
                fixtures["subtests"] = subtests
            for case in cases:
                given = dict(zip(parameters, case, strict=True))
                with subtests.test(", ".join(f"{name}={reprlib.repr(value)}" for name, value in given.items())):
                    test(*instance, **fixtures, **given)

        fixture = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        whole.__signature__ = signature.replace(parameters=[*wanted, fixture])  # type: ignore[attr-defined]
        return whole

    return over
