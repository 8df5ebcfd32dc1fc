"""The database that the workers of a search share: its studies, their trials, and what happens where it fails."""

from __future__ import annotations

import contextlib
import copy
import datetime
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from kdbench.errors import RunFailed, UsageError
from kdbench.text.redaction import redacted, redacted_words
from kdbench.tuning.choosers import PRUNERS, SlotSampler

if TYPE_CHECKING:
    from kdbench.tuning.plan import SearchPlan

DATABASE = "optuna.db"
BEATS_MISSED = 3
RETRIES = 3
DATABASE_ERRORS = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
SURPLUS, WHY, VALUES, IDENTITY, PARENT = "surplus", "why", "values", "identity", "mlflow_run"
OWN = "own"
"""Marks the trial of the recipe's own values."""
_OPEN_SECONDS = 60


class _Storage(RDBStorage):
    """Optuna's storage, whose heart may skip a beat, and which also knows of trials that never had one."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._silent_since: dict[int, float] = {}

    def record_heartbeat(self, trial_id: int) -> None:
        """Beats; a database that is busy for a moment must not end the beating."""
        with contextlib.suppress(*DATABASE_ERRORS):
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Also the running trials whose worker died before its first heartbeat, which optuna takes for alive."""
        return [*super()._get_stale_trial_ids(study_id), *self._never_beaten(study_id)]

    def _never_beaten(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        if not running:
            return []
        with self.engine.connect() as connection:
            beating = set(connection.execute(sqlalchemy.text("SELECT trial_id FROM trial_heartbeats")).scalars())
        silent, now = [], time.monotonic()
        for trial in running:
            if trial._trial_id in beating:
                continue
            # By the trial's own start, and by this process's watch, since the clocks of two machines may differ.
            started = trial.datetime_start or datetime.datetime.min
            watched = now - self._silent_since.setdefault(trial._trial_id, now)
            if max((datetime.datetime.now() - started).total_seconds(), watched) > (self.grace_period or 0):
                silent.append(trial._trial_id)
        return silent


def storage_url(root: Path, given: str | None) -> str:
    """Address of the database: the given one, else a sqlite file in the folder of the runs."""
    return given or f"sqlite:///{root.absolute() / DATABASE}"


def shown(url: str) -> str:
    """An address without its passwords."""
    return redacted_words([url])[0]


@contextlib.contextmanager
def reachable(url: str) -> Iterator[None]:
    """Says so where the database of the block goes away.

    Raises:
        RunFailed: It did.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        first = str(getattr(cause, "orig", None) or cause or error).strip().partition("\n")[0]
        raise RunFailed(
            f"the database of the search cannot be used any more: {shown(url)}: {redacted(first, url)}",
            hint="Bring it back and repeat the same command: finished trials are kept in it, the others come back.",
        ) from error


def open_study(plan: SearchPlan, url: str, *, first: bool) -> optuna.Study:
    """Opens the study of a plan.

    Args:
        plan: The search.
        url: Address of the database.
        first: Whether this process may make the tables and the study; under a lock, since two that make the tables of
            one file at once would break each other.

    Raises:
        UsageError: The address is no database, or the study is of another search.
        RunFailed: The database cannot be reached.
    """
    _quiet()
    if not first:
        with reachable(url):
            return _study(plan, _storage(plan, url, tables=False))
    plan.folder.mkdir(parents=True, exist_ok=True)
    # Two processes that make the tables of one sqlite file at once would break each other.
    with FileLock(plan.root / f".{DATABASE}.lock", timeout=_OPEN_SECONDS):
        try:
            study = _study(plan, _storage(plan, url, tables=True))
            stored = study.user_attrs.get(IDENTITY)
            if stored is None:
                study.set_user_attr(IDENTITY, plan.identity)
            if plan.own is not None and not study.get_trials(deepcopy=False):
                study.enqueue_trial(plan.own, user_attrs={OWN: True})
        except (ImportError, sqlalchemy.exc.ArgumentError) as error:
            raise UsageError(
                f"--storage {shown(url)} cannot be opened: {redacted(str(error), url)}",
                hint="For example sqlite:////folder/file.db or postgresql+psycopg://user:***@host/name",
            ) from error
        except DATABASE_ERRORS as error:
            first_line = str(error.__cause__ or error).strip().partition("\n")[0]
            raise RunFailed(
                f"the database of the search cannot be opened: {shown(url)}: {redacted(first_line, url)}",
                hint="Start it, or take the sqlite file below the folder of the runs: leave --storage out.",
            ) from error
    if stored is not None and stored != plan.identity:
        differing = ", ".join(key for key in plan.identity if stored.get(key) != plan.identity[key])
        raise UsageError(
            f"the study '{plan.study}' is that of another search: {differing} differ",
            hint="Give this one another name: --study NAME",
        )
    return study


def _storage(plan: SearchPlan, url: str, *, tables: bool) -> _Storage:
    beat = plan.heartbeat_seconds
    # sqlite lets one process write at a time; a server may have dropped a connection that was idle.
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _Storage(
            url,
            engine_kwargs=wait,
            heartbeat_interval=beat,
            grace_period=BEATS_MISSED * beat,
            skip_table_creation=not tables,
        )


def _study(plan: SearchPlan, storage: _Storage) -> optuna.Study:
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
    with reachable(url):
        try:
            return slots(optuna.load_study(study_name=plan.study, storage=_storage(plan, url, tables=False)))
        except KeyError:
            return []


def slots(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: without those that another took over, and those beyond the budget.

    They come in the order in which they were first begun, so that one that was killed and went on keeps its place.
    """
    trials = study.get_trials(deepcopy=False)
    replaced = _replaced(trials)
    counting = [trial for trial in trials if trial.number not in replaced and SURPLUS not in trial.user_attrs]
    return sorted(counting, key=origin)


def _replaced(trials: list[FrozenTrial]) -> set[int]:
    return {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}


def is_replaced(study: optuna.Study, number: int) -> bool:
    """Whether another trial goes on with this one."""
    return number in _replaced(study.get_trials(deepcopy=False))


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
