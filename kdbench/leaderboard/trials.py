"""Which trials a submission has to predict, with which labels: what the data set's card says, without recordings."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kdbench.data.card import SUBJECT, Card, load_card
from kdbench.data.readers.base import Reader
from kdbench.data.splits import split
from kdbench.data.tracks import Supervision, supervise
from kdbench.errors import UsageError
from kdbench.recipes.track import Track
from kdbench.registry import registry

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_OPTION = 10**5
_MOST_TRIALS = 10**6


@dataclass(frozen=True)
class ExpectedTrials:
    """What the card says of one protocol.

    Attributes:
        classes: The class names in the order of their labels.
        train: The training trials.
        test: The label of each test trial.
        subjects: Who performed each test trial; where the card does not tell, each trial stands for itself.
        split: Hash of the parts, as conditions carry it, where no validation part is cut.
        split_at_seed_0: The same where one is cut, which may be drawn; None where none can be cut.
    """

    classes: tuple[str, ...]
    train: frozenset[str]
    test: Mapping[str, int]
    subjects: Mapping[str, str]
    split: str
    split_at_seed_0: str | None


def expected(dataset: str, protocol: str, options: Mapping[str, Any]) -> ExpectedTrials | None:
    """The test trials of a protocol.

    Args:
        dataset: Name of a data set.
        protocol: Name of one of its protocols.
        options: Knobs of a generated data set.

    Returns:
        None where the data set's files decide which trials there are, so that nobody can tell without them.

    Raises:
        UsageError: No such data set, option or protocol.
    """
    return _expected(dataset, protocol, json.dumps(options, sort_keys=True, default=str))


def supervision(
    dataset: str, protocol: str, options: Mapping[str, Any], track: Track, *, validation: bool, seed: int
) -> Supervision | None:
    """Which training trials a track gives a label, and which sensors, at a seed.

    Args:
        dataset: Name of a data set.
        protocol: Name of one of its protocols.
        options: Knobs of a generated data set.
        track: The track.
        validation: Whether a validation part was cut from the training part.
        seed: The run's seed.

    Returns:
        None where nobody can tell without the data set's files.

    Raises:
        UsageError: The data set and protocol cannot give the track.
    """
    known = _index(dataset, json.dumps(options, sort_keys=True, default=str))
    if known is None:
        return None
    card, index = known
    train = split(card, index, protocol, validation=validation, seed=seed).train
    return supervise(card, index, train, protocol, track, seed)


@lru_cache(maxsize=64)
def _index(dataset: str, options: str) -> tuple[Card, pd.DataFrame] | None:
    """A card and one row per trial: `trial`, `label` and the card's columns."""
    import pandas as pd

    reader = _reader(dataset, options)
    if reader is None:
        return None
    return reader.card, pd.DataFrame([{"trial": t.id, "label": t.label, **t.columns} for t in reader.trials()])


@lru_cache(maxsize=64)
def _expected(dataset: str, protocol: str, options: str) -> ExpectedTrials | None:
    known = _index(dataset, options)
    if known is None:
        return None
    card, index = known
    parts = split(card, index, protocol, validation=False, seed=0)
    test = index.set_index("trial").loc[list(parts.test)]
    who = test[SUBJECT] if SUBJECT in test.columns else test.index.to_series()
    return ExpectedTrials(
        card.class_names,
        frozenset(parts.train),
        {str(trial): int(label) for trial, label in test["label"].items()},
        {str(trial): str(name) for trial, name in who.items()},
        parts.fingerprint,
        _validated(card, index, protocol),
    )


def _validated(card: Card, index: pd.DataFrame, protocol: str) -> str | None:
    try:
        return split(card, index, protocol, validation=True, seed=0).fingerprint
    except UsageError:
        return None


def card_of(dataset: str, options: Mapping[str, Any]) -> Card:
    """A data set's card, for the knobs of a generated one.

    Raises:
        UsageError: No such data set or option.
    """
    reader = _reader(dataset, json.dumps(options, sort_keys=True, default=str))
    return load_card(dataset) if reader is None else reader.card


def known_sha256(dataset: str, protocol: str, options: Mapping[str, Any]) -> str:
    """Hash of all that is known of a protocol without recordings: the card, and the trials that it names.

    Raises:
        UsageError: As `expected`.
    """
    return _known_sha256(dataset, protocol, json.dumps(options, sort_keys=True, default=str))


@lru_cache(maxsize=64)
def _known_sha256(dataset: str, protocol: str, options: str) -> str:
    known = _expected(dataset, protocol, options)
    trials = known and {**vars(known), "train": sorted(known.train)}
    content = [card_of(dataset, json.loads(options)).model_dump(mode="json"), trials]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=64)
def _reader(dataset: str, options: str) -> Reader | None:
    """A reader that can name the trials without recordings from elsewhere."""
    card, knobs = load_card(dataset), json.loads(options)
    # Turned round, so that NaN is refused too.
    if any(isinstance(value, int | float) and not abs(value) <= _LARGEST_OPTION for value in knobs.values()):
        raise UsageError(
            f"an option of data set '{dataset}' is larger than any that was ever generated: {options}",
            hint="Give smaller ones: --set data.options.NAME=VALUE",
        )
    reader = registry("dataset").get(card.reader)
    shipped = reader.shipped()
    if not reader.generated and card.trials is None and shipped is None:
        return None
    made: Reader = reader(card, shipped, knobs)
    columns = made.card.trials.columns.values() if made.card.trials is not None else ()
    if math.prod(len(values) for values in columns) > _MOST_TRIALS:
        raise UsageError(
            f"data set '{dataset}' has more than {_MOST_TRIALS} trials with the options {options}",
            hint="Give smaller ones: --set data.options.NAME=VALUE",
        )
    return made
