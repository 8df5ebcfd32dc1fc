"""What a person reads while a search goes on: a line for each trial that ends."""

from __future__ import annotations

from statistics import fmean

import optuna
from optuna.trial import FrozenTrial, TrialState

from kdbench.text.wording import counted, inflected
from kdbench.tuning.plan import SearchPlan
from kdbench.tuning.studies import WHY, slots
from kdbench.util.progress import Reporter, duration

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


class Told:
    """Tells each trial's end once.

    Args:
        plan: The search.
        jobs: Workers, for the time that is left.
        reporter: Takes the lines.
    """

    def __init__(self, plan: SearchPlan, jobs: int, reporter: Reporter) -> None:
        self._plan, self._jobs, self._reporter = plan, jobs, reporter
        self._known: set[int] = set()
        self._seconds: list[float] = []
        self._waits = False

    def start(self, study: optuna.Study) -> None:
        """Takes the trials that are there already for told."""
        self._known = {trial.number for trial in slots(study) if trial.state.is_finished()}
        if self._known:
            self._reporter.message(
                f"going on: {len(self._known)} of {counted(self._plan.trials, 'trial')} "
                f"{inflected(len(self._known), 'is')} there already"
            )

    def tell(self, study: optuna.Study) -> None:
        """Tells what has ended since."""
        trials = slots(study)
        for place, trial in enumerate(trials):
            if trial.state.is_finished() and trial.number not in self._known:
                self._known.add(trial.number)
                self._reporter.message(self._line(place, trial, trials))

    def waiting(self) -> None:
        """Says, once, that the trials of others are waited for."""
        if not self._waits:
            self._waits = True
            self._reporter.message("waiting for the trials that other processes run, or ran until they were stopped")

    def _line(self, place: int, trial: FrozenTrial, trials: list[FrozenTrial]) -> str:
        complete = [other for other in trials if other.state == TrialState.COMPLETE and other.value is not None]
        text = f"trial {place + 1}/{self._plan.trials}: {outcome(trial, self._plan.metric)}"
        if complete:
            text += f" · best {100 * max(other.value or 0 for other in complete):.2f} %"
        left = self._plan.trials - len(self._known)
        if left > 0 and trial.duration is not None:
            self._seconds.append(trial.duration.total_seconds())
            # The last trials leave some of the workers idle.
            text += f" · about {duration(fmean(self._seconds) * left / min(self._jobs, left))} left"
        return text


def outcome(trial: FrozenTrial, metric: str) -> str:
    """How a trial ended, in a few words."""
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return f"{metric.replace('_', ' ')} {100 * trial.value:.2f} %"
    why = trial.user_attrs.get(WHY)
    return f"{STATES[trial.state]}: {why}" if why else STATES[trial.state]
