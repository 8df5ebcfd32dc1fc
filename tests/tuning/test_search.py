"""A search from its command to the winner's runs: budget, resumption, killed workers, failures."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import yaml
from filelock import FileLock
from forked import alive, fork, wait
from forked import place as local
from helpers import WORLD, known

import kdbench
from kdbench import loss
from kdbench.data.loader import Loader
from kdbench.errors import Interrupted, RunFailed, UsageError
from kdbench.launch import BUILTIN
from kdbench.launch.launcher import Program
from kdbench.launch.warm import ForkedProcess
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.store import stored_runs
from kdbench.tuning.choosers import PRUNERS
from kdbench.tuning.progress import Told
from kdbench.tuning.report import rank
from kdbench.tuning.searching import SearchResult
from kdbench.tuning.studies import orphans, place, slots
from kdbench.tuning.work import _error_of
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json

TEACHER = ["teacher.train.epochs=8", "teacher.train.batch_size=8"]
RATE = ["student.train.lr=0.001..0.01:log"]


def searched(out: Path, method: str = "student_only", **arguments: Any) -> SearchResult:
    given: dict[str, Any] = {"trials": 2, "space": RATE, "seeds": 1, "final": False, "overrides": WORLD}
    given |= {"preset": "smoke", "device": "cpu", "out": out} | arguments
    return kdbench.search(method, "motionsim", **given)


class Lines(Reporter):
    """Keeps the lines; may do something at one of them."""

    def __init__(self, at: str = "", do: Any = None) -> None:
        self.lines: list[str] = []
        self.at, self.do = at, do

    def message(self, text: str) -> None:
        self.lines.append(text)
        if self.at and self.at in text:
            self.do()

    def warn(self, text: str) -> None:
        self.message(f"warning: {text}")


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set()


@pytest.fixture(scope="module")
def rkd(tmp_path_factory: pytest.TempPathFactory, loaded: set[str]) -> SearchResult:
    """Two trials over two tuning seeds; what they load is written down."""
    original = Loader.__init__

    def watched(self: Loader, dataset: Any, trials: Any, **arguments: Any) -> None:
        loaded.update(trials)
        original(self, dataset, trials, **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "__init__", watched)
        return searched(tmp_path_factory.mktemp("runs"), "rkd", space=(), trial_seeds=2, overrides=[*WORLD, *TEACHER])


@pytest.mark.slow
def test_the_test_part_is_not_loaded_by_trials(rkd: SearchResult, loaded: set[str]) -> None:
    context = context_for(
        RunRequest("rkd", "motionsim", preset="smoke", device="cpu", overrides=[*WORLD, "selection.part=validation"])
    )
    assert loaded == {*context.split.train, *context.split.validation}
    assert not loaded & set(context.split.test)
    for path in rkd.folder.glob("trials/*/*/run.json"):
        assert read_json(path)["conditions"]["part"] == "validation"


def test_the_teacher_of_each_tuning_seed_is_trained_once(rkd: SearchResult) -> None:
    folders = {path.parent.name for path in (rkd.folder.parents[1] / "teachers").glob("*/teacher.json")}
    assert folders == set(rkd.report["teachers"])
    assert len(folders) == 2
    used = {read_json(path)["teacher"]["folder"] for path in rkd.folder.glob("trials/*/*/run.json")}
    assert used == folders


def test_a_trial_is_the_mean_over_its_tuning_seeds(rkd: SearchResult) -> None:
    for trial in rkd.report["trials"]:
        stored, _ = stored_runs(rkd.folder.parents[1] / trial["folder"])
        scores = {run.seed: run.metrics["accuracy"] for run in stored}
        assert trial["values"] == [scores[0], scores[1]]
        assert trial["value"] == pytest.approx((scores[0] + scores[1]) / 2)
    assert rkd.report["spread"]["over_tuning_seeds"]["n"] == 2
    assert rkd.report["spread"]["over_seeds"] == {}


def test_without_a_pruner_no_epoch_is_validated(rkd: SearchResult) -> None:
    path = next(rkd.folder.glob("trials/*/*/metrics.jsonl"))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records
    assert all(record["validation"] is None for record in records)


def test_trials_are_no_runs_of_the_store(rkd: SearchResult) -> None:
    assert stored_runs(rkd.folder.parents[1]) == ([], [])


@pytest.mark.slow
def test_the_same_call_goes_on_and_ends_with_the_winners_runs(rkd: SearchResult) -> None:
    told = Lines()
    more = searched(
        rkd.folder.parents[1],
        "rkd",
        space=(),
        trial_seeds=2,
        overrides=[*WORLD, *TEACHER],
        trials=3,
        final=True,
        seeds=2,
        reporter=told,
    )
    assert more.folder == rkd.folder
    assert "going on: 2 of 3 trials are there already" in told.lines
    assert more.report["trials"][:2] == rkd.report["trials"]
    assert [run.result["seed"] for run in more.final] == [0, 1]
    for run in more.final:
        assert run.result["conditions"]["part"] == "test"
        assert run.result["conditions"]["tuning"]["trials"] == 3
        assert run.result["tuning"]["best"] == more.best
        assert run.result["recipe"]["student"]["train"]["lr"] == more.best["student.train.lr"]
    assert more.report["spread"]["over_seeds"]["accuracy"]["n"] == 2
    names = {path.name for path in more.folder.iterdir()}
    assert {"search.json", "rkd.yaml", "history.png", "slices.png"} <= names
    recipe = yaml.safe_load((more.folder / "rkd.yaml").read_text())
    assert recipe["extends"] == "rkd"
    chosen = resolve(str(more.folder / "rkd.yaml"), "smoke").model_dump(exclude={"summary"})
    trained = Recipe.model_validate(more.final[0].result["recipe"])
    assert chosen == trained.model_dump(exclude={"summary"})
    # Whoever runs it by hand cannot pass it off as untuned.
    by_hand = resolve(str(more.folder / "rkd.yaml"), "smoke").tuning
    assert by_hand is not None
    assert by_hand.model_dump() == more.final[0].result["tuning"]


@pytest.mark.slow
def test_an_interrupted_search_proposes_what_it_would_have_proposed(tmp_path: Path) -> None:
    whole = searched(tmp_path / "whole", trials=3, sampler="random")

    def interrupt() -> None:
        raise KeyboardInterrupt

    class InTheSecond(Reporter):
        def start_phase(self, phase: str, **sizes: int) -> None:
            if phase.startswith("trial 2/"):
                interrupt()

    with pytest.raises(Interrupted):
        searched(tmp_path / "parts", trials=3, sampler="random", reporter=InTheSecond())
    parts = searched(tmp_path / "parts", trials=3, sampler="random")
    assert [t["settings"] for t in parts.report["trials"]] == [t["settings"] for t in whole.report["trials"]]
    assert [t["value"] for t in parts.report["trials"]] == [t["value"] for t in whole.report["trials"]]


SCRIPT = """
import kdbench, sys
kdbench.search("student_only", "motionsim", trials=2, space=["student.train.lr=0.001..0.01:log"], seeds=1, final=False,
    overrides=["data.options={actions: 4, subjects: 4, trials: 3}", "student.train.epochs=30"], preset="smoke",
    device="cpu", out=sys.argv[1], heartbeat_seconds=2)
