"""Protocols for recordings of one's own: by person where there are several, else by recording or repetition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdbench.data.draft.naming import ACTION, SUBJECT, Group
from kdbench.data.protocol import Value
from kdbench.data.readers.base import natural_key
from kdbench.errors import UsageError
from kdbench.text.wording import inflected

TESTED = 3
"""Every so-manieth person is tested."""


def protocols_for(groups: Sequence[Group], names: Sequence[str], *, windows: bool) -> dict[str, Any]:
    """The protocols of a first card.

    Args:
        groups: The sources.
        names: The placeholder of each variable word.
        windows: Whether trials are windows of recordings.

    Raises:
        UsageError: Nothing tells two parts apart.
    """

    def values_of(name: str) -> list[Value]:
        place = names.index(name)
        texts = {value for group in groups for value in group.values(group.variable[place])}
        values = {int(text) if text.isdigit() else text for text in texts}
        return sorted(values, key=lambda value: natural_key(str(value)))

    if SUBJECT in names and len(people := values_of(SUBJECT)) > 1:
        tested = people[TESTED - 1 :: TESTED] or people[-1:]
        alone = len(people) - len(tested) < 2
        held_out: dict[str, Any] = {"draw": {SUBJECT: 1}}
        if alone:
            held_out = {"share": 0.2, "whole": "recording"} if windows else {"share": 0.2}
        # One person cannot train and validate.
        disjoint = ["recording"] if alone and windows else [] if alone else [SUBJECT]
        title = f"{inflected(len(tested), 'Subject', 'Subjects')} {', '.join(map(str, tested))} "
        title += f"{inflected(len(tested), 'tests', 'test')}, the others train"
        rule = {"title": title, "test": {SUBJECT: tested}, "validation": held_out, "disjoint": disjoint}
        protocols: dict[str, Any] = {"cross_subject": rule}
        if not alone:
            protocols["loso_{subject}"] = {
                "title": "One subject tests, the others train",
                "each": {SUBJECT: people},
                "test": {SUBJECT: ["{subject}"]},
                "validation": {"draw": {SUBJECT: 1}},
                "disjoint": [SUBJECT],
            }
        return protocols
    others = [name for name in names if name not in (SUBJECT, ACTION) and len(values_of(name)) > 1]
    if not others:
        raise UsageError(
            "there is one person and one recording of each action: nothing is left to test on",
            hint="Record each action at least twice.",
        )
    tested = values_of(others[-1])[-1:]
    validation: dict[str, Any] = {"share": 0.2, "whole": "recording"} if windows else {"share": 0.2}
    return {
        "by_repetition": {
            "title": f"{others[-1]} {tested[0]} tests, the others train; all by the same person",
            "test": {others[-1]: tested},
            "validation": validation,
            "disjoint": ["recording"] if windows else [],
        }
    }
