"""What a check is, and how the checks of one component become results, tests and lines of a table.

A suite is a list of functions of a case; a case is one component, ready to be looked at. A function that returns has
passed, with a note where it returns one; it raises `Failed` or `Skipped`, or whatever the component raises.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kdbench.testing.explain import explained, missing, place_within

Outcome = Literal["passed", "failed", "skipped"]
PASSED: Outcome = "passed"
FAILED: Outcome = "failed"
SKIPPED: Outcome = "skipped"
Step = Callable[[Any], str | None]
LOADS = "loads"
WAS_CHECKED = "was_checked"


class Skipped(Exception):
    """The check does not apply here; the text says why, or what is needed."""


class Failed(Exception):
    """The component does not hold what the check asks for; the text says what was found and what was expected."""


@dataclass(frozen=True)
class Result:
    """What one check found.

    Attributes:
        name: The check.
        outcome: `passed`, `failed` or `skipped`.
        message: Why it failed or was skipped; where it passed, what is worth knowing, if anything.
        seconds: How long it took.
        kind: Kind of the component: `loss`, `encoder`, ….
        component: Name of the component.
        place: File and line of kdbench that the message is of, which `--verbose` shows; empty for all others.
    """

    name: str
    outcome: Outcome
    message: str
    seconds: float
    kind: str = ""
    component: str = ""
    place: str = ""

    @property
    def in_full(self) -> str:
        """The message with the place."""
        first, newline, rest = self.message.partition("\n")
        return f"{first} ({self.place}){newline}{rest}" if self.place else self.message


@dataclass(frozen=True)
class Report:
    """What the checks of one or several components found."""

    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing failed."""
        return bool(self.results) and not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(result.name for result in self.results if result.outcome == FAILED)

    def result(self, name: str) -> Result:
        """The first result of the check with this name.

        Raises:
            KeyError: There is none.
        """
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {"passed": self.passed, "results": [asdict(result) for result in self.results]}

    def __str__(self) -> str:
        rows = [f"{r.outcome:7} {r.kind} {r.component} {r.name}: {r.message}".rstrip(": ") for r in self.results]
        return "\n".join(rows)


@dataclass(frozen=True)
class Check:
    """One check of one component, not yet run.

    Attributes:
        kind: Kind of the component.
        component: Its name.
        name: The check's own name.
        summary: What it asks for, in a line.
        run: Gives the result; a second call gives the same result again.
    """

    kind: str
    component: str
    name: str
    summary: str
    run: Callable[[], Result]


class CheckSuite:
    """The checks of one kind of part.

    Args:
        case: Makes the case of a component, `case(name, component, **options)`.
        gates: Checks without which all others would only repeat the message: those are skipped where one fails.
        checks: The other checks; each goes by its function's name and by the first line of its docstring.
    """

    def __init__(self, case: Callable[..., Any], *, gates: Sequence[Step] = (), checks: Sequence[Step]) -> None:
        self.case = case
        self.gates = (LOADS, *(gate.__name__ for gate in gates))
        self.steps: dict[str, Step] = {LOADS: _loads, **{step.__name__: step for step in (*gates, *checks)}}

    @property
    def options(self) -> list[str]:
        """Names of the options that cases take."""
        parameters = inspect.signature(self.case).parameters.items()
        return [name for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    @property
    def names(self) -> list[str]:
        """Every check, in the order in which they run."""
        return [*self.steps, WAS_CHECKED]

    def checks(
        self,
        kind: str,
        name: str,
        load: Callable[[], Any],
        options: Mapping[str, Any],
        *,
        only: Sequence[str] = (),
        present: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> list[Check]:
        """The checks of a component; nothing is loaded or run yet.

        Args:
            kind: Its kind.
            name: Its name.
            load: Gives the component.
            options: Keyword arguments of the case.
            only: Names of the checks that are wanted; all where there are none.
            present: A context in which the framework finds the component by its name.
        """
        chosen = [step for step in self.steps if not only or step in only]
        return _Session(self, kind, name, lambda: self.case(name, load(), **options), present).checks(chosen)


class _Session:
    """The checks of one component while they run; every check runs once, whoever asks first."""

    def __init__(
        self,
        suite: CheckSuite,
        kind: str,
        component: str,
        make: Callable[[], Any],
        present: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._suite = suite
        self._kind = kind
        self._component = component
        self._made = functools.cache(make)
        self._present = present
        self._outcome = functools.cache(self._run)

    def checks(self, chosen: Sequence[str]) -> list[Check]:
        listed = [self._check(name, functools.partial(self._outcome, name)) for name in chosen]
        last = functools.partial(self._was_checked, chosen)
        return [*listed, Check(self._kind, self._component, WAS_CHECKED, "Not every check was skipped.", last)]

    def _check(self, name: str, run: Callable[[], Result]) -> Check:
        line = (inspect.getdoc(self._suite.steps[name]) or "").partition("\n")[0]
        return Check(self._kind, self._component, name, line, run)

    def _run(self, name: str) -> Result:
        # Torch is for those who run checks: finding broken plugins does without.
        from kdbench.testing.isolation import isolated

        gates = self._suite.gates
        for gate in gates[: gates.index(name)] if name in gates else gates:
            if (outcome := self._outcome(gate).outcome) != PASSED:
                verb = "failed" if outcome == FAILED else "was skipped"
                return self._result(name, SKIPPED, f"not checked, since {gate} {verb}")
        started, outcome, message, place = time.perf_counter(), PASSED, "", ""
        try:
            with isolated(), self._present():
                message = self._suite.steps[name](self._made()) or ""
        except Skipped as reason:
            outcome, message = SKIPPED, str(reason)
        except Failed as reason:
            outcome, message = FAILED, str(reason)
        except (Exception, SystemExit) as error:
            lacking = missing(error)
            outcome, message = (SKIPPED, lacking) if lacking else (FAILED, explained(error))
            place = "" if lacking else place_within(error)
        return self._result(name, outcome, message, time.perf_counter() - started, place)

    def _was_checked(self, chosen: Sequence[str]) -> Result:
        # That it loads says nothing of what it does.
        results = [self._outcome(name) for name in chosen if name != LOADS or len(chosen) == 1]
        if any(result.outcome != SKIPPED for result in results) or (
            LOADS in chosen and self._outcome(LOADS).outcome == FAILED
        ):
            return self._result(WAS_CHECKED, PASSED)
        # A gate that was not asked for may be the cause.
        causes = [self._outcome(gate) for gate in self._suite.gates]
        first = next((result for result in [*causes, *results] if result.outcome != PASSED), None)
        why = f": {first.message}" if first else ""
        return self._result(WAS_CHECKED, FAILED, f"every check was skipped, so nothing is known{why}")

    def _result(self, name: str, outcome: Outcome, message: str = "", seconds: float = 0.0, place: str = "") -> Result:
        return Result(name, outcome, message, seconds, self._kind, self._component, place)


def checks_in(module: str) -> list[Step]:
    """The checks that a module holds: its public functions, in the order in which they stand.

    Args:
        module: Its name; it may still be executing.
    """
    members = vars(sys.modules[module]).items()
    return [
        member
        for name, member in members
        if inspect.isfunction(member) and member.__module__ == module and not name.startswith("_")
    ]


def _loads(_case: Any) -> None:
    """It can be imported, and built with its parameters."""