"""


def forked(script: str, folder: Path) -> ForkedProcess:
    """A script in a process of its own."""
    with (folder / "log").open("wb") as log:
        return fork(Program("probe", ("python", script, str(folder))), log)


def await_checkpoint(process: ForkedProcess, folder: Path) -> None:
    end = time.monotonic() + 400
    while not list(folder.glob("searches/*/trials/*/*/checkpoint/*")):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_the_trial_of_a_killed_process_comes_back(tmp_path: Path) -> None:
    process = forked(SCRIPT, tmp_path)
    try:
        await_checkpoint(process, tmp_path)
    finally:
        process.kill()
    result = searched(tmp_path, overrides=[*WORLD, "student.train.epochs=30"], heartbeat_seconds=2)
    assert result.report["states"]["finished"] == 2
    assert result.report["budget"]["trials"] == 2
    back = [trial for trial in result.report["trials"] if trial["number"] > 1]
    assert len(back) == 1
    # It goes on in the folder, and with the values, of the one that was killed.
    assert back[0]["folder"].endswith("0000")
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        values = database.execute(
            "SELECT p.param_value FROM trial_params p JOIN trials t USING (trial_id) WHERE t.number = 0"
        ).fetchall()
    assert values == [(back[0]["settings"]["student.train.lr"],)]
    resumed = [read_json(path)["resumed"] for path in (tmp_path / back[0]["folder"]).glob("*/run.json")]
    assert resumed == [1]


DEADLY = """
import kdbench, os, signal, sys
from kdbench.runs.run import Run
from kdbench.tuning import studies, work
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def interrupt(*_):
    raise KeyboardInterrupt
{moment}
kdbench.search("student_only", "motionsim", trials=2, space=["student.train.lr=0.001..0.01:log"], seeds=1, final=False,
    overrides=["data.options={{actions: 4, subjects: 4, trials: 3}}"], preset="smoke", device="cpu", out=sys.argv[1],
    heartbeat_seconds=1)
