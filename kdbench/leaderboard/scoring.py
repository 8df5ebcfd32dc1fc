"""Scores a submission again from its predictions, on the trials and labels that the data set's card names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kdbench.evaluation.metrics import over_shuffles
from kdbench.leaderboard.copies import copied_seeds
from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.predictions import SubmittedPredictions
from kdbench.leaderboard.schema import PREDICTIONS, SeedResult
from kdbench.leaderboard.trials import ExpectedTrials
from kdbench.text.wording import counted, some

TOLERANCE = 1e-6
"""The largest difference between a claimed metric and the one that the predictions give."""
COUPLED = ("ft", "spamfm")
"""The shipped fusions whose predictions depend on the other trials of a batch."""
SHUFFLES = 5
"""In how many orders a network that couples a batch sees the test part; every other one sees it once."""
_LISTED = 3
_MOST_ORDERS = 20
_SCORES = ("accuracy", "macro_f1", "weighted_f1", "map", "ece")


def check_scores(entry: BoardEntry, known: ExpectedTrials | None) -> Iterator[str]:
    """Whatever the predictions do not bear out, as problems.

    Args:
        entry: The submission.
        known: The test trials; None where the card cannot tell.
    """
    result, predictions = entry.result, entry.predictions
    if predictions.logits.shape[1] != len(result.classes):
        classes = counted(len(result.classes), "class")
        yield f"{counted(predictions.logits.shape[1], 'logit')} per trial, expected one for each of {classes}"
        return
    stray = set(np.unique(predictions.seed).tolist()) - {trained.seed for trained in result.seeds}
    if stray:
        yield f"{PREDICTIONS} has predictions of seed {_some(stray)}, which has no result"
    reference: dict[str, int] | None = dict(known.test) if known is not None else None
    orders, wrong = _orders(entry), False
    for trained in result.seeds:
        own = predictions.of_seed(trained.seed)
        if not len(own.seed):
            wrong = True
            yield f"seed {trained.seed}: {PREDICTIONS} has no prediction of it"
            continue
        # Where the card cannot tell, all seeds have to agree on trials and labels.
        reference = reference or dict(zip(own.trial.tolist(), own.label.tolist(), strict=True))
        faults = list(_trials(own, reference, known, orders)) or list(_metrics(entry, own, trained))
        wrong = wrong or bool(faults)
        yield from (f"seed {trained.seed}: {fault}" for fault in faults)
    if not wrong:
        yield from copied_seeds(entry)


def _orders(entry: BoardEntry) -> tuple[int, ...]:
    """In how many orders what predicts saw the test part; a plugin's fusion may couple a batch or not."""
    if entry.recipe.reported.train.batch_size == 1:
        return (1,)
    fusions = {spec.fusion.name for spec in entry.recipe.asked}
    foreign = {plugin.name for plugin in entry.result.plugins if plugin.kind == "fusion"}
    # `kdbench:ft` is the shipped `ft` too.
    if any(name.rpartition(":")[2] in COUPLED for name in fusions - foreign):
        return (SHUFFLES,)
    return (1, SHUFFLES) if fusions & foreign else (1,)


def _trials(
    own: SubmittedPredictions, test: Mapping[str, int], known: ExpectedTrials | None, orders: tuple[int, ...]
) -> Iterator[str]:
    bad = ~np.isfinite(own.logits).all(axis=1)
    if bad.any():
        yield f"a logit is not finite: {_some(own.trial[bad])}"
    if ((own.label < 0) | (own.label >= own.logits.shape[1])).any():
        yield "a label is of no class"
    shuffles = np.unique(own.shuffle)
    if len(shuffles) not in orders or shuffles.tolist() != list(range(len(shuffles))):
        wanted = " or ".join(map(str, orders))
        seen = f"{counted(len(shuffles), 'order')} ({_some(shuffles)})"
        yield f"the test part was seen in {seen}, expected {wanted}, numbered from 0"
        if len(shuffles) > _MOST_ORDERS:
            return
    for shuffle in shuffles:
        rows = own.shuffle == shuffle
        trials, count = np.unique(own.trial[rows], return_counts=True)
        if (count > 1).any():
            yield f"trials are there twice: {_some(trials[count > 1])}"
        if missing := set(test) - set(trials.tolist()):
            yield f"test trials are missing: {_some(missing)}"
        extra = set(trials.tolist()) - set(test)
        leaked = extra & known.train if known is not None else set()
        if leaked:
            yield f"training trials leaked into the test part: {_some(leaked)}"
        if extra - leaked:
            yield f"trials that are no test trials: {_some(extra - leaked)}"
    pairs = zip(own.trial.tolist(), own.label.tolist(), strict=True)
    wrong = {trial for trial, label in pairs if trial in test and test[trial] != label}
    if wrong:
        yield f"labels differ from the card's: {_some(wrong)}"


def _some(values: Iterable[Any]) -> str:
    return some(sorted(set(map(str, values))), _LISTED)


def _metrics(entry: BoardEntry, own: SubmittedPredictions, trained: SeedResult) -> Iterator[str]:
    claimed = trained.metrics
    shuffles = len(np.unique(own.shuffle))
    logits = own.logits.reshape(shuffles, -1, own.logits.shape[1])
    labels = own.label[: logits.shape[1]]
    precision = float(entry.scored(trained.seed).precision.mean())
    true = {"shuffles": 1, **over_shuffles(logits, labels, entry.result.classes, mean_precision=precision)}
    for key in ("n", "shuffles"):
        if getattr(claimed, key) != true[key]:
            yield f"{key} is {getattr(claimed, key)}, and the predictions give {true[key]}"
    for key in _SCORES:
        if key == "map" and claimed.map is None:
            continue
        if abs(getattr(claimed, key) - true[key]) > TOLERANCE:
            yield f"{key} is {getattr(claimed, key):.8f}, and the predictions give {true[key]:.8f}"
    recalls = true["per_class_recall"]
    if set(recalls) != set(claimed.per_class_recall):
        yield "per_class_recall has other classes"
        return
    for name, claim in claimed.per_class_recall.items():
        if (claim is None) != (recalls[name] is None) or abs((claim or 0) - (recalls[name] or 0)) > TOLERANCE:
            yield f"the recall of '{name}' is {claim}, and the predictions give {recalls[name]}"
