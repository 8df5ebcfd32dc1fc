"""A query of the search's database that Ctrl-C stops in its middle."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from kdbench.tuning.patience import PATIENCE_SECONDS, Patience
from kdbench.tuning.storage import Storage


def test_an_interrupted_query_does_not_keep_the_database_locked(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    storage = Storage(f"sqlite:///{path}", patience=Patience(PATIENCE_SECONDS, print), beat=60, tables=True)
    study = optuna.create_study(storage=storage)
    for value in range(20):
        study.add_trial(optuna.trial.create_trial(value=value, user_attrs={"a": 1, "b": 2}))

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # Executed, and its rows not yet fetched.
        if statement.startswith("SELECT trial_user_attributes"):
            raise KeyboardInterrupt

    sqlalchemy.event.listen(storage.engine, "after_cursor_execute", interrupt)
    # The error is alive as long as `caught` is, as in a handler of it, or in a notebook.
    with pytest.raises(KeyboardInterrupt) as caught:
        storage.get_all_trials(study._study_id)
    assert caught.value.__traceback__ is not None
    other = sqlite3.connect(path, timeout=0)
    try:
        other.execute("BEGIN EXCLUSIVE")
    finally:
        other.close()
