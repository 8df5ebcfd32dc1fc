"""Which classes the network knows: the confusion matrix, and a table per class."""

from __future__ import annotations

import numpy as np

from kdbench.evaluation.metrics import confusion
from kdbench.explanation.section import Section, SectionTable, share_text
from kdbench.explanation.study import Study
from kdbench.plotting.class_matrices import confusion_matrix
from kdbench.plotting.style import CaptionedFile
from kdbench.text.wording import counted

CONFUSED = 10


def classes(study: Study) -> Section:
    """Draws the confusion matrix and counts precision, recall and F1 of each class, over all shuffles."""
    from sklearn.metrics import precision_recall_fscore_support

    shuffles, names = len(study.scores.logits), study.classes
    labels = np.tile(study.scores.labels, shuffles)
    predicted = study.scores.logits.argmax(-1).ravel()
    kinds = list(range(len(names)))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=kinds, average=None, zero_division=np.nan
    )
    matrix = confusion(labels, predicted, len(names))
    confusion_matrix(
        matrix, study.card.short_names, study.folder / "confusion_matrix.png", title=f"{study.run.folder.name}"
    )
    shares = {"precision": precision, "recall": recall, "f1": f1}
    shown = {name: [_share(value, support[k]) for k, value in enumerate(values)] for name, values in shares.items()}
    counts = [int(count) // shuffles for count in support]
    return Section(
        notes=[
            f"{counted(study.run.metrics['n'], 'trial')} of the {study.run.conditions['part']} part"
            + (f", over {shuffles} shuffles" if shuffles > 1 else "")
            + f": accuracy {100 * study.run.metrics['accuracy']:.2f} %, macro F1 "
            f"{100 * study.run.metrics['macro_f1']:.2f} %."
        ],
        pictures=[CaptionedFile("confusion_matrix.png", "Shares of each true class (row) in per cent.")],
        tables=[
            SectionTable(
                "Classes",
                ("class", "precision %", "recall %", "F1 %", "trials"),
                [
                    (name, *(share_text(values[k]) for values in shown.values()), counts[k])
                    for k, name in enumerate(names)
                ],
            ),
            _confusions(study, matrix),
        ],
        numbers={
            "per_class": [
                {"class": name, "support": counts[k], **{key: values[k] for key, values in shown.items()}}
                for k, name in enumerate(names)
            ],
            "confusion": matrix.tolist(),
        },
    )


def _confusions(study: Study, matrix: np.ndarray) -> SectionTable:
    wrong = matrix * (1 - np.eye(len(matrix)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]
    pairs = [np.unravel_index(cell, wrong.shape) for cell in order]
    return SectionTable(
        "The most frequent confusions",
        ("true", "predicted", "of the true class %"),
        [(study.classes[i], study.classes[j], share_text(float(wrong[i, j]))) for i, j in pairs if wrong[i, j] > 0],
    )


def _share(value: float, support: float) -> float | None:
    """None where it is not defined: the class is never predicted, or the part lacks it."""
    return float(value) if support and np.isfinite(value) else None
