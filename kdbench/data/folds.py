"""Cross-fitting: training trials in folds, so that each can be taught by a network that did not see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.data.card import SUBJECT, Card
from kdbench.data.splits import rule_of
from kdbench.errors import UsageError
from kdbench.text.wording import counted
from kdbench.util.seeds import seed_for

if TYPE_CHECKING:
    import pandas as pd


def folds_of(
    card: Card, index: pd.DataFrame, trials: Sequence[str], protocol: str, count: int, seed: int
) -> dict[str, int]:
    """The fold of each trial, 0 … count - 1.

    Where the protocol keeps subjects apart, so do the folds: the subjects, in a drawn order, take turns. Otherwise the
    trials of each class do.

    Args:
        card: The data set's.
        index: Its trials.
        trials: Those that are cut into folds.
        protocol: Name of the protocol.
        count: How many folds.
        seed: Draws the order.

    Raises:
        UsageError: There are more folds than subjects, or than trials of a class that takes turns.
    """
    import numpy as np

    rows = index.set_index("trial").loc[list(trials)]
    draw = np.random.default_rng(seed_for("folds", card.name, protocol, seed))
    by_subject = SUBJECT in rows.columns and SUBJECT in rule_of(card, protocol).disjoint
    if by_subject:
        subjects = sorted(rows[SUBJECT].unique().tolist(), key=str)
        if len(subjects) < count:
            raise UsageError(
                f"folds = {count}: the training part of '{protocol}' has {counted(len(subjects), 'subject')}, and a "
                "subject stays in one fold",
                hint=f"Take at most {counted(len(subjects), 'fold')}.",
            )
        fold = {subject: place % count for place, subject in enumerate(draw.permutation(subjects).tolist())}
        return {trial: fold[subject] for trial, subject in zip(rows.index, rows[SUBJECT], strict=True)}
    if len(rows) < count:
        raise UsageError(
            f"folds = {count}: the training part has {counted(len(rows), 'trial')}", hint="Ask for fewer folds."
        )
    shuffled = draw.permutation(len(rows))
    ordered = sorted(shuffled.tolist(), key=lambda row: int(rows["label"].iloc[row]))
    return {rows.index[row]: place % count for place, row in enumerate(ordered)}
