"""Tracks: which trials of the training part the student has labels of, and which have sensors beside their video.

Both are drawn by the names of the data set and the protocol and by the seed, never by the method, and they are nested:
a trial that is labelled at K is labelled at every larger K too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kdbench.data.card import SUBJECT, Card
from kdbench.errors import UsageError
from kdbench.recipes.track import Track
from kdbench.text.wording import counted, inflected
from kdbench.util.seeds import seed_for

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor

Scarce = Literal["labelled", "paired"]


@dataclass(frozen=True)
class Supervision:
    """What is known of the training part's trials, each in the order of the part.

    Attributes:
        labelled: Trials whose labels the student sees; none in transfer alone.
        paired: Trials whose sensors the teacher sees.
    """

    labelled: tuple[str, ...]
    paired: tuple[str, ...]

    @property
    def scarce(self) -> frozenset[str]:
        """The trials of the smaller set, where one is smaller; every batch needs some of them, where there are any."""
        small = min(self.labelled, self.paired, key=len)
        return frozenset(small) if len(self.labelled) != len(self.paired) else frozenset()

    @property
    def share(self) -> float:
        """Share of the scarce trials in the training part."""
        return len(self.scarce) / max(len(self.labelled), len(self.paired))

    def positions(self, trials: Sequence[str]) -> tuple[Scarce, Tensor] | None:
        """What is scarce among some trials, and where it stands; None where all or none of them are.

        Args:
            trials: Ids of the training part, or of a part of it.
        """
        # A board asks which trials have a label, and for no tensor.
        import torch

        places = [place for place, trial in enumerate(trials) if trial in self.scarce]
        if not places or len(places) == len(trials):
            return None
        return "labelled" if len(self.labelled) < len(self.paired) else "paired", torch.tensor(places)


def supervise(
    card: Card,
    index: pd.DataFrame,
    train: tuple[str, ...],
    protocol: str,
    track: Track,
    seed: int,
    unpaired: Collection[str] = (),
) -> Supervision:
    """Draws what a track leaves of the labels and the pairs.

    Labels are drawn as a laboratory would write them down: all of one subject first, then those of the next.

    Args:
        card: The data set's card.
        index: One row per trial: `trial`, `label` and the card's columns.
        train: Ids of the training part.
        protocol: Name of the protocol.
        track: What is left.
        seed: The run's seed.
        unpaired: Trials that were recorded without something that teachers see; they are no pairs in any track.

    Raises:
        UsageError: Labels are scarce and trials are no pairs to begin with, a class has fewer trials than are to be
            labelled, all would be labelled, the data set does not say who performs a trial, or no pair is left.
    """
    table = index.set_index("trial").loc[list(train)]
    classes = {int(str(label)): list(rows.index) for label, rows in table.groupby("label", sort=True)}
    labelled, paired = set(train), set(train)
    if (apart := paired.intersection(unpaired)) and track.labels != "all":
        raise UsageError(
            f"track.labels = {track.labels}: {counted(len(apart), 'training trial')} of '{card.name}' "
            f"{inflected(len(apart), 'was', 'were')} recorded without what the teacher sees, and without a label "
            f"nothing would be left of {inflected(len(apart), 'it', 'them')}",
            hint=f"Take all labels: --labels all. See who has what: kdbench data who {card.typed}",
        )
    if track.is_transfer_alone:
        labelled = set()
    elif track.labels != "all":
        labelled = _labelled(card, table, classes, protocol, track.labels, seed)
    if track.pairs < 1:
        draw = random.Random(seed_for("pairs", card.name, protocol, seed))
        paired = set()
        for trials in classes.values():
            draw.shuffle(trials)
            paired.update(trials[: math.floor(track.pairs * len(trials) + 0.5)])
        if not paired:
            raise UsageError(
                f"track.pairs = {track.pairs:g} leaves no pair of video and sensors under protocol '{protocol}' of "
                f"'{card.name}', whose largest class has {max(map(len, classes.values()))} training trials",
                hint="Keep more of them, for example --pairs 0.5",
            )
    paired -= apart
    if not paired:
        raise UsageError(
            f"no training trial of '{card.name}' under protocol '{protocol}' has what both teacher and student see",
            hint=f"See who has what: kdbench data who {card.typed}",
        )
    return Supervision(*(tuple(trial for trial in train if trial in kept) for kept in (labelled, paired)))


def _labelled(
    card: Card, table: pd.DataFrame, classes: dict[int, list[str]], protocol: str, wanted: int, seed: int
) -> set[str]:
    """So many trials of each class, by whole subject first."""
    if SUBJECT not in table.columns:
        raise UsageError(
            f"track.labels = {wanted}: labels are given by whole subject, and '{card.name}' does not say who performs "
            "a trial",
            hint=f"Take all labels, --labels all; or a data set whose card has the column '{SUBJECT}'.",
        )
    subjects = sorted(set(table[SUBJECT]))
    label, trials = min(classes.items(), key=lambda entry: len(entry[1]))
    where = f"of {counted(len(subjects), 'subject')} under protocol '{protocol}' of '{card.name}'"
    if len(trials) < wanted:
        # As many of each class as this one has may be all that there are, which is another track.
        most = len(trials) - (len(trials) * len(classes) == len(table))
        fewer = f"Label fewer of each class: --labels {most}; or all of them: " if most else "Label all of them: "
        raise UsageError(
            f"track.labels = {wanted}: the class '{card.class_names[label]}' has "
            f"{counted(len(trials), 'training trial')} {where}",
            hint=f"{fewer}--labels all",
        )
    draw = random.Random(seed_for("labels", card.name, protocol, seed))
    draw.shuffle(subjects)
    place = {trial: subjects.index(subject) for trial, subject in table[SUBJECT].items()}
    labelled: set[str] = set()
    for trials in classes.values():
        draw.shuffle(trials)
        labelled.update(sorted(trials, key=place.__getitem__)[:wanted])
    if len(labelled) == len(table):
        raise UsageError(
            f"track.labels = {wanted} labels each of the {len(table)} training trials {where}",
            hint="That is the track of all labels: --labels all",
        )
    return labelled


def mixed_steps(rest: int, batch_size: int, quota: int) -> int:
    """Steps of an epoch in the order of `mixed_order`.

    Args:
        rest: Trials that are not scarce.
        batch_size: Trials per batch.
        quota: Scarce trials per batch.
    """
    return math.ceil(rest / (batch_size - quota))


def mixed_order(scarce: Tensor, rest: Tensor, batch_size: int, quota: int, generator: torch.Generator) -> Tensor:
    """An order of trials in which every batch begins with `quota` scarce ones; each of the rest comes once.

    Args:
        scarce: Positions of the scarce trials `(n,)`, on the host; they come again and again, each time shuffled.
        rest: Positions of the others `(m,)`, on the host.
        batch_size: Trials per batch, more than `quota`.
        quota: Scarce trials per batch.
        generator: Draws both orders.

    Returns:
        Positions `(m + quota * steps,)`: to be cut into batches of `batch_size`, the last of which may be smaller.
    """
    import torch

    rest = rest[torch.randperm(len(rest), generator=generator)]
    chunks = rest.split(batch_size - quota)
    rounds = math.ceil(quota * len(chunks) / len(scarce))
    drawn = torch.cat([scarce[torch.randperm(len(scarce), generator=generator)] for _ in range(rounds)])
    return torch.cat([torch.cat([drawn[k * quota : (k + 1) * quota], chunk]) for k, chunk in enumerate(chunks)])
