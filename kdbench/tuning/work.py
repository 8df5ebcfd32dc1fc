"""The loop that works off a search's trials, in this process or in several that share its study."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.trial import TrialState

from kdbench.errors import Interrupted, KdbenchError, RunFailed
from kdbench.launch.launcher import Job, Program, build, stop
from kdbench.registry import plugin_files
from kdbench.text.wording import counted, inflected
from kdbench.tuning.database import reachable
from kdbench.tuning.plan import SearchPlan
from kdbench.tuning.progress import Told
from kdbench.tuning.settled import Settled
from kdbench.tuning.studies import (
    WHY,
    await_others,
    is_given_up,
    is_replaced,
    open_study,
    orphans,
    put_back,
    revive,
    slots,
)
from kdbench.tuning.trial import SearchTrial, TrialFailed
from kdbench.util.progress import Reporter

FAILURES = 5
_POLL_SECONDS = 0.5
_KILLS = 3


def work_off(search: Settled, study: optuna.Study, reporter: Reporter) -> None:
    """Runs trials until the budget is spent, those of dead workers included.

    Args:
        search: The search.
        study: Its study.
        reporter: Shows the progress.

    Raises:
        RunFailed: Nothing but failures, or the database or the disk gave out.
        Interrupted: Ctrl-C; unfinished trials come back when the command is repeated.
    """
    plan, url, jobs = search.plan, search.url, search.jobs
    progress = Told(plan, jobs, reporter)
    try:
        with reachable(url):
            progress.start(study)
            revive(study, plan)
            while _is_open(study, plan):
                if jobs == 1 and search.launcher is None:
                    work(plan, study, reporter, progress)
                else:
                    _work_in_processes(search, study, reporter, progress)
                await_others(study, plan, progress)
            progress.tell(study)
    except KeyboardInterrupt as error:
        raise _interrupted() from error


def work(plan: SearchPlan, study: optuna.Study, reporter: Reporter, progress: Told) -> None:
    """Runs trials, one after the other, until all of the budget is done or in other hands."""
    trial = SearchTrial(plan, study, reporter)
    while _has_work(study, plan):
        _check_failures(study)
        revive(study, plan)
        trial.number = None
        try:
            study.optimize(trial, n_trials=1, catch=(TrialFailed,))
        except (Exception, KeyboardInterrupt) as error:
            if trial.number is not None and not isinstance(error, KeyboardInterrupt | KdbenchError):
                with contextlib.suppress(Exception):
                    # This process was slow to beat and taken for dead; what it found, its successor finds too, for
                    # whom a finished run is there already.
                    if is_given_up(error):
                        put_back(study, plan, trial.number)
                    if is_replaced(study, trial.number):
                        continue
            if trial.number is not None:
                # The database may be what failed; a trial that cannot be put back now comes back as a dead worker's.
                with contextlib.suppress(Exception):
                    put_back(study, plan, trial.number)
            if isinstance(error, KeyboardInterrupt):
                raise _interrupted() from error
            raise
        progress.tell(study)


def _interrupted() -> Interrupted:
    return Interrupted("interrupted", hint="Repeat the same command to go on.")


def _is_open(study: optuna.Study, plan: SearchPlan) -> bool:
    gone = {trial.number for trial in orphans(study)}
    return sum(trial.state.is_finished() and trial.number not in gone for trial in slots(study)) < plan.trials


def _has_work(study: optuna.Study, plan: SearchPlan) -> bool:
    trials = slots(study)
    return (
        len(trials) < plan.trials or any(trial.state == TrialState.WAITING for trial in trials) or bool(orphans(study))
    )


def _check_failures(study: optuna.Study) -> None:
    """A search in which nothing works is stopped; single failures are part of any search.

    Raises:
        RunFailed: The first trials have all failed.
    """
    finished = [trial for trial in slots(study) if trial.state.is_finished()]
    failed = [trial for trial in finished if trial.state == TrialState.FAIL]
    if len(failed) == len(finished) >= FAILURES:
        raise RunFailed(
            f"the first {counted(len(failed), 'trial')} failed, and no other was finished; the last one: "
            f"{failed[-1].user_attrs.get(WHY, 'killed')}",
            hint="Try one of them with kdbench run, then search a smaller space (--space KEY=LOW..HIGH) as another "
            "study (--study NAME).",
        )


def _work_in_processes(search: Settled, study: optuna.Study, reporter: Reporter, progress: Told) -> None:
    """Works in processes until each has nothing left to do; one that is killed is replaced, and its trial comes back.

    Raises:
        RunFailed: Too many were killed; and the errors of `work`, from whichever process they stop.
        Interrupted: Ctrl-C.
    """
    plan, jobs = search.plan, search.jobs
    given = {"plan": plan.model_dump(mode="json"), "url": search.url, "plugins": plugin_files()}
    worker = Program("kdbench.tuning.worker", text=json.dumps(given) + "\n")
    killed = 0
    with build(search.launcher, jobs=jobs, device=plan.run.device, reporter=reporter) as place:

        def start(number: int) -> Job:
            return place.start(worker, plan.folder / f"worker-{number}.log", number)

        workers = {number: start(number) for number in range(jobs)}
        try:
            while workers:
                time.sleep(_POLL_SECONDS)
                progress.tell(study)
                for number, job in list(workers.items()):
                    code = job.poll()
                    if code is None:
                        continue
                    del workers[number]
                    # An exit code tells of what every worker would meet, a signal of a kill from outside.
                    if code > 0:
                        raise _error_of(number, job, code)
                    if code < 0:
                        killed += 1
                        if killed > _KILLS * jobs:
                            raise _too_many(killed, -code)
                        reporter.warn(f"worker {number} was killed (signal {-code}); its trial comes back")
                        workers[number] = start(number)
        finally:
            stop(workers.values())


def _too_many(killed: int, signal: int) -> RunFailed:
    return RunFailed(
        f"{counted(killed, 'worker')} {inflected(killed, 'was')} killed, the last one by signal {signal}",
        hint="Often memory is short: take fewer workers, --jobs 1. Repeat the same command to go on.",
    )


def _error_of(number: int, job: Job, code: int) -> KdbenchError:
    """What a worker printed before it gave up."""
    lines = job.printed().strip().splitlines()
    place = max((i for i, line in enumerate(lines) if line.startswith("error: ")), default=len(lines) - 1)
    last = lines[place:] or ["it said nothing"]
    kind: Any = next((kind for kind in KdbenchError.__subclasses__() if kind.exit_code == code), RunFailed)
    hint = "\n".join(last[1:]) or f"All that it said: {job.log}"
    return kind(f"worker {number} stopped: {last[0].removeprefix('error: ')}", hint=hint)


@contextlib.contextmanager
def joined(given: dict[str, Any]) -> Iterator[tuple[SearchPlan, optuna.Study]]:
    """A worker's plan and study, from what it was started with; its log tells where the database is away."""
    from kdbench.registry.file import loaded

    with loaded(given["plugins"]), reachable(given["url"]):
        plan = SearchPlan.model_validate(given["plan"])
        yield plan, open_study(plan, given["url"], first=False, tell=_log)


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
