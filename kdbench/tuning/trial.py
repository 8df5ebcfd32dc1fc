"""One trial: the values that the sampler proposes, a run of each tuning seed on the validation part, their mean."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from typing import Any

import optuna
from filelock import FileLock

from kdbench.errors import DataError, Interrupted, RunFailed, UsageError
from kdbench.runs.context import context_for
from kdbench.runs.run import run_in
from kdbench.text.redaction import redacted
from kdbench.tuning.choosers import NO_PRUNER
from kdbench.tuning.patience import DATABASE_ERRORS
from kdbench.tuning.plan import SearchPlan
from kdbench.tuning.space import suggest
from kdbench.tuning.studies import OWN, PARENT, SURPLUS, VALUES, WHY, is_twin, origin, place
from kdbench.util.files import remove_unfinished
from kdbench.util.progress import Reporter


class TrialFailed(Exception):
    """A trial came to nothing; the search goes on."""


class SearchTrial:
    """Runs trials of a plan in this process.

    Args:
        plan: The search.
        study: Its study.
        reporter: Shows the epochs.
    """

    def __init__(self, plan: SearchPlan, study: optuna.Study, reporter: Reporter) -> None:
        self.plan = plan
        self.study = study
        self.reporter = reporter
        self.number: int | None = None

    def __call__(self, trial: optuna.Trial) -> float:
        """Runs a trial; returns the mean of the validation metric over the tuning seeds.

        Raises:
            TrialFailed: Its training failed, which is written down and costs the study nothing else.
            TrialPruned: The pruner stopped it.
        """
        self.number = trial.number
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        # Two workers may ask at once for what is the last trial; the later one does not count.
        if (slot := place(self.study, trial.number)) >= self.plan.trials or is_twin(self.study, trial.number):
            trial.set_user_attr(SURPLUS, True)
            raise TrialFailed("beyond the budget")
        values = suggest(trial, self.plan.space, self.plan.integers)
        label = f"trial {slot + 1}/{self.plan.trials}"
        began = time.perf_counter()
        # A second attempt goes on in the folder of the first one.
        folder = self.plan.within(origin(frozen))
        trial.set_user_attr("folder", folder)
        place_of_runs = self.plan.root / folder
        place_of_runs.mkdir(parents=True, exist_ok=True)
        try:
            # A worker that was slow to beat, and given up, may still be at it.
            with FileLock(place_of_runs / ".lock"):
                remove_unfinished(place_of_runs)
                scores = [
                    self._score(trial, values, seed, number, folder, label)
                    for number, seed in enumerate(self.plan.trial_seeds)
                ]
        except optuna.TrialPruned:
            for path in place_of_runs.glob("*/checkpoint"):
                shutil.rmtree(path, ignore_errors=True)
            raise
        # These end the search: no other trial would fare better.
        except (UsageError, DataError, Interrupted, *DATABASE_ERRORS):
            raise
        except Exception as error:
            if isinstance(error.__cause__, OSError):
                # A full disk fails every trial that follows, too.
                raise
            trial.set_user_attr(WHY, _line(error))
            raise TrialFailed(_line(error)) from error
        trial.set_user_attr(VALUES, scores)
        trial.set_user_attr("seconds", time.perf_counter() - began)
        return statistics.fmean(scores)

    def _score(
        self, trial: optuna.Trial, values: dict[str, Any], seed: int, number: int, folder: str, label: str
    ) -> float:
        plan = self.plan
        request = plan.request(values, seed, validation=True)
        context = context_for(request, _Watch(self, trial, number, label))
        # Measuring after each epoch costs time, which only a pruner is worth.
        context.validates = plan.pruner != NO_PRUNER
        parent = self.study.user_attrs.get(PARENT)
        context.tags = {"search": plan.study, "trial": str(trial.number)}
        if parent is not None:
            context.tags["mlflow.parentRunId"] = parent
        value = float(run_in(context, plan.root, within=folder).metrics[plan.metric])
        if not math.isfinite(value):
            raise RunFailed(f"{plan.metric} is {value}", hint="The search goes on without this trial.")
        return value


class _Watch(Reporter):
    """Shows a trial's epochs as one of the search, and lets the pruner stop it after any of them."""

    def __init__(self, owner: SearchTrial, trial: optuna.Trial, number: int, label: str) -> None:
        self._owner, self._trial, self._number, self._label = owner, trial, number, label
        self._shown = owner.reporter

    def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
        self._shown.start_phase(f"{self._label}, {phase}", epochs=epochs, steps=steps, done=done, trials=trials)

    def step(self, count: int) -> None:
        self._shown.step(count)

    def end_epoch(self, record: dict[str, Any]) -> None:
        self._shown.end_epoch({**record, "phase": f"{self._label}, {record['phase']}"})
        plan = self._owner.plan
        if plan.pruner == NO_PRUNER or record["phase"] != plan.role or not record["validation"]:
            return
        epochs = plan.steps // len(plan.trial_seeds)
        step = self._number * epochs + record["epoch"]
        # After the last epoch there is nothing left to save.
        self._trial.report(record["validation"][plan.metric], step)
        # The recipe's own values are what all others are measured by.
        if step < plan.steps and OWN not in self._trial.user_attrs and self._trial.should_prune():
            raise optuna.TrialPruned(f"stopped by the pruner after epoch {record['epoch']}")

    def end_phase(self) -> None:
        self._shown.end_phase()


def _line(error: Exception) -> str:
    text = redacted(str(error).strip().partition("\n")[0])
    return text if isinstance(error, RunFailed) else f"{type(error).__name__}: {text}"
