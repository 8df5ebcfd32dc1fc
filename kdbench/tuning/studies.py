"""The study that the workers of a search share, and which of its trials count."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from kdbench.errors import UsageError
from kdbench.tuning.choosers import PRUNERS, SlotSampler
from kdbench.tuning.database import DATABASE, engine_options, failure, is_server, reachable
from kdbench.tuning.patience import DATABASE_ERRORS, PATIENCE_SECONDS, Patience
from kdbench.tuning.storage import Storage

if TYPE_CHECKING:
    from kdbench.tuning.plan import SearchPlan

RETRIES = 3
SURPLUS, WHY, VALUES, IDENTITY, PARENT = "surplus", "why", "values", "identity", "mlflow_run"
OWN = "own"
"""Marks the trial of the recipe's own values."""
_OPEN_SECONDS = 60
_OR_SQLITE = "Start it, or take the sqlite file below the folder of the runs: leave --storage out."


def open_study(
    plan: SearchPlan, url: str, *, first: bool, tell: Callable[[str], None] = lambda _line: None
) -> optuna.Study:
    """Opens the study of a plan.

    Args:
        plan: The search.
        url: Address of the database.
        first: Whether this process may make the tables and the study; under a lock, since two that make the tables of
            one file at once would break each other.
        tell: Takes a line where the database goes away later, and one where it comes back.

    Raises:
        UsageError: The study is of another search.
        RunFailed: The database cannot be reached.
    """
    _quiet()
    patience = Patience(PATIENCE_SECONDS if is_server(url) else 0, tell)
    if not first:
        with reachable(url):
            return patience.of(lambda: _study(plan, _storage(plan, url, patience, tables=False)))
    plan.folder.mkdir(parents=True, exist_ok=True)
    # At the start nobody waits: a wrong address would not become right.
    at_once = Patience(0, tell)
    # Two processes that make the tables of one sqlite file at once would break each other.
    with FileLock(plan.root / f".{DATABASE}.lock", timeout=_OPEN_SECONDS):
        try:
            storage = _storage(plan, url, at_once, tables=True)
            study = _study(plan, storage)
            stored = study.user_attrs.get(IDENTITY)
            if stored is None:
                study.set_user_attr(IDENTITY, plan.identity)
            if plan.own is not None and not study.get_trials(deepcopy=False):
                study.enqueue_trial(plan.own, user_attrs={OWN: True})
        except DATABASE_ERRORS as error:
            raise failure(error, url, "cannot be opened", otherwise=_OR_SQLITE) from error
    storage.patience = patience
    if stored is not None and stored != plan.identity:
        differing = ", ".join(key for key in plan.identity if stored.get(key) != plan.identity[key])
        raise UsageError(
            f"the study '{plan.study}' is that of another search: {differing} differ",
            hint="Give this one another name: --study NAME",
        )
    return study


def _storage(plan: SearchPlan, url: str, patience: Patience, *, tables: bool) -> Storage:
    return Storage(url, patience=patience, beat=plan.heartbeat_seconds, tables=tables)


def _study(plan: SearchPlan, storage: Storage) -> optuna.Study:
    study = optuna.create_study(
        storage=storage,
        study_name=plan.study,
        direction="maximize",
        pruner=PRUNERS[plan.pruner](plan.steps),
        load_if_exists=True,
    )
    study.sampler = SlotSampler(plan.sampler, plan.study, lambda trial: place(study, trial.number))
    return study


def standing(plan: SearchPlan, url: str) -> list[FrozenTrial]:
    """The trials that count as they stand, see `slots`; none where there is no study. Makes no table and no study.

    Raises:
        RunFailed: The database cannot be reached.
    """
    _quiet()
    file = url.removeprefix("sqlite:///")
    # To open a sqlite file that is not there would make it.
    if file != url and not Path(file).is_file():
        return []
    try:
        engine = sqlalchemy.create_engine(url, **engine_options(url))
        if not sqlalchemy.inspect(engine).has_table("studies"):
            return []
        at_once = Patience(0, lambda _line: None)
        return slots(optuna.load_study(study_name=plan.study, storage=_storage(plan, url, at_once, tables=False)))
    except KeyError:
        return []
    except DATABASE_ERRORS as error:
        raise failure(error, url, "cannot be opened", otherwise=_OR_SQLITE) from error


