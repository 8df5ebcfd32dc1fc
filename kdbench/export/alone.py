"""What a student says of whole files, where a data set cuts its trials by the time that several streams share.

One file tells nothing of the others: who asks the student gives it whole, and sees what that costs.
"""

from __future__ import annotations

import numpy as np

from kdbench.export import describe
from kdbench.export.trials import Trials
from kdbench.students.schema import Alone
from kdbench.students.student import Program
from kdbench.text.wording import counted
from kdbench.util.progress import Reporter


def measured(program: Program, trials: Trials, reporter: Reporter) -> Alone | None:
    """Predicts the reported part by whole files.

    Args:
        program: The network.
        trials: The part.
        reporter: Is told how far it is.

    Returns:
        None where trials are whole files already, or windows, or where the files are not at hand.
    """
    opened = trials.opened
    card = opened.context.run_spec.dataset.card
    cut = describe.reader_of(opened).cuts(card)
    views = {entry.source: getattr(entry, "view", entry.source) for entry in trials.inputs}
    is_cut = any(view in cut for view in views.values())
    if trials.reader is None or not is_cut or card.files is None or card.files.windows is not None:
        return None
    names = list(trials)
    reporter.message(f"predicting {counted(len(names), 'trial')} by whole files")
    logits = np.concatenate(
        [program({entry.tensor: trials.whole_file(entry, name) for entry in trials.inputs}) for name in names]
    )
    scores = describe.scores_from(logits, opened.tested.labels, [entry.name for entry in card.classes])
    same = logits.argmax(axis=1) == opened.tested.predicted[0]
    return Alone(trials=len(names), scores=scores, agreement=float(same.mean()))
