"""What is kept of predictions between two comparisons is that of the files as they lie there now."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import tiny
from made_runs import make_run

from kdbench.errors import DataError
from kdbench.runs import condensed as module
from kdbench.runs import tested as tested_module
from kdbench.runs.condensed import Keep, condensed, keep_ended, scores_of
from kdbench.runs.overview import overview
from kdbench.runs.store import StoredRun, stored_run, stored_runs
from kdbench.statistics.scores import METRICS
from kdbench.util.records import hashes, read_json, sealed, write_json, write_parquet

PREDICTIONS = "predictions.parquet"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[StoredRun]:
    """Three runs as runs leave them: sealed, with the hashes of their files; few are worth keeping."""
    monkeypatch.setattr(module, "_WORTH", 1)
    for wrong in (4, 8, 12):
        folder = make_run(tmp_path / "runs", "kd", seed=wrong, wrong=wrong, folder=f"kd-{wrong}")
        result = read_json(folder / "run.json") | {"files": hashes(folder, [PREDICTIONS])}
        write_json(folder / "run.json", sealed(result, folder / "run.json"))
    found, broken = stored_runs(tmp_path / "runs")
    assert not broken
    return found


def unread(_: Any) -> None:
    raise AssertionError("its predictions were read again")


def test_what_was_kept_is_found_again_and_equals_what_is_read(
    runs: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = condensed([tested_module.tested(run) for run in runs])
    with Keep(runs, tmp_path / "keep.db") as keep:
        for run in runs:
            keep.read(run)
    monkeypatch.setattr(tested_module, "_read", unread)
    with Keep(runs, tmp_path / "keep.db") as keep:
        again = [keep.read(run) for run in runs]
    for one, other in zip(fresh, again, strict=True):
        for name in ("trials", "labels", "predicted"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        for metric in METRICS:
            assert np.array_equal(scores_of([one], metric), scores_of([other], metric)), metric


def test_other_predictions_are_noticed_whatever_was_kept(runs: list[StoredRun], tmp_path: Path) -> None:
    with Keep(runs, tmp_path / "keep.db") as keep:
        before = keep.read(runs[0])
    # The file of another run in its place: the hash in its run.json is not that of the file.
    (runs[0].folder / PREDICTIONS).write_bytes((runs[1].folder / PREDICTIONS).read_bytes())
    with Keep(runs, tmp_path / "keep.db") as keep, pytest.raises(DataError, match="is not the file that the run wrote"):
        keep.read(runs[0])
    # Both exchanged, and sealed anew: what was kept is of another hash.
    result = {**runs[0].result, "files": hashes(runs[0].folder, [PREDICTIONS]), "metrics": runs[1].result["metrics"]}
    write_json(runs[0].folder / "run.json", sealed(result, runs[0].folder / "run.json"))
    changed = stored_run(runs[0].folder)
    with Keep([changed], tmp_path / "keep.db") as keep:
        assert not np.array_equal(keep.read(changed).predicted, before.predicted)
    (changed.folder / PREDICTIONS).unlink()
    with Keep([changed], tmp_path / "keep.db") as keep, pytest.raises(DataError, match="it is missing"):
        keep.read(changed)


def test_a_run_keeps_its_own_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_WORTH", 1)
    made = stored_run(tiny("student_only", tmp_path / "runs").folder)
    (read,) = condensed([tested_module.tested(made)])
    monkeypatch.setattr(tested_module, "_read", unread)
    with Keep([made]) as keep:
        kept = keep.read(made)
    assert np.array_equal(kept.trials, read.trials)
    assert np.array_equal(kept.predicted, read.predicted)
    assert np.array_equal(kept.precision, read.precision)


def test_a_run_ends_well_where_nothing_can_be_kept(
    runs: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "predictions.db").mkdir(parents=True)
    keep_ended(runs[0].folder, runs[0].result)
    (tmp_path / "cache" / "predictions.db").rmdir()
    (runs[1].folder / PREDICTIONS).unlink()
    for run in runs:
        keep_ended(run.folder, run.result)
    with Keep(runs) as keep:
        assert len(keep._known) == 2


def test_a_run_that_was_edited_is_never_taken_from_what_was_kept(runs: list[StoredRun], tmp_path: Path) -> None:
    with Keep(runs, tmp_path / "keep.db") as keep:
        keep.read(runs[0])
    result = read_json(runs[0].folder / "run.json")
    result["metrics"]["accuracy"] = 0.99
    write_json(runs[0].folder / "run.json", result)
    edited = stored_run(runs[0].folder)
    with Keep([edited], tmp_path / "keep.db") as keep, pytest.raises(DataError, match=r"accuracy 0\.990000, its"):
        keep.read(edited)


@pytest.mark.parametrize("content", [b"no database", b""])
def test_without_a_usable_file_everything_is_read(runs: list[StoredRun], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keep.db").write_bytes(content)
    with Keep(runs, tmp_path / "keep.db") as keep:
        assert keep.read(runs[0]).predicted.shape == (1, 80)
    # What another kdbench has kept is not read either.
    if not content:
        with sqlite3.connect(tmp_path / "keep.db") as store:
            store.execute("UPDATE format SET name = 'another'")
        with Keep(runs, tmp_path / "keep.db") as keep:
            assert not keep._known
            keep.read(runs[0])
        with Keep(runs, tmp_path / "keep.db") as keep:
            assert keep._known


def test_a_listing_reads_no_predictions_of_runs_as_they_were_written(
    runs: list[StoredRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested_module, "_read", unread)
    assert {row.status for row in overview(runs[0].folder.parent)} == {"finished"}
    (runs[0].folder / PREDICTIONS).write_bytes(b"PAR1")
    (runs[1].folder / PREDICTIONS).unlink()
    told = {row.folder.name: row.message for row in overview(runs[0].folder.parent) if row.status == "damaged"}
    assert "is not the file that the run wrote" in told[runs[0].folder.name]
    assert "it is missing" in told[runs[1].folder.name]


def test_rows_in_any_order_and_split_columns_are_read_alike(runs: list[StoredRun]) -> None:
    whole = tested_module.tested(runs[0])
    table = pd.read_parquet(runs[0].folder / PREDICTIONS)
    write_parquet(runs[0].folder / PREDICTIONS, table.sample(frac=1, random_state=0).reset_index(drop=True))
    result = {**runs[0].result, "files": hashes(runs[0].folder, [PREDICTIONS])}
    shuffled = tested_module.tested(StoredRun(runs[0].folder, sealed(result, runs[0].folder)))
    assert np.array_equal(whole.trials, shuffled.trials)
    assert np.array_equal(whole.labels, shuffled.labels)
    assert np.array_equal(whole.logits, shuffled.logits)


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs are worth a second process, which reads two of them."""
    monkeypatch.setattr(module, "_WORTH_HELP", 2)
    monkeypatch.setattr(module, "_TO_START", 0)
    monkeypatch.setattr(module, "has_another_core", lambda: True)