def slots(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: without those that another took over, those queued twice, and those beyond the budget.

    They come in the order in which they were first begun, so that one that was killed and went on keeps its place.
    """
    trials = study.get_trials(deepcopy=False)
    left_out = _replaced(trials) | _twins(trials)
    counting = [trial for trial in trials if trial.number not in left_out and SURPLUS not in trial.user_attrs]
    return sorted(counting, key=origin)


def _replaced(trials: list[FrozenTrial]) -> set[int]:
    return {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}


def _twins(trials: list[FrozenTrial]) -> set[int]:
    """The trials that were queued once more because the database broke off before it could confirm the first time."""
    known: set[Any] = set()
    twins: set[int] = set()
    for trial in trials:
        history = trial.system_attrs.get("retry_history")
        of = history[-1] if history else OWN if OWN in trial.user_attrs else None
        if of is not None and of in known:
            twins.add(trial.number)
        known.add(of)
    return twins


def is_twin(study: optuna.Study, number: int) -> bool:
    """Whether a trial was queued a second time by mistake."""
    return number in _twins(study.get_trials(deepcopy=False))


def is_replaced(study: optuna.Study, number: int) -> bool:
    """Whether another trial goes on with this one."""
    return number in _replaced(study.get_trials(deepcopy=False))


def is_given_up(error: BaseException) -> bool:
    """Whether an error says that somebody else has ended the trial that this process was at."""
    # The second is what optuna says where it is told the value of such a trial.
    return isinstance(error, UpdateFinishedTrialError) or (
        isinstance(error, ValueError) and str(error).startswith("Cannot tell a ")
    )


def place(study: optuna.Study, number: int) -> int:
    """A trial's place among those that count."""
    own = origin(study.get_trials(deepcopy=False)[number])
    return sum(origin(trial) < own for trial in slots(study))


def origin(trial: FrozenTrial) -> int:
    """Number of the trial that this one goes on with; its own where it is no second attempt."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def orphans(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that died with their worker and are not queued again; one that dies again and again is given up."""
    return [
        trial
        for trial in slots(study)
        if trial.state == TrialState.FAIL
        and WHY not in trial.user_attrs
        and len(trial.system_attrs.get("retry_history", ())) < RETRIES
    ]


def put_back(study: optuna.Study, plan: SearchPlan, number: int) -> None:
    """Queues a trial that was stopped again, with the same values."""
    with _queueing(plan):
        # Whoever took this worker for dead may have queued it already.
        if not is_replaced(study, number):
            _queue(study, study.get_trials(deepcopy=False)[number])


def revive(study: optuna.Study, plan: SearchPlan) -> None:
    """Queues the trials of workers that stopped beating, or that were killed before they could queue them."""
    with _queueing(plan), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
        for trial in orphans(study):
            _queue(study, trial)


def _queueing(plan: SearchPlan) -> FileLock:
    """One process at a time, so that no trial is queued twice."""
    return FileLock(plan.folder / ".queue.lock")


def _queue(study: optuna.Study, trial: FrozenTrial) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # The callback writes into the trial that it is given.
        RetryHeartbeatStaleTrialCallback()(study, copy.deepcopy(trial))


def await_others(study: optuna.Study, plan: SearchPlan, progress: Any) -> None:
    """Waits until no trial is running any more: those of other processes end, those of dead ones come back."""
    while any(trial.state == TrialState.RUNNING for trial in slots(study)):
        progress.waiting()
        time.sleep(min(1.0, plan.heartbeat_seconds / 2))
        revive(study, plan)
        progress.tell(study)


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
