"""Holds a submission to what it claims, for itself, so that a broken or hostile one costs no other anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.leaderboard.consistency import FILE_CHECKS, check_card
from kdbench.leaderboard.entry import BoardEntry, load
from kdbench.leaderboard.scoring import check_scores
from kdbench.leaderboard.tier import Tier, tier_of
from kdbench.leaderboard.trials import ExpectedTrials, card_of, expected

_LONGEST = 400
_MOST_PROBLEMS = 50


@dataclass(frozen=True)
class Checked:
    """What is known of one submission.

    Attributes:
        folder: Where it lies.
        entry: What it holds; None where it cannot be read.
        problems: Everything that is wrong; empty where it stands.
        tier: How far it is proven.
        kept: Whether it stood before, and nothing of it has changed since.
    """

    folder: Path
    entry: BoardEntry | None
    problems: tuple[str, ...]
    tier: Tier
    kept: bool = False


def check(folder: Path) -> Checked:
    """Checks one submission; whatever it holds, the answer is what is wrong with it."""
    return check_opened(folder, lambda: load(folder))


def check_opened(folder: Path, opened: Callable[[], BoardEntry]) -> Checked:
    """As `check`, of one that was read ahead.

    Args:
        folder: Where it lies.
        opened: Gives what it holds, or raises what `load` raises.
    """
    try:
        return _check(folder, opened)
    except Exception as error:
        # What no check foresaw is this submission's problem alone.
        why = f"it cannot be checked: {type(error).__name__}: {error}"
        return Checked(folder, None, (_printable(why),), Tier.REPORTED)


def _check(folder: Path, opened: Callable[[], BoardEntry]) -> Checked:
    try:
        entry = opened()
    except KdbenchError as error:
        return Checked(folder, None, (_printable(error.message),), Tier.REPORTED)
    problems = [line for part in FILE_CHECKS for line in _caught(part, entry)]
    known: ExpectedTrials | None = None
    try:
        result = entry.result
        card = card_of(result.dataset, entry.options)
        known = expected(result.dataset, result.protocol, entry.options)
        problems += _caught(lambda loaded: check_card(loaded, card, known), entry)
        problems += _caught(lambda loaded: check_scores(loaded, known), entry)
    except KdbenchError as error:
        problems.append(error.message)
    scored = known is not None and not problems
    # Several parts read the same file, and say the same of one that is missing.
    return Checked(folder, entry, shown(dict.fromkeys(problems)), tier_of(entry, scored))


def problems_of(folder: Path) -> tuple[str, ...]:
    """Everything that is wrong with one submission."""
    return check(folder).problems


def _caught(part: Callable[[BoardEntry], Iterable[str]], entry: BoardEntry) -> list[str]:
    """What one part finds; where it stops, the others still tell what they find."""
    problems: list[str] = []
    try:
        for problem in part(entry):
            problems.append(problem)
            # A submission may be made to have millions of them.
            if len(problems) > _MOST_PROBLEMS:
                break
    except KdbenchError as error:
        problems.append(error.message)
    return problems


def shown(problems: Iterable[str]) -> tuple[str, ...]:
    """Problems as a terminal may show them, the first of very many."""
    lines = [_printable(problem) for problem in problems]
    more = len(lines) - _MOST_PROBLEMS
    return (*lines[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


def _printable(problem: str) -> str:
    """A problem as a terminal may show it, whatever names of the submission it repeats."""
    # Cut before it is escaped, which may make it many times as long.
    problem = problem[: 4 * _LONGEST]
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in problem)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