@pytest.mark.usefixtures("helped")
def test_a_second_process_reads_a_part_and_what_it_leaves_is_read_here(
    runs: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = condensed([tested_module.tested(run) for run in runs])
    (runs[1].folder / PREDICTIONS).write_bytes(b"PAR1")
    with Keep(runs, tmp_path / "keep.db") as keep:
        # Only the last one: this process had the first, and the second is damaged.
        assert list(keep._known) == [runs[2].result["files"][PREDICTIONS]]
        told = keep.read_all(runs)
    assert isinstance(told[1], DataError)
    for place in (0, 2):
        one = told[place]
        assert not isinstance(one, DataError)
        assert np.array_equal(one.trials, fresh[place].trials)
        assert np.array_equal(one.predicted, fresh[place].predicted)
        assert np.array_equal(one.precision, fresh[place].precision)
    monkeypatch.setattr(module, "beside", unread)
    with Keep([runs[0], runs[2]], tmp_path / "keep.db") as keep:
        assert len(keep._known) == 2


@pytest.mark.usefixtures("helped")
def test_without_the_second_process_everything_is_read_here(
    runs: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.beside
    monkeypatch.setattr(module, "beside", lambda _, told: real("kdbench.runs.condensed:nothing_of_this_name", told))
    with Keep(runs, tmp_path / "keep.db") as keep:
        assert not keep._known
        assert all(isinstance(one, module.Condensed) for one in keep.read_all(runs))
