"""What a finished run has learnt, in pictures and numbers: `kdbench explain`.

A part is a function that takes a `Study` and returns a `Section`; the table says where each lies and which of the
options its result depends on.
"""

from __future__ import annotations

from typing import NamedTuple


class ExplanationPart(NamedTuple):
    """One part of an explanation.

    Attributes:
        title: Its heading.
        target: Where its function is, `module:function`.
        reads: The options that its result depends on, by their names in `Study`.
    """

    title: str
    target: str
    reads: tuple[str, ...] = ()


PARTS = {
    "classes": ExplanationPart("Classes", "kdbench.explanation.classes:classes"),
    "trials": ExplanationPart("Trials", "kdbench.explanation.trials:trials", ("against",)),
    "gradcam": ExplanationPart("Where the network looks", "kdbench.explanation.cams:cams", ("chosen",)),
    "inputs": ExplanationPart("What the series look like to the network", "kdbench.explanation.inputs:inputs"),
    "embeddings": ExplanationPart("Embeddings of student and teacher", "kdbench.explanation.embeddings:embeddings"),
    "robustness": ExplanationPart("Robustness", "kdbench.explanation.robustness:robustness", ("draws",)),
}
"""The parts by the names that `--only` takes, in the order of the page."""
ON_REQUEST = {
    "actions": ExplanationPart("One clip per class", "kdbench.explanation.actions:actions", ("actions",)),
}
"""Parts that are made alone, by an option of their own; once made, they stand on the page too."""
