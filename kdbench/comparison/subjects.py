"""Who performed each trial, read from the trial's id."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.card import SUBJECT
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.data.card import Card

_PLAIN = re.compile(r"(?:^|_)s(?P<subject>\d+)(?:_|$)")
"""How ids of readers that find their trials themselves name the subject: `s17_scene2_…`."""


def subjects_of(pattern: re.Pattern[str] | None, trials: Sequence[str]) -> np.ndarray | None:
    """The subject of every trial; None where the data set does not tell its subjects apart.

    Args:
        pattern: What `subject_pattern` found for the data set.
        trials: Trial ids `(N,)`.
    """
    if pattern is None:
        return None
    matches = [pattern.search(trial) for trial in trials]
    if not all(matches):
        return None
    return np.array([match[SUBJECT] for match in matches if match])


def known_card(dataset: str) -> Card | None:
    """A data set's card; None where it is not there any more: results outlive the plugin that brought their data."""
    from kdbench.data.card import load_card

    try:
        return load_card(dataset)
    except KdbenchError:
        return None


def subject_pattern(card: Card | None) -> re.Pattern[str] | None:
    """How a data set's trial ids name the subject, by its card's template; None where they do not."""
    if card is None or card.trials is None:
        return _PLAIN
    if SUBJECT not in card.trials.columns:
        return None
    parts = []
    for text, name, _, _ in string.Formatter().parse(card.trials.id):
        parts.append(re.escape(text))
        if name:
            parts.append(f"(?P<{name}>.+?)")
    return re.compile(f"^{''.join(parts)}$")


def subjects_train(card: Card | None, protocol: str) -> bool:
    """Whether a protocol lets subjects that test train as well; False where its card does not tell any more."""
    from kdbench.data.splits import rule_of

    if card is None:
        return False
    try:
        return SUBJECT not in rule_of(card, protocol).disjoint
    except KdbenchError:
        return False