"""
MOMENTS = {
    "before its first heartbeat": "studies.Storage.record_heartbeat = die",
    "before its trial was queued again": "Run.execute, work.put_back = interrupt, die",
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_search_that_was_killed_ends_as_if_nothing_had_been(moment: str, tmp_path: Path) -> None:
    script = DEADLY.format(moment=MOMENTS[moment])
    assert wait(forked(script, tmp_path)) == -signal.SIGKILL
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        left = database.execute("SELECT state FROM trials").fetchall()
        beats = database.execute("SELECT count(*) FROM trial_heartbeats").fetchone()[0]
    assert (left, beats) == (([("RUNNING",)], 0) if "heartbeat" in moment else ([("FAIL",)], 1))
    result = searched(tmp_path, heartbeat_seconds=1)
    whole = searched(tmp_path / "whole", heartbeat_seconds=1)
    assert result.report["states"]["finished"] == 2
    for key in ("settings", "value"):
        assert [trial[key] for trial in result.report["trials"]] == [trial[key] for trial in whole.report["trials"]]
    assert result.best == whole.best


def test_equal_trials_are_ranked_by_their_settings_and_not_by_their_order() -> None:
    settings = [{"b": 2, "a": None}, {"b": 10.0, "a": "x"}, {"b": 1, "a": "x"}, {"b": True, "a": 3}]
    ranks = [sorted(order, key=lambda held: rank(0.5, held)) for order in itertools.permutations(settings)]
    assert all(each == ranks[0] for each in ranks)
    assert rank(0.6, settings[1]) < rank(0.5, settings[2]) < rank(0.5, settings[1])
    assert rank(0.5, settings[1], own=True) < rank(0.5, settings[2])


def test_the_first_trial_is_the_recipe_as_it_is(rkd: SearchResult) -> None:
    first, *others = rkd.report["trials"]
    assert first["settings"] == {"student.losses.rkd.weight": 1.0, "student.train.lr": 0.005}
    assert first == rkd.report["default"]
    assert [trial["own"] for trial in rkd.report["trials"]] == [True, *(False for _ in others)]
    assert rkd.report["best"]["value"] >= first["value"]


def test_a_space_without_the_recipes_own_values_says_that_they_are_not_tried(tmp_path: Path) -> None:
    told = Lines()
    result = searched(tmp_path, trials=1, space=["student.train.lr=0.01..0.02"], reporter=told)
    assert (
        "warning: the recipe's own values are not in this space, and so are not tried: student.train.lr = 0.005"
        in told.lines
    )
    assert result.report["default"] is None


class _Strict(optuna.pruners.BasePruner):
    def prune(self, study: Any, trial: Any) -> bool:
        return True


@pytest.mark.slow
def test_no_pruner_stops_the_recipes_own_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRUNERS, "median", lambda _steps: _Strict())
    result = searched(tmp_path, trials=3, pruner="median", metric="weighted_f1")
    assert [trial["state"] for trial in result.report["trials"]] == ["finished", "pruned", "pruned"]
    assert result.best == {"student.train.lr": 0.005}


@pytest.mark.slow
def test_the_workers_of_a_killed_search_end_with_it(tmp_path: Path) -> None:
    script = SCRIPT.replace("heartbeat_seconds=2", "heartbeat_seconds=2, jobs=2").replace("epochs=30", "epochs=3000")
    script = f"from forked import fork_jobs\nfork_jobs()\n{script}"
    parent = forked(script, tmp_path)
    try:
        await_checkpoint(parent, tmp_path)
        workers = alive(tmp_path / "searches")
    finally:
        parent.kill()
    assert len(workers) == 2
    end = time.monotonic() + 40
    while alive(tmp_path / "searches"):
        assert time.monotonic() < end
        time.sleep(0.05)
    name = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'optuna.db'}")[0]
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    # What they were at is not left to look as if it were running. A worker queues its trial again itself, or, where
    # it was interrupted once more or the database was locked, whoever works on the study next does.
    left = {trial.state.name for trial in slots(study)}
    assert left <= {"WAITING", "FAIL"}
    assert all(trial in orphans(study) for trial in slots(study) if trial.state.name == "FAIL")


@pytest.mark.slow
def test_workers_share_a_study_and_a_killed_one_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILTIN, "local", "forked:Shared")
    killed: list[int] = []

    class Killer(Lines):
        """Kills a worker that is at a trial, once."""

        def message(self, text: str) -> None:
            super().message(text)
            if text.startswith("trial 1/") and not killed:
                killed.append(alive(tmp_path / "searches")[0])
                os.kill(killed[0], signal.SIGKILL)

    told = Killer()
    result = searched(
        tmp_path, trials=3, jobs=2, heartbeat_seconds=2, reporter=told, overrides=[*WORLD, "student.train.epochs=10"]
    )
    assert len(killed) == 1
    assert any("was killed (signal 9); its trial comes back" in line for line in told.lines)
    assert result.report["states"]["finished"] == 3
    assert len({str(trial["settings"]) for trial in result.report["trials"]}) == 3


@pytest.mark.slow
def test_what_an_earlier_worker_said_is_not_taken_for_what_stopped_a_later_one(tmp_path: Path) -> None:
    log = tmp_path / "worker-0.log"
    log.write_text("error: of yesterday\n")
    job = local().start(Program("probe", ("raise",)), log, 0)
    while (code := job.poll()) is None:
        time.sleep(0.02)
    assert _error_of(0, job, code).message == "worker 0 stopped: ValueError: as asked"


def test_a_trial_that_goes_on_later_keeps_its_place() -> None:
    study = optuna.create_study(direction="maximize")
    killed, other = study.ask(), study.ask()
    study.tell(killed, state=optuna.trial.TrialState.FAIL)
    study.tell(other, 0.5)
    optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[killed.number])
    again = study.ask()
    assert [trial.number for trial in slots(study)] == [again.number, other.number] == [2, 1]
    assert [place(study, number) for number in (again.number, other.number)] == [0, 1]
    assert place(study, study.ask().number) == 2


def test_the_time_that_is_left_is_shared_by_the_workers() -> None:
    study, told = optuna.create_study(direction="maximize"), Lines()
    each = Told(SimpleNamespace(trials=4, metric="accuracy"), 2, told)  # type: ignore[arg-type]
    each.start(study)
    trial = optuna.trial.create_trial(value=0.5)
    assert trial.datetime_start is not None
    trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=60)
    study.add_trial(trial)
    each.tell(study)
    assert told.lines == ["trial 1/4: accuracy 50.00 % · best 50.00 % · about 1 min 30 s left"]


@pytest.mark.slow
def test_trials_stand_under_their_search_in_a_mirror_that_is_slow_to_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDBENCH_TRACKING")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    busy = FileLock(tmp_path / ".mlflow.db.lock", thread_local=False)
    busy.acquire()
    threading.Timer(5, busy.release).start()
    searched(tmp_path, trials=1)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        names = dict(store.execute("SELECT name, run_uuid FROM runs").fetchall())
        parents = store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall()
    assert parents == [(names["student_only seed 0"], names["search student_only"])]


@pytest.mark.slow
def test_a_worker_says_what_stopped_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILTIN, "local", "forked:Shared")

    @loss("only_here", on="logits", teacher=False)
    def only_here(student: Any) -> Any:
        """Known in this process alone."""
        return student.square().mean()

    with known(only_here), pytest.raises(UsageError, match=r"worker \d stopped: unknown loss 'only_here'"):
        searched(tmp_path, overrides=[*WORLD, "student.losses.only_here.weight=1"], jobs=2)


@loss("fragile", on="logits", teacher=False)
def fragile(student: Any, *, scale: float = 1.0) -> Any:
    """NaN above a scale of one half, after the rehearsal's two trials."""
    value = student.square().mean()
    return value * float("nan") if scale > 0.5 and len(student) > 2 else value * scale


