"""Which trials the network gets wrong, and which of them another run gets right."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.explanation.scores import TrialScores
from kdbench.explanation.section import Section, SectionTable, share_text
from kdbench.explanation.study import Study
from kdbench.text.wording import counted, inflected

SHOWN = 15


def trials(study: Study) -> Section:
    """Lists the most confident errors, and the trials that gain and lose most against the other run."""
    wrong = [entry(study, int(row)) for row in study.scores.worst()]
    section = Section(
        notes=[f"{len(wrong)} of {counted(len(study.scores.trials), 'trial')} {inflected(len(wrong), 'is')} wrong."],
        tables=[
            SectionTable(
                "The most confident errors",
                ("trial", "true", "predicted", "probability of predicted %", "of true %"),
                [
                    (
                        trial["trial"],
                        trial["true"],
                        trial["predicted"],
                        share_text(trial["probability_of_predicted"]),
                        share_text(trial["probability_of_true"]),
                    )
                    for trial in wrong[:SHOWN]
                ],
            )
        ],
        numbers={"wrong": wrong},
    )
    if study.against is not None:
        _compare(study, study.other_scores(), section)
    return section


def entry(study: Study, row: int) -> dict[str, Any]:
    """What is predicted of a trial, by its row in the scores."""
    scores, names = study.scores, study.classes
    return {
        "trial": scores.trials[row],
        "true": names[scores.labels[row]],
        "predicted": names[scores.predicted[row]],
        "probability_of_predicted": float(scores.probabilities[row].max()),
        "probability_of_true": float(scores.truth[row]),
    }


def _compare(study: Study, other: TrialScores, section: Section) -> None:
    """Adds the trials that change most, by the probability of their true class."""
    assert study.against is not None
    scores, name = study.scores, study.against.folder.name
    change = scores.truth - other.truth
    right, before = scores.predicted == scores.labels, other.predicted == other.labels
    counts = {
        "both_right": int((right & before).sum()),
        "only_this": int((right & ~before).sum()),
        "only_other": int((~right & before).sum()),
        "both_wrong": int((~right & ~before).sum()),
    }
    section.notes.append(
        f"Against {name}: {counted(counts['both_right'], 'trial')} {inflected(counts['both_right'], 'is')} "
        f"right in both runs, {counts['only_this']} in this one "
        f"alone, {counts['only_other']} in the other alone, {counts['both_wrong']} in neither. These are trials of one "
        "seed: whether a method is better is for `kdbench compare` to say."
    )
    order = np.argsort(-change, kind="stable")
    entries = {
        "improved": [_change(study, other, row) for row in order if change[row] > 0],
        "worsened": [_change(study, other, row) for row in order[::-1] if change[row] < 0],
    }
    for kind, listed in entries.items():
        section.tables.append(
            SectionTable(
                f"The most {kind} against {name}",
                ("trial", "true", "predicted here", "predicted there", "of true here %", "of true there %"),
                [
                    (
                        trial["trial"],
                        trial["true"],
                        trial["predicted"],
                        trial["predicted_there"],
                        share_text(trial["probability_of_true"]),
                        share_text(trial["probability_of_true_there"]),
                    )
                    for trial in listed[:SHOWN]
                ],
            )
        )
    section.numbers["against"] = {"run": name, **counts, **{kind: listed[:SHOWN] for kind, listed in entries.items()}}


def _change(study: Study, other: TrialScores, row: int) -> dict[str, Any]:
    return entry(study, row) | {
        "predicted_there": study.classes[other.predicted[row]],
        "probability_of_true_there": float(other.truth[row]),
    }
