"""`kdbench.search`: settle the search, train its teachers, work off the trials, train the winner, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock

from kdbench.engine.progress import Reporter
from kdbench.errors import Interrupted, UsageError, unknown
from kdbench.files import remove_unfinished
from kdbench.phases import check_parts, obtain_teacher
from kdbench.recipe import Recipe
from kdbench.resolution import changes_of, merge, resolve
from kdbench.resources import runs_folder
from kdbench.results.files import write_json
from kdbench.results.tracking import Tracker, create_store
from kdbench.runner import RunResult, run_setting
from kdbench.setting import Setting, settle
from kdbench.tuning import pictures
from kdbench.tuning.choosers import NO_PRUNER, check_choosers
from kdbench.tuning.plan import Plan
from kdbench.tuning.report import recipe_path, report, tuning, winner, write_recipe
from kdbench.tuning.space import Space, is_integer, points, space_of, unsearched
from kdbench.tuning.studies import PARENT, open_study, slots, storage_url
from kdbench.tuning.work import work_off
from kdbench.wording import counted, inflected

METRICS = ("accuracy", "macro_f1", "weighted_f1")
_NAME_SECONDS = 120
"""How long MLflow may take to name the search's run; what fails is told at once, so this is for what is slow."""


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Attributes:
        folder: Where `search.json`, the winner's recipe, the pictures and the trials lie.
        report: What `search.json` says.
        plan: The search, settled.
        final: The winner's runs, one a seed.
    """

    folder: Path
    report: dict[str, Any]
    plan: Plan
    final: tuple[RunResult, ...]

    @property
    def best(self) -> dict[str, Any]:
        """The chosen settings, by dotted key."""
        return self.report["best"]["settings"]


def search(
    method: str,
    dataset: str,
    *,
    trials: int = 30,
    space: Sequence[str] = (),
    sampler: str = "tpe",
    pruner: str = NO_PRUNER,
    metric: str = "accuracy",
    trial_seeds: int = 1,
    seeds: int = 3,
    jobs: int = 1,
    storage: str | None = None,
    study: str | None = None,
    final: bool = True,
    heartbeat_seconds: int = 20,
    protocol: str | None = None,
    preset: str = "auto",
    video: str | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    device: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
    data_dir: Path | None = None,
    allow_broken: bool = False,
    out: Path | None = None,
    reporter: Reporter | None = None,
) -> SearchResult:
    """Searches a method's settings on a validation part, and trains the winner on the whole training part.

    The validation part is cut from the training part, by subject where the protocol is; the trials never load the test
    part. The same call goes on with what is there.

    Args:
        method: Name of a recipe, or path of a YAML file; its `search:` says what is tried.
        dataset: Name of a data set, or path of a card.
        trials: Trials in all, those of earlier calls included.
        space: What is tried, in the place of what the recipe declares: `KEY=LOW..HIGH[:log]` or `KEY=A,B,C`.
        sampler: What proposes trials: `tpe`, `random`, or `grid` (every point of a space of choices and steps).
        pruner: What stops poor trials early: `none`, `median` or `hyperband`.
        metric: What is maximised: `accuracy`, `macro_f1` or `weighted_f1`.
        trial_seeds: Seeds 0 … N-1 that a trial's value is the mean over.
        seeds: Seeds 0 … N-1 of the winner's runs.
        jobs: Worker processes.
        storage: Address of the database that workers share; by default a sqlite file in the folder of the runs.
        study: Name of the study; by default made of the search itself.
        final: Whether the winner is trained.
        heartbeat_seconds: How often a worker says that it lives; after three misses its trial is given to another.
        protocol: The split; by default the first of the card.
        preset: `paper`, `small`, `smoke`, or `auto`.
        video: The student's view; by default the best that is there.
        overrides: Changes of the recipe in all trials, as in `kdbench.run`.
        device: `auto`, `cpu` or `cuda`.
        threads: Threads on a CPU, as in `kdbench.run`.
        precision: `fp32` or `bf16`; by default what the recipe says.
        data_dir: Where the data sets lie.
        allow_broken: Leave out trials whose files are missing or broken.
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        reporter: Shows the progress; silent by default.

    Raises:
        UsageError: A name, key or range that does not exist or does not fit.
        DataError: Data that are missing or broken.
        RunFailed: Nothing but failures, or the database or the disk gave out.
        Interrupted: Ctrl-C; repeating the call goes on.
    """
    reporter = reporter or Reporter()
    _check_numbers(trials=trials, trial_seeds=trial_seeds, seeds=seeds, jobs=jobs, heartbeat_seconds=heartbeat_seconds)
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    changes = changes_of(overrides)
    if "part" in (changes.get("selection") or {}):
        raise UsageError("a search reports the validation part by itself, and its winner the test part", hint=_NO_PART)
    common: dict[str, Any] = {
        "video": video,
        "device": device,
        "threads": threads,
        "precision": precision,
        "data_dir": data_dir,
        "allow_broken": allow_broken,
    }
    validating = merge(changes, {"selection": {"part": "validation"}})
    setting = settle(
        method, dataset, protocol=protocol, preset=preset, seed=0, overrides=validating, reporter=reporter, **common
    )
    recipe = resolve(method, setting.cell.preset, validating)
    chosen = space_of(recipe, space)
    check_choosers(sampler, pruner, chosen)
    if sampler == "grid" and (count := points(chosen) or trials) < trials:
        reporter.message(
            f"the grid has {counted(count, 'point')}, so there {inflected(count, 'is')} {counted(count, 'trial')}"
        )
        trials = count
    role = "student" if recipe.student is not None else "teacher"
    epochs = getattr(recipe, role).train.epochs
    identity = _identity(setting, chosen, sampler, pruner, metric, trial_seeds)
    plan = Plan(
        method=method,
        dataset=dataset,
        protocol=setting.cell.protocol,
        preset=setting.cell.preset,
        overrides=changes,
        **common | {"data_dir": str(data_dir) if data_dir else None},
        out=str(runs_folder(out)),
        study=study or f"{setting.cell.folder.rpartition('-')[0].removesuffix('-s0')}-{_hash(identity)}",
        winner=f"{setting.cell.method}_searched_{setting.cell.dataset.card.name}",
        space=chosen,
        integers=tuple(key for key, values in chosen.items() if is_integer(recipe, key, values)),
        trials=trials,
        trial_seeds=tuple(range(trial_seeds)),
        sampler=sampler,
        pruner=pruner,
        metric=metric,
        role=role,
        steps=epochs * trial_seeds,
        heartbeat_seconds=heartbeat_seconds,
        identity=identity,
    )
    return _Search(plan, setting, recipe, storage_url(Path(plan.out), storage), jobs, reporter).run(
        seeds if final else 0
    )


_NO_PART = "Leave --set selection.part=… out."


@dataclass
class _Search:
    plan: Plan
    setting: Setting
    recipe: Recipe
    url: str
    jobs: int
    reporter: Reporter

    def run(self, seeds: int) -> SearchResult:
        self.reporter.message(
            f"search {self.plan.study}: {counted(len(self.plan.space), 'setting')}, "
            f"{counted(self.plan.trials, 'trial')}"
        )
        for key, values in self.plan.space.items():
            self.reporter.message(f"  {key}: {values.describe()}")
        if left := unsearched(self.recipe, self.plan.space):
            self.reporter.message(f"  as they are: {', '.join(left)}")
        self._check_ends()
        study = open_study(self.plan, self.url, first=True)
        tracker = self._track(study)
        status = "failed"
        try:
            teachers = self._teachers()
            self._name_parent(study, tracker)
            work_off(self.plan, study, self.url, self.jobs, self.reporter)
            result = self._finish(study, seeds, teachers)
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            if status != "finished":
                tracker.finish(status, {}, [])
        files = [result.folder / "search.json", recipe_path(self.plan), *result.folder.glob("*.png")]
        tracker.finish(status, {"best": result.report["best"]["value"], "spread": result.report["spread"]}, files)
        return result

    def _check_ends(self) -> None:
        """Resolves the recipe at both ends of every range, so that a value that cannot be is told before any trial."""
        for end in (0, -1):
            values = {key: _end(held, end, key in self.plan.integers) for key, held in self.plan.space.items()}
            resolve(self.plan.method, self.plan.preset, self.plan.settings(values, validation=True))

    def _teachers(self) -> list[str]:
        """Trains the teacher of every tuning seed, once for all trials; returns the names of their folders."""
        check_parts(self.setting)
        if self.recipe.teacher is None or self.plan.role == "teacher":
            return []
        if own := self._changes_teacher():
            self.reporter.message(f"each trial trains a teacher of its own: the space has {', '.join(own)}")
            return []
        root, names = Path(self.plan.out) / "teachers", []
        for seed in self.plan.trial_seeds:
            setting = self._settle(seed)
            names.append(obtain_teacher(setting, root, fresh=False).folder.name)
        return names

    def _changes_teacher(self) -> list[str]:
        """Keys of the space that make another teacher, by the name that its folder would have."""
        named, found = self.setting.cell.teacher_folder, []
        for key, held in self.plan.space.items():
            ends = [{key: _end(held, end, key in self.plan.integers)} for end in (0, -1)]
            recipes = [
                resolve(self.plan.method, self.plan.preset, self.plan.settings(values, validation=True))
                for values in ends
            ]
            if any(dataclasses.replace(self.setting.cell, recipe=each).teacher_folder != named for each in recipes):
                found.append(key)
        return found

    def _settle(self, seed: int) -> Setting:
        plan = self.plan
        overrides = plan.settings({}, validation=True)
        setting = settle(
            plan.method, plan.dataset, seed=seed, overrides=overrides, reporter=self.reporter, **plan.arguments()
        )
        setting.validates = False
        return setting

    def _track(self, study: optuna.Study) -> Tracker:
        """Opens the search's run in MLflow, under which its trials stand."""
        plan, cell = self.plan, self.setting.cell
        tracker = Tracker(self.reporter.warn)
        create_store(Path(plan.out), self.reporter.warn)
        tracker.start(
            Path(plan.out),
            experiment=f"{cell.dataset.card.name}/{cell.protocol}/{cell.preset}",
            run_name=f"search {cell.method}",
            params={
                "method": cell.method,
                "trials": plan.trials,
                "sampler": plan.sampler,
                "pruner": plan.pruner,
                "space": {key: values.describe() for key, values in plan.space.items()},
            },
            tags={"search": plan.study},
            run_id=study.user_attrs.get(PARENT),
        )
        return tracker

    def _name_parent(self, study: optuna.Study, tracker: Tracker) -> None:
        """Tells the workers, through the study, under which run of MLflow their trials stand."""
        end = time.monotonic() + _NAME_SECONDS
        while tracker.is_working and tracker.run_id is None and time.monotonic() < end:
            time.sleep(0.05)
        if tracker.run_id not in (None, study.user_attrs.get(PARENT)):
            study.set_user_attr(PARENT, tracker.run_id)

    def _finish(self, study: optuna.Study, seeds: int, teachers: list[str]) -> SearchResult:
        plan, best = self.plan, dict(winner(study).params)
        final: list[RunResult] = []
        # Another process with the same command comes to its end at the same time.
        with FileLock(plan.folder / ".final.lock"):
            remove_unfinished(plan.folder)
            write_recipe(plan, study)
            for seed in range(seeds):
                self.reporter.message(f"the winner on the whole training part, seed {seed}")
                final.append(self._final(study, best, seed))
            told = report(plan, study, self.url, final, teachers)
            write_json(plan.folder / "search.json", told)
            cell = self.setting.cell
            title = f"{cell.method} · {cell.dataset.card.name} · {plan.protocol} · {plan.preset}"
            pictures.draw(slots(study), plan.space, plan.folder, title=title, metric=plan.metric)
        return SearchResult(plan.folder, told, plan, tuple(final))

    def _final(self, study: optuna.Study, best: Mapping[str, Any], seed: int) -> RunResult:
        plan = self.plan
        setting = settle(
            plan.method,
            plan.dataset,
            seed=seed,
            overrides=merge(plan.settings(best, validation=False), {"tuning": tuning(plan, study).model_dump()}),
            reporter=self.reporter,
            **plan.arguments(),
        )
        setting.tags, setting.name = {"search": plan.study}, plan.winner
        return run_setting(setting, Path(plan.out))


def _end(values: Any, end: int, whole: bool) -> Any:
    if values.choices is not None:
        return values.choices[end]
    found = values.high if end else values.low
    return int(found) if whole else found


def _identity(
    setting: Setting, space: Space, sampler: str, pruner: str, metric: str, trial_seeds: int
) -> dict[str, Any]:
    return {
        "run": setting.cell.folder,
        "space": {key: values.plain() for key, values in space.items()},
        "sampler": sampler,
        "pruner": pruner,
        "metric": metric,
        "trial_seeds": trial_seeds,
    }


def _hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UsageError(f"{name.replace('_', '-')} is {number}, expected at least 1")
