"""Optuna's storage in a database that may be away for a while, and whose workers may die at any moment."""

from __future__ import annotations

import datetime
import functools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from kdbench.tuning.database import engine_options
from kdbench.tuning.patience import DATABASE_ERRORS, Patience, is_away

BEATS_MISSED = 3
_CALLS = (
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "_create_new_trial",
    "_set_trial_param",
    "get_trial_id_from_study_id_trial_number",
    "_get_best_trial_id",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "_get_trials",
)
"""What optuna asks of a storage, each a transaction of its own that may be made again."""


class Storage(RDBStorage):
    """Optuna's storage, which waits for a database that is away, and also knows of trials that never had a heartbeat.

    A transaction whose end the server could not confirm any more is made again. A trial that is begun twice by that is
    one that nobody beats for, and comes back as those of dead workers do; one that is queued twice is left out by
    `kdbench.tuning.studies.slots`.

    Args:
        url: Address of the database.
        patience: Makes the calls.
        beat: Seconds between two heartbeats; after three misses a trial's worker is taken for dead.
        tables: Whether to make the tables that are not there.
    """

    def __init__(self, url: str, *, patience: Patience, beat: int, tables: bool) -> None:
        self.patience = patience
        self._silent_since: dict[int, float] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(
                url,
                engine_kwargs=engine_options(url),
                heartbeat_interval=beat,
                grace_period=BEATS_MISSED * beat,
                skip_table_creation=not tables,
            )

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Ends or begins a trial; one that was ended so by a try whose answer got lost is ended well."""
        tries = 0

        def set_once() -> bool:
            nonlocal tries
            tries += 1
            try:
                return super(Storage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                trial = super(Storage, self).get_trial(trial_id)
                if tries > 1 and trial.state == state and (trial.values or []) == list(values or []):
                    return True
                raise

        return self.patience.of(set_once)

    def record_heartbeat(self, trial_id: int) -> None:
        """Beats; a database that is busy or away must not end the beating, nor hold up the trial's end."""
        try:
            super().record_heartbeat(trial_id)
        except DATABASE_ERRORS as error:
            if is_away(error):
                self.patience.away_at = time.monotonic()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Also the running trials whose worker died before its first heartbeat, which optuna takes for alive."""
        if self.patience.of(self._was_away):
            return []
        stale = self.patience.of(lambda: super(Storage, self)._get_stale_trial_ids(study_id))
        return [*stale, *self._never_beaten(study_id)]

    def _was_away(self) -> bool:
        """Whether the database was away so recently that workers which live may not have been able to say so since."""
        grace, away_at = self.grace_period or 0, self.patience.away_at
        if away_at is not None and time.monotonic() - away_at <= grace:
            return True
        if self.engine.name != "postgresql":
            return False
        # Whoever came after a restart has not seen it.
        asked = sqlalchemy.text("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")
        with self.engine.connect() as connection:
            return float(connection.execute(asked).scalar_one()) <= grace

    def _never_beaten(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        if not running:
            return []
        beating = self.patience.of(self._beating)
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

    def _beating(self) -> set[int]:
        with self.engine.connect() as connection:
            return set(connection.execute(sqlalchemy.text("SELECT trial_id FROM trial_heartbeats")).scalars())


def _patient(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def patiently(self: Storage, *arguments: Any, **options: Any) -> Any:
        return self.patience.of(lambda: call(self, *arguments, **options))

    return patiently


for _name in _CALLS:
    setattr(Storage, _name, _patient(getattr(RDBStorage, _name)))
