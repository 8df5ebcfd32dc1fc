"""Whom a statement is about, and which intervals may be asked for there."""

from __future__ import annotations

from enum import StrEnum

from kdbench.errors import UsageError, unknown

MIN_SUBJECTS = 4
"""The fewest subjects from which new ones are spoken of: the fewest that coverage was measured with."""


class Scope(StrEnum):
    """The population that an interval or a test generalises to."""

    THESE_SUBJECTS = "these_subjects"
    """Further trials of the tested subjects, and further seeds."""
    NEW_SUBJECTS = "new_subjects"
    """Further subjects, with their trials, and further seeds."""


_OFFERED: dict[Scope, tuple[str, ...]] = {
    Scope.THESE_SUBJECTS: ("bootstrap", "t"),
    Scope.NEW_SUBJECTS: ("t",),
}


def offered(scope: Scope | str) -> tuple[str, ...]:
    """The ways to a difference's interval and test in a scope, the default first; a method's own interval is by `t`.

    Raises:
        UsageError: The scope does not exist.
    """
    return _OFFERED[scope_named(scope)]


def scope_named(name: Scope | str) -> Scope:
    """Looks a scope up by its name.

    Raises:
        UsageError: It does not exist.
    """
    try:
        return Scope(name)
    except ValueError:
        raise unknown("scope", str(name), [str(s) for s in Scope]) from None


def way_named(scope: Scope, name: str | None) -> str:
    """Looks up a way to an interval; None is the scope's default.

    Raises:
        UsageError: It does not exist, or its coverage was not good enough in this scope.
    """
    if name is None:
        return _OFFERED[scope][0]
    everywhere = {way for ways in _OFFERED.values() for way in ways}
    if name not in everywhere:
        raise unknown("interval", name, everywhere)
    if name not in _OFFERED[scope]:
        raise UsageError(
            f"the interval '{name}' is not offered for {scope}: it covers too rarely there",
            hint=f"Take {' or '.join(repr(n) for n in _OFFERED[scope])}.",
        )
    return name


def statement(scope: Scope | str, *, subjects: int, seeds: int) -> str:
    """One phrase for a table's caption: whom its intervals and tests are about.

    Args:
        scope: The population.
        subjects: How many subjects were tested.
        seeds: How many seeds each method has; with one, nothing can be said about others.
    """
    who = {
        Scope.THESE_SUBJECTS: f"new trials of these {subjects} subjects",
        Scope.NEW_SUBJECTS: f"new subjects like these {subjects}",
    }[scope_named(scope)]
    if seeds == 1:
        return f"{who}, for the networks of this one seed (other seeds may differ)"
    return f"{who}, and new seeds ({seeds} were run)"
