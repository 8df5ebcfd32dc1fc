"""Whom a statement is about, and which intervals may be asked for there."""

from __future__ import annotations

from enum import StrEnum

from kdbench.errors import UsageError, unknown
from kdbench.text.wording import counted

MIN_SUBJECTS = 4
"""The fewest subjects from which new ones are spoken of: the fewest that coverage was measured with."""


OPTION = "--population"
"""The option of the command line by which a population is asked for."""


class Scope(StrEnum):
    """The population that an interval or a test generalises to."""

    THESE_SUBJECTS = "these-subjects"
    """Further trials of the tested subjects, and further seeds."""
    NEW_SUBJECTS = "new-subjects"
    """Further subjects, with their trials, and further seeds."""


_OFFERED: dict[Scope, tuple[str, ...]] = {
    Scope.THESE_SUBJECTS: ("t", "bootstrap"),
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
        return Scope(str(name).replace("_", "-"))
    except ValueError:
        raise unknown(
            "population", str(name), [str(s) for s in Scope], hint=f"For example: {OPTION} {Scope.THESE_SUBJECTS}"
        ) from None


def way_named(scope: Scope, name: str | None) -> str:
    """Looks up a way to an interval; None is the scope's default.

    Raises:
        UsageError: It does not exist, or its coverage was not good enough in this scope.
    """
    if name is None:
        return _OFFERED[scope][0]
    everywhere = {way for ways in _OFFERED.values() for way in ways}
    if name not in everywhere:
        raise unknown("interval", name, everywhere, hint=f"For {scope}: {' or '.join(_OFFERED[scope])}.")
    if name not in _OFFERED[scope]:
        raise UsageError(
            f"intervals by '{name}' are not offered for {scope}: they would miss the truth too often there",
            hint=f"Take {' or '.join(repr(n) for n in _OFFERED[scope])}.",
        )
    return name


def statement(scope: Scope | str, *, subjects: int, seeds: int) -> str:
    """One sentence for a table's caption: whom its intervals and tests are about.

    Args:
        scope: The population.
        subjects: How many subjects were tested; 0 where the data set does not tell them apart.
        seeds: How many seeds each method has; with one, nothing can be said about others.
    """
    these = scope_named(scope) is Scope.THESE_SUBJECTS
    if these:
        who = f"same {counted(subjects, 'test subject')}, new trials" if subjects else "same test subjects, new trials"
    else:
        who = f"new subjects like these {subjects},"
    what = f" and {'' if these else 'new '}seeds ({seeds} seeds run)"
    if seeds == 1:
        who, what = who.removesuffix(","), "; one seed run, so other seeds may differ"
    return f"95 % CIs and tests: {who}{what}."


def other_population(scope: Scope | str, *, subjects: int) -> str:
    """How to ask about new subjects on the command line; empty where they are meant, or cannot be spoken of.

    Args:
        scope: The population.
        subjects: As for `statement`.
    """
    if scope_named(scope) is Scope.NEW_SUBJECTS or subjects < MIN_SUBJECTS:
        return ""
    return f"For unseen subjects: {OPTION} {Scope.NEW_SUBJECTS}."