@pytest.mark.slow
def test_a_trial_that_becomes_nan_is_written_down_and_costs_no_more(tmp_path: Path) -> None:
    with known(fragile):
        result = searched(
            tmp_path,
            overrides=[*WORLD, "student.losses.fragile.weight=1"],
            space=["student.losses.fragile.scale=0.25,1.0"],
            sampler="grid",
        )
    states = {trial["settings"]["student.losses.fragile.scale"]: trial for trial in result.report["trials"]}
    assert states[1.0]["state"] == "failed"
    assert "fragile became NaN or inf" in states[1.0]["message"]
    assert result.best == {"student.losses.fragile.scale": 0.25}
    assert result.report["budget"]["trials"] == 2


@pytest.mark.slow
def test_a_search_in_which_nothing_works_stops(tmp_path: Path) -> None:
    with (
        known(fragile),
        pytest.raises(RunFailed, match=r"the first 5 trials failed, and no other was finished; the last one: .*NaN"),
    ):
        searched(
            tmp_path,
            trials=30,
            overrides=[*WORLD, "student.losses.fragile.weight=1"],
            space=["student.losses.fragile.scale=1..2"],
        )


@pytest.mark.slow
def test_a_pruner_stops_what_does_not_promise(tmp_path: Path) -> None:
    result = searched(
        tmp_path, trials=5, pruner="hyperband", overrides=[*WORLD, "student.train.epochs=9"], sampler="random"
    )
    states = result.report["states"]
    assert states["pruned"] >= 1
    assert states["finished"] + states["pruned"] == 5
    stopped = next(trial for trial in result.report["trials"] if trial["state"] == "pruned")
    assert stopped["last"] is not None
    assert not list((tmp_path / stopped["folder"]).glob("*/checkpoint"))


