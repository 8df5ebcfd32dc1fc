"""Whether an export predicts what its run has stored: every trial of the reported part, one recording at a time."""

from __future__ import annotations

import numpy as np

from kdbench.errors import RunFailed
from kdbench.export.trials import Trials
from kdbench.students.schema import Parity
from kdbench.students.student import Program
from kdbench.text.wording import counted
from kdbench.util.progress import Reporter

TOLERANCE = 1e-4
"""The most that a logit may differ by."""
SHOWN = 5


def predicted(program: Program, trials: Trials, reporter: Reporter) -> np.ndarray:
    """Logits `(N, K)` of the reported part, in the order of the stored predictions.

    Args:
        program: What predicts.
        trials: The part.
        reporter: Is told how far it is.
    """
    names = list(trials)
    reporter.message(f"predicting {counted(len(names), 'trial')} from {', '.join(sorted(set(trials.origin.values())))}")
    return np.concatenate([program(trials.tensors(name)) for name in names])


def compared(logits: np.ndarray, trials: Trials) -> Parity:
    """Sets predictions against those that the run has stored.

    Args:
        logits: As from `predicted`.
        trials: The part.

    Raises:
        RunFailed: They differ; the trials are named.
    """
    stored = trials.opened.tested
    difference = np.abs(logits.astype(np.float64) - stored.logits[0]).max(axis=1)
    other = logits.argmax(axis=1) != stored.predicted[0]
    wrong = np.flatnonzero(~(difference <= TOLERANCE) | other)
    if len(wrong):
        named = ", ".join(f"{stored.trials[row]} by {difference[row]:.2g}" for row in wrong[:SHOWN])
        more = f", … ({len(wrong) - SHOWN} more)" if len(wrong) > SHOWN else ""
        raise RunFailed(
            f"the export does not predict what the run has stored: {len(wrong)} of {counted(len(logits), 'trial')} "
            f"differ by more than {TOLERANCE:g} in a logit, or in the class ({named}{more})",
            hint=_hint(trials),
        )
    return Parity(
        trials=len(logits),
        part=str(trials.opened.run.conditions["part"]),
        inputs=dict(trials.origin),
        largest_difference=float(difference.max()),
        tolerance=TOLERANCE,
        argmax_equal=True,
    )


def _hint(trials: Trials) -> str:
    conditions = trials.opened.run.conditions
    if conditions.get("precision") != "fp32":
        return f"The run predicted at precision {conditions.get('precision')}: export one of --precision fp32."
    return (
        "Nothing is written. Another version of torch may round otherwise: train the run again with this one, "
        "or try the other --format."
    )
