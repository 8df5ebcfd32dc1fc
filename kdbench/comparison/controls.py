"""Controls: teachers that know nothing, and what it means when a method gains no more than with one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from kdbench.statistics import PairSummary, ScoreComparison, Verdict


class GainVerdict(StrEnum):
    """What a method's gain over the student alone may be called."""

    CONTROL = "a control"
    LOSS = "worse than alone"
    NONE = "no gain shown"
    REGULARISATION = "regularisation, not knowledge"
    OPEN = "not told apart from a control"
    KNOWLEDGE = "more than the controls"
    UNTESTED = "a gain; no control beside it"


NOT_TOLD_APART = "cannot be told apart"
"""The verdict on a method and a baseline other than the student alone."""


def control_of(recipe: Mapping[str, Any]) -> str | None:
    """Which control a resolved recipe is, whatever its name; None where it is none.

    Args:
        recipe: A recipe as `run.json` holds it.
    """
    teacher, student = recipe.get("teacher") or {}, recipe.get("student") or {}
    kinds = []
    if student and teacher.get("weights") == "random":
        kinds.append("teacher with random weights")
    if student.get("pairing") == "shuffled":
        kinds.append(f"{'teacher' if teacher else 'series'} paired with the wrong trials")
    return ", ".join(kinds) or None


def verdict_on(
    comparison: ScoreComparison,
    method: str,
    alone: str,
    controls: Iterable[str],
    against: ScoreComparison | None = None,
) -> GainVerdict:
    """What a method's gain over the student alone means beside what the controls gain.

    A gain has to be shown before it can be called anything. A control that reaches it does so with a teacher that has
    nothing to tell; one that reaches less, but cannot be told apart from the method, leaves it open.

    Args:
        comparison: The pairs with the student alone, after Holm's correction.
        method: The method.
        alone: The student alone.
        controls: The controls under the same conditions.
        against: The pairs with the controls; `comparison` where it holds them.
    """
    controls = tuple(controls)
    if method in controls:
        return GainVerdict.CONTROL
    gain = comparison.pair(method, alone)
    if lead(gain, method) <= 0:
        return GainVerdict.LOSS if better(gain) == alone else GainVerdict.NONE
    if better(gain) != method:
        return GainVerdict.NONE
    beside = [(against or comparison).pair(method, control) for control in controls]
    if any(lead(pair, method) <= 0 for pair in beside):
        return GainVerdict.REGULARISATION
    if not beside:
        return GainVerdict.UNTESTED
    return GainVerdict.KNOWLEDGE if all(better(pair) == method for pair in beside) else GainVerdict.OPEN


def better(pair: PairSummary) -> str | None:
    """The method of a pair that is shown to be better; None where they cannot be told apart."""
    return {Verdict.FIRST: pair.first, Verdict.SECOND: pair.second}.get(pair.verdict)


def lead(pair: PairSummary, method: str) -> float:
    """By how much a method of a pair lies above the other."""
    return pair.difference if pair.first == method else -pair.difference
