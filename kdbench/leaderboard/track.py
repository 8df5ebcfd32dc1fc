"""Holds a submission to its track: the conditions, the recipe and the number of labelled trials have to agree."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.schema import Given
from kdbench.leaderboard.trials import supervision
from kdbench.recipes.track import Track
from kdbench.registry import registry
from kdbench.runs.gain import untrained_like
from kdbench.runs.unlabelled import why_left_out


def check_track(entry: BoardEntry) -> Iterator[str]:
    """What cannot be under the track that a submission names, as problems.

    That its conditions name the recipe's track is checked with the other conditions.

    Args:
        entry: The submission.
    """
    recipe, track = entry.recipe, entry.recipe.track
    if "track" in entry.result.conditions and track.is_whole:
        yield "its conditions name the track of all labels and pairs, which no run writes"
    student = recipe.student
    if student is not None and student.is_untrained and not track.is_transfer_alone:
        yield f"its student was not trained, which is a row of transfer alone ({untrained_like(student)}) only"
    if track.is_transfer_alone and student is None:
        yield "its track is transfer alone, and its recipe trains no student"
    if track.is_transfer_alone and student is not None:
        for name, term in student.losses.items():
            if registry("loss").has(name) and (why := why_left_out(name, term)):
                yield f"its track is transfer alone, and its student learns by '{name}', which {why}"
    for trained in entry.result.seeds:
        yield from (f"seed {trained.seed}: {problem}" for problem in _given(entry, track, trained.given, trained.seed))


def _given(entry: BoardEntry, track: Track, given: Given | None, seed: int) -> Iterator[str]:
    """Whether the numbers of labelled and paired trials are those that the track gives."""
    if track.is_whole:
        if given is not None:
            yield "it says which trials have a label, and every one has under its track"
        return
    if given is None:
        yield "it does not say how many trials have a label and how many sensors"
        return
    if max(given.labelled, given.paired) > given.train:
        yield f"{given.labelled} labelled and {given.paired} paired of {given.train} training trials cannot be"
        return
    result = entry.result
    validation = result.conditions["selection"] != "last"
    true = supervision(result.dataset, result.protocol, entry.options, track, validation=validation, seed=seed)
    if true is not None:
        counts = {"labelled": len(true.labelled), "paired": len(true.paired)}
    elif track.labels == "all":
        return
    else:
        # Without the trials, it is known that K of each class have a label.
        counts = {"labelled": track.labels * len(result.classes), "paired": given.train}
    for what, count in counts.items():
        claimed = getattr(given, what)
        if claimed != count:
            yield f"it says that {claimed} training trials are {what}, and under its track ({track.words}) {count} are"
    if true is not None and given.train != (count := max(counts.values())):
        yield f"it says that {given.train} trials train, and by the card {count} do"
