"""How far a submission is proven."""

from __future__ import annotations

import datetime
import unicodedata
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from kdbench.errors import DataError, KdbenchError
from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.faults import AGAIN, fault
from kdbench.leaderboard.files import VERIFICATION, read_json
from kdbench.leaderboard.schema import Environment, Person, Sha256, Share
from kdbench.util.validation import checked

LARGEST_TOLERANCE = 0.1
"""A difference of accuracy at a seed above which nothing was confirmed."""


class Tier(StrEnum):
    """How a submission was verified, weakest first."""

    REPORTED = "reported"
    """Its metrics follow from its predictions at most; which trials and labels are right, nobody could check."""
    RESCORED = "re-scored"
    """Its metrics follow from its predictions, on the very trials and labels that the data set's card names."""
    RERUN = "re-run"
    """Somebody else trained it again, from nothing, and came to the same accuracy."""

    @property
    def label(self) -> str:
        """The same for a reader."""
        return {"reported": "unverified", "re-scored": "re-scored from predictions"}.get(self, "retrained by others")


class Again(BaseModel):
    """One seed: its accuracy then and now, and the share of test trials with the same predicted class."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    then: Share
    now: Share
    same: Share


class Verification(BaseModel):
    """What was found when a submission was trained again: `verification.json`.

    It counts for as much as the person that it names; the board's history says who committed it.

    Attributes:
        schema_version: Of this file.
        id: The submission's.
        content_sha256: Hash of the submission's whole content, of which the id is the start.
        by: Who trained it again.
        tier: Always `re-run`.
        tolerance: The largest difference of accuracy at a seed that was accepted.
        seeds: What each seed came to.
        environment: Where the last seed was trained again: platform, device, threads, and the versions of libraries.
        started: When the first training began, in UTC.
        date: When the last one ended, in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[2] = 2
    id: str
    content_sha256: Sha256
    by: Person
    tier: Literal["re-run"] = "re-run"
    tolerance: Annotated[float, Field(ge=0, le=LARGEST_TOLERANCE)]
    seeds: dict[int, Again]
    environment: Environment
    started: datetime.datetime
    date: datetime.date

    @property
    def largest(self) -> float:
        """The largest difference of accuracy at a seed."""
        return max(abs(again.now - again.then) for again in self.seeds.values())


def verification(entry: BoardEntry) -> Verification | None:
    """The record of a submission that was trained again; None where there is none.

    Raises:
        DataError: It is broken, or belongs to another content.
    """
    path = entry.folder / VERIFICATION
    if not path.is_file() and not path.is_symlink():
        return None
    content = read_json(entry.folder, VERIFICATION)
    record = checked(Verification, content, f"{VERIFICATION} is not what its schema says", error=DataError, hint=AGAIN)
    if record.id != entry.result.id or record.content_sha256 != entry.sha256:
        raise fault(f"{VERIFICATION} belongs to the submission {record.id!r} with another content than this one's")
    now = datetime.datetime.now(datetime.UTC)
    # A day of grace for a clock that is ahead.
    if record.date > now.date() + datetime.timedelta(days=1) or record.date < record.started.date():
        raise fault(f"{VERIFICATION} has a date that cannot be: begun {record.started.date()}, ended {record.date}")
    then = {again.seed: again.metrics.accuracy for again in entry.result.seeds}
    if {seed: again.then for seed, again in record.seeds.items()} != then or record.largest > record.tolerance:
        raise fault(f"{VERIFICATION} does not cover every seed within its tolerance")
    return record


def own_rerun(entry: BoardEntry, record: Verification) -> bool:
    """Whether the submitter trained it again: that shows that it can be repeated, not that anybody else checked it."""
    return entry.result.submitted_by is not None and same_person(entry.result.submitted_by, record.by)


def same_person(one: str, other: str) -> bool:
    """Whether two names are one, whatever their spaces and capitals."""
    first, second = (" ".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in (one, other))
    return first == second


def tier_of(entry: BoardEntry, scored: bool) -> Tier:
    """The tier of a submission.

    Args:
        entry: The submission.
        scored: Whether it was scored again on the card's trials without a complaint.
    """
    if not scored:
        return Tier.REPORTED
    try:
        record = verification(entry)
        return Tier.RERUN if record is not None and not own_rerun(entry, record) else Tier.RESCORED
    except KdbenchError:
        return Tier.RESCORED
