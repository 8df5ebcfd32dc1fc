"""How far a submission is proven."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kdbench.board.entry import VERIFICATION, Entry, read_json
from kdbench.board.schema import Environment, Share
from kdbench.errors import DataError, KdbenchError
from kdbench.validation import checked


class Tier(StrEnum):
    """The three tiers, weakest first."""

    REPORTED = "reported"
    """Its metrics follow from its predictions at most; which trials and labels are right, nobody could check."""
    RESCORED = "re-scored"
    """Its metrics follow from its predictions, on the very trials and labels that the data set's card names."""
    RERUN = "re-run"
    """Somebody else trained it again and came to the same accuracy."""


class Again(BaseModel):
    """One seed: its accuracy then and now, and the share of test trials with the same predicted class."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    then: Share
    now: Share
    same: Share


class Verification(BaseModel):
    """What was found when a submission was trained again: `verification.json`.

    It counts for as much as the person who commits it; the board's history names them.

    Attributes:
        schema_version: Of this file.
        id: The submission's.
        tier: Always `re-run`.
        tolerance: The largest difference of accuracy at a seed that was accepted.
        seeds: What each seed came to.
        environment: Where the last seed was trained again.
        date: When, in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    id: str
    tier: Literal["re-run"] = "re-run"
    tolerance: Share
    seeds: dict[int, Again]
    environment: Environment
    date: datetime.date

    @property
    def largest(self) -> float:
        """The largest difference of accuracy at a seed."""
        return max(abs(each.now - each.then) for each in self.seeds.values())


def verification(entry: Entry) -> Verification | None:
    """The record of a submission that was trained again; None where there is none.

    Raises:
        DataError: It is broken, or belongs to another content.
    """
    path = entry.folder / VERIFICATION
    if not path.is_file() and not path.is_symlink():
        return None
    content = read_json(entry.folder, VERIFICATION)
    held = checked(Verification, content, f"{VERIFICATION} is not what its schema says", error=DataError)
    if held.id != entry.result.id:
        raise DataError(f"{VERIFICATION} belongs to the submission {held.id!r}, not to {entry.result.id}")
    then = {each.seed: each.metrics.accuracy for each in entry.result.seeds}
    if {seed: each.then for seed, each in held.seeds.items()} != then or held.largest > held.tolerance:
        raise DataError(f"{VERIFICATION} does not cover every seed within its tolerance")
    return held


def tier_of(entry: Entry, scored: bool) -> Tier:
    """The tier of a submission.

    Args:
        entry: The submission.
        scored: Whether it was scored again on the card's trials without a complaint.
    """
    if not scored:
        return Tier.REPORTED
    try:
        return Tier.RERUN if verification(entry) is not None else Tier.RESCORED
    except KdbenchError:
        return Tier.RESCORED
