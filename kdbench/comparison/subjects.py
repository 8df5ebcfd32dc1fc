"""Who performed each trial, read from the trial's id."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np

from kdbench.errors import KdbenchError

COLUMN = "subject"
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
    found = [pattern.search(trial) for trial in trials]
    if not all(found):
        return None
    return np.array([match[COLUMN] for match in found if match])


def subject_pattern(dataset: str) -> re.Pattern[str] | None:
    """How a data set's trial ids name the subject, by its card's template; None where they do not."""
    from kdbench.data.card import load_card

    try:
        card = load_card(dataset)
    except KdbenchError:
        # Results outlive the plugin that brought their data set.
        return _PLAIN
    if card.trials is None:
        return _PLAIN
    if COLUMN not in card.trials.columns:
        return None
    parts = []
    for text, name, _, _ in string.Formatter().parse(card.trials.id):
        parts.append(re.escape(text))
        if name:
            parts.append(f"(?P<{name}>.+?)")
    return re.compile(f"^{''.join(parts)}$")


def subjects_train(dataset: str, protocol: str) -> bool:
    """Whether a protocol lets subjects that test train as well; False where its card is not known any more."""
    from kdbench.data.card import load_card
    from kdbench.data.protocol import rule_of

    try:
        return COLUMN not in rule_of(load_card(dataset), protocol).disjoint
    except KdbenchError:
        return False