@pytest.mark.slow
def test_a_database_that_goes_away_is_named(tmp_path: Path) -> None:
    def destroy() -> None:
        (tmp_path / "optuna.db").write_bytes(b"no database at all" * 1000)

    told = Lines("trial 1/", destroy)
    with pytest.raises(RunFailed, match=r"the database of the search cannot be used any more: sqlite:.*optuna\.db"):
        searched(tmp_path, reporter=told)


def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        searched(tmp_path, storage="nosuch://me:secret@host/name")
    assert "nosuch://me:***@host/name cannot be opened" in caught.value.message
    with pytest.raises(RunFailed, match="the database of the search cannot be opened"):
        searched(tmp_path, storage=f"sqlite:///{tmp_path / 'missing' / 'file.db'}")


def test_a_study_of_another_search_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, study="mine", trials=1)
    with pytest.raises(UsageError, match="the study 'mine' is that of another search: space differ"):
        searched(tmp_path, study="mine", trials=1, space=["student.train.lr=0.001..0.02"])


@pytest.mark.slow
def test_a_space_of_the_teacher_is_said_to_train_teachers(tmp_path: Path) -> None:
    told = Lines()
    searched(
        tmp_path,
        "rkd",
        trials=1,
        space=["teacher.train.lr=0.004..0.006"],
        overrides=[*WORLD, *TEACHER],
        reporter=told,
    )
    assert "each trial trains a teacher of its own: the space has teacher.train.lr" in told.lines


def test_the_part_is_not_the_users(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reports the validation part by itself"):
        searched(tmp_path, overrides=[*WORLD, "selection.part=test"])
    with pytest.raises(UsageError, match="trials is 0, expected at least 1"):
        searched(tmp_path, trials=0)
