"""The loop that works off a search's trials, in this process or in several that share its study."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.trial import TrialState

from kdbench.errors import Interrupted, KdbenchError, RunFailed
from kdbench.registry import plugin_files
from kdbench.text.wording import counted, inflected
from kdbench.tuning.plan import Plan
from kdbench.tuning.progress import Told
from kdbench.tuning.studies import (
    WHY,
    await_others,
    is_replaced,
    open_study,
    orphans,
    put_back,
    reachable,
    revive,
    slots,
)
from kdbench.tuning.trial import Trial, TrialFailed
from kdbench.util.process import Process, cores, environment_of, gpus, interrupt, kill, start
from kdbench.util.progress import Reporter

FAILURES = 5
_POLL_SECONDS = 0.5
_STOP_SECONDS = 60
_KILLS = 3


def work_off(plan: Plan, study: optuna.Study, url: str, jobs: int, reporter: Reporter) -> None:
    """Runs trials until the budget is spent, those of dead workers included.

    Raises:
        RunFailed: Nothing but failures, or the database or the disk gave out.
        Interrupted: Ctrl-C; unfinished trials come back when the command is repeated.
    """
    told = Told(plan, jobs, reporter)
    with reachable(url):
        told.start(study)
        revive(study, plan)
        while _is_open(study, plan):
            if jobs == 1:
                work(plan, study, reporter, told)
            else:
                _Pool(plan, study, url, jobs, reporter, told).run()
            await_others(study, plan, told)
        told.tell(study)


def work(plan: Plan, study: optuna.Study, reporter: Reporter, told: Told) -> None:
    """Runs trials, one after the other, until all of the budget is done or in other hands."""
    trial = Trial(plan, study, reporter)
    while _has_work(study, plan):
        _check_failures(study)
        revive(study, plan)
        trial.number = None
        try:
            study.optimize(trial, n_trials=1, catch=(TrialFailed,))
        except (Exception, KeyboardInterrupt) as error:
            if trial.number is not None and not isinstance(error, KeyboardInterrupt | KdbenchError):
                with contextlib.suppress(Exception):
                    if is_replaced(study, trial.number):
                        # This process was slow to beat and taken for dead; what it found, its successor finds too.
                        continue
            if trial.number is not None:
                # The database may be what failed; a trial that cannot be put back now comes back as a dead worker's.
                with contextlib.suppress(Exception):
                    put_back(study, plan, trial.number)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("interrupted", hint="Repeat the same command to go on.") from error
            raise
        told.tell(study)


def _is_open(study: optuna.Study, plan: Plan) -> bool:
    gone = {trial.number for trial in orphans(study)}
    return sum(trial.state.is_finished() and trial.number not in gone for trial in slots(study)) < plan.trials


def _has_work(study: optuna.Study, plan: Plan) -> bool:
    held = slots(study)
    return len(held) < plan.trials or any(trial.state == TrialState.WAITING for trial in held) or bool(orphans(study))


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


@dataclass
class _Worker:
    process: Process
    number: int
    log: Path
    offset: int


class _Pool:
    """Worker processes of one search; one that is killed is replaced, and its trial comes back."""

    def __init__(self, plan: Plan, study: optuna.Study, url: str, jobs: int, reporter: Reporter, told: Told) -> None:
        self.plan, self.study, self.url, self.jobs = plan, study, url, jobs
        self.reporter, self.told = reporter, told
        self.gpus = [] if plan.run.device == "cpu" else gpus()
        self.killed = 0

    def run(self) -> None:
        """Works until every worker has found nothing left to do."""
        workers = [self._start(number) for number in range(self.jobs)]
        try:
            while workers:
                time.sleep(_POLL_SECONDS)
                self.told.tell(self.study)
                workers = [kept for worker in workers if (kept := self._kept(worker)) is not None]
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted", hint="Repeat the same command to go on.") from error
        finally:
            _stop(workers)

    def _kept(self, worker: _Worker) -> _Worker | None:
        """The worker while it works, its successor where it was killed, None where it is done."""
        code = worker.process.poll()
        if code is None:
            return worker
        if code == 0:
            return None
        if code > 0:
            raise _said(worker)
        self.killed += 1
        if self.killed > _KILLS * self.jobs:
            raise RunFailed(
                f"{counted(self.killed, 'worker')} {inflected(self.killed, 'was')} killed, the last one by "
                f"signal {-code}",
                hint="Often memory is short: take fewer workers, --jobs 1. Repeat the same command to go on.",
            )
        self.reporter.warn(f"worker {worker.number} was killed (signal {-code}); its trial comes back")
        return self._start(worker.number)

    def _start(self, number: int) -> _Worker:
        log = self.plan.folder / f"worker-{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            offset = file.tell()
            environment = environment_of(number, jobs=self.jobs, gpus=self.gpus, cores=cores(), base=os.environ)
            process = start([sys.executable, "-P", "-m", "kdbench.tuning.worker"], file, environment, apart=False)
        given = {"plan": self.plan.model_dump(mode="json"), "url": self.url, "plugins": plugin_files()}
        # The pipe stays open: the worker ends when it is closed.
        with contextlib.suppress(BrokenPipeError):
            _write(process.stdin, json.dumps(given) + "\n")
        return _Worker(process, number, log, offset)


def _write(pipe: IO[bytes] | None, text: str) -> None:
    assert pipe is not None
    pipe.write(text.encode())
    pipe.flush()


def _said(worker: _Worker) -> KdbenchError:
    """What a worker said before it gave up; its log also holds what earlier ones said."""
    lines = worker.log.read_bytes()[worker.offset :].decode(errors="replace").strip().splitlines()
    place = max((i for i, line in enumerate(lines) if line.startswith("error: ")), default=len(lines) - 1)
    told = lines[place:] or ["it said nothing"]
    code = worker.process.returncode
    kind: Any = next((kind for kind in KdbenchError.__subclasses__() if kind.exit_code == code), RunFailed)
    hint = "\n".join(told[1:]) or f"All that it said: {worker.log}"
    return kind(f"worker {worker.number} stopped: {told[0].removeprefix('error: ')}", hint=hint)


def _stop(workers: list[_Worker]) -> None:
    """Interrupts what still works, so that it puts its trial back; kills what does not listen."""
    for worker in workers:
        interrupt(worker.process)
    end = time.monotonic() + _STOP_SECONDS
    for worker in workers:
        try:
            worker.process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(worker.process, apart=False)


@contextlib.contextmanager
def joined(given: dict[str, Any]) -> Iterator[tuple[Plan, optuna.Study]]:
    """A worker's plan and study, from what it was started with."""
    from kdbench.registry.file import loaded

    with loaded(given["plugins"]), reachable(given["url"]):
        plan = Plan.model_validate(given["plan"])
        yield plan, open_study(plan, given["url"], first=False)
