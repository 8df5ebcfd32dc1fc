"""A submission that stands as bytes, to be kept between two builds of a board: all but its logits and its curves."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.schema import Submission
from kdbench.leaderboard.tier import Tier
from kdbench.leaderboard.trials import known_sha256
from kdbench.runs.condensed import Condensed


@dataclass(frozen=True)
class Trials:
    """The test trials of some submissions: names, sorted, and labels, `(N,)` each."""

    names: np.ndarray
    labels: np.ndarray

    def packed(self) -> bytes:
        """As bytes."""
        return json.dumps([self.names.tolist(), self.labels.tolist()]).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> Trials:
        """What `packed` gave."""
        names, labels = json.loads(data)
        return cls(np.asarray(names, dtype=str), np.asarray(labels, dtype=np.int64))


@dataclass(frozen=True)
class Packed:
    """A submission as bytes.

    Attributes:
        head: What it says, and how the numbers lie.
        numbers: What it predicts: classes, what each trial contributes to mAP, and outlines.
        trials: Its test trials by their hash; many submissions have the same.
    """

    head: bytes
    numbers: bytes
    trials: tuple[str, bytes]


def pack(entry: BoardEntry, tier: Tier) -> Packed | None:
    """A settled submission as bytes.

    Returns:
        None for one that is not to be kept: it names plugins, whose code may change, or its seeds have other trials.
    """
    result = entry.result
    if result.plugins:
        return None
    seeds = [entry.scored(trained.seed) for trained in result.seeds]
    trials = Trials(seeds[0].trials, seeds[0].labels)
    if not all(np.array_equal(one.trials, trials.names) and np.array_equal(one.labels, trials.labels) for one in seeds):
        return None
    outlines = [entry.outline(trained.seed) for trained in result.seeds]
    data = trials.packed()
    sha256 = hashlib.sha256(data).hexdigest()
    head = {
        "result": result.model_dump_json(),
        "written_recipe": entry.written_recipe,
        "settings": entry.settings,
        "machines": entry.machines,
        "sha256": entry.sha256,
        "tier": str(tier),
        "known": known_sha256(result.dataset, result.protocol, entry.options),
        "shuffles": [len(one.predicted) for one in seeds],
        "directions": outlines[0].size,
    }
    numbers = [
        array.astype(kind).tobytes()
        for one, drawn in zip(seeds, outlines, strict=True)
        for array, kind in ((one.predicted, np.int32), (one.precision, np.float64), (drawn, np.float32))
    ]
    return Packed(zlib.compress(json.dumps(head).encode(), 1), b"".join(numbers), (sha256, data))


def unpack(folder: Path, head: bytes, numbers: bytes, trials: Trials) -> tuple[BoardEntry, Tier] | None:
    """What `pack` packed.

    Args:
        folder: Where the submission lies.
        head: As packed.
        numbers: As packed.
        trials: Its test trials.

    Returns:
        None where its data set's card, or the trials that it names, are no longer those that it was held to.
    """
    told: dict[str, Any] = json.loads(zlib.decompress(head))
    entry = BoardEntry(folder, Submission.model_validate_json(told["result"]), told["sha256"], has_curves=False)
    result = entry.result
    if told["known"] != known_sha256(result.dataset, result.protocol, entry.options):
        return None
    scored: dict[int, Condensed] = {}
    outlines: dict[int, np.ndarray] = {}
    count, at = len(trials.names), 0
    for trained, shuffles in zip(result.seeds, told["shuffles"], strict=True):
        predicted = np.frombuffer(numbers, np.int32, shuffles * count, at).reshape(shuffles, count)
        at += predicted.nbytes
        precision = np.frombuffer(numbers, np.float64, count, at)
        at += precision.nbytes
        outlines[trained.seed] = np.frombuffer(numbers, np.float32, told["directions"], at)
        at += outlines[trained.seed].nbytes
        scored[trained.seed] = Condensed(trials.names, trials.labels, predicted, precision)
    known = {name: told[name] for name in ("written_recipe", "settings", "machines")}
    return entry.knowing(**known, _scored=scored, _outlines=outlines), Tier(told["tier"])
