"""`kdbench.search`: settle the search, train its teachers, work off the trials, train the winner, report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock

from kdbench.errors import Interrupted, UsageError
from kdbench.plotting.search import draw as draw_search
from kdbench.recipes.schema import Tuning
from kdbench.recipes.terms import PartSpec
from kdbench.runs.ahead import check_parts
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.mirror_store import create_store
from kdbench.runs.request import RunRequest, excluding
from kdbench.runs.run import RunResult, run_in
from kdbench.runs.tracking import Tracker
from kdbench.text.wording import counted
from kdbench.tuning.choosers import NO_PRUNER
from kdbench.tuning.plan import SearchPlan
from kdbench.tuning.report import recipe_path, report, tuning, winner, write_recipe
from kdbench.tuning.request import SearchRequest
from kdbench.tuning.settled import Settled, settled
from kdbench.tuning.space import unsearched
from kdbench.tuning.studies import PARENT, open_study, slots
from kdbench.tuning.work import work_off
from kdbench.util.files import remove_unfinished
from kdbench.util.progress import Reporter
from kdbench.util.records import write_json

_NAME_SECONDS = 120
"""How long MLflow may take to name the search's run; what fails is told at once, so this is for what is slow."""


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Attributes:
        folder: Where `search.json`, the winner's recipe, the pictures and the trials lie.
        report: What `search.json` says.
        plan: The search, settled.
        tuning: What the winner's recipe says of the search.
        final: The winner's runs, one per seed.
    """

    folder: Path
    report: dict[str, Any]
    plan: SearchPlan
    tuning: Tuning
    final: tuple[RunResult, ...]

    @property
    def best(self) -> dict[str, Any]:
        """The chosen settings, by dotted key."""
        return self.report["best"]["settings"]


def search(
    method: str,
    dataset: str,
    *,
    teacher: str | None = None,
    trials: int = 30,
    space: Sequence[str] = (),
    sampler: str = "tpe",
    pruner: str = NO_PRUNER,
    metric: str | None = None,
    trial_seeds: int = 1,
    seeds: int = 3,
    jobs: int = 1,
    launcher: PartSpec | None = None,
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
    exclude_broken: bool = False,
    out: Path | None = None,
    reporter: Reporter | None = None,
    allow_broken: bool | None = None,
) -> SearchResult:
    """Searches a method's settings on a validation part, and trains the winner on the whole training part.

    The validation part is cut from the training part, by subject where the protocol is; the trials never load the test
    part. The first trial is the recipe as it is, which no pruner stops, so that on the validation part the winner is
    never worse than the defaults. The same call goes on with what is there.

    Args:
        method: Name of a recipe, or path of a YAML file; its `search:` says what is tried.
        dataset: Name of a data set, or path of a card.
        teacher: Name of a teacher, or path of a YAML file; by default the method's own.
        trials: Trials in all, those of earlier calls included.
        space: What is tried, in the place of what the recipe declares: `KEY=LOW..HIGH[:log]` or `KEY=A,B,C`.
        sampler: What proposes trials: `tpe`, `random`, or `grid` (every point of a space of choices and steps).
        pruner: What stops poor trials early: `none`, `median` or `hyperband`.
        metric: What is maximised: `accuracy`, `macro_f1`, `weighted_f1` or `map`; by default what the data set's card
            names.
        trial_seeds: Seeds 0 … N-1 that a trial's value is the mean over.
        seeds: Seeds 0 … N-1 of the winner's runs.
        jobs: Worker processes.
        launcher: How they are started, a name with its options; by default they are processes of this machine.
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
        exclude_broken: Leave out trials whose files are missing or broken.
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        reporter: Shows the progress; silent by default.
        allow_broken: The former name of `exclude_broken`.

    Raises:
        UsageError: A name, key or range that does not exist or does not fit.
        DataError: Data that are missing or broken.
        RunFailed: Nothing but failures, or the database or the disk gave out.
        Interrupted: Ctrl-C; repeating the call goes on.
    """
    reporter = reporter or Reporter()
    run = RunRequest(
        method=method,
        dataset=dataset,
        teacher=teacher,
        protocol=protocol,
        preset=preset,
        video=video,
        overrides=overrides,
        device=device,
        threads=threads,
        precision=precision,
        data_dir=data_dir,
        exclude_broken=excluding(exclude_broken, allow_broken),
        out=out,
    )
    request = SearchRequest(
        run,
        trials=trials,
        space=space,
        sampler=sampler,
        pruner=pruner,
        metric=metric,
        trial_seeds=trial_seeds,
        jobs=jobs,
        launcher=launcher,
        storage=storage,
        study=study,
        heartbeat_seconds=heartbeat_seconds,
    )
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}, expected at least 1", hint="The best is run at so many seeds: --seeds 3")
    prepared = settled(request, reporter)
    for line in announced(prepared):
        reporter.message(line)
    return carry_out(prepared, seeds if final else 0, reporter)


def announced(search: Settled) -> list[str]:
    """What is searched, in lines."""
    plan = search.plan
    lines = [f"search {plan.study}: {counted(len(plan.space), 'context')}, {counted(plan.trials, 'trial')}"]
    lines += [f"  {key}: {values.describe()}" for key, values in plan.space.items()]
    left = unsearched(search.recipe, plan.space)
    return [*lines, f"  as they are: {', '.join(left)}"] if left else lines


def carry_out(search: Settled, seeds: int, reporter: Reporter) -> SearchResult:
    """Works off what is left of a search, and leaves its report behind.

    Args:
        search: The search, settled.
        seeds: Seeds of the winner's runs, from 0 on; 0 trains no winner.
        reporter: Shows the progress.

    Raises:
        RunFailed: Nothing but failures, or the database or the disk gave out.
        Interrupted: Ctrl-C; repeating it goes on.
    """
    return _Search(search, reporter).run(seeds)


@dataclass
class _Search:
    search: Settled
    reporter: Reporter

    def __post_init__(self) -> None:
        search = self.search
        self.plan, self.context, self.recipe = search.plan, search.context, search.recipe

    def run(self, seeds: int) -> SearchResult:
        study = open_study(self.plan, self.search.url, first=True, tell=self.reporter.warn)
        tracker = self._track(study)
        status = "failed"
        try:
            teachers = self._teachers()
            self._name_parent(study, tracker)
            work_off(self.search, study, self.reporter)
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

    def _teachers(self) -> list[str]:
        """Trains the teacher of every tuning seed, once for all trials; returns the names of their folders."""
        check_parts(self.context)
        if not self.recipe.all_teachers or self.plan.role == "teacher":
            return []
        if own := self._changes_teacher():
            self.reporter.message(f"each trial trains a teacher of its own: the space has {', '.join(own)}")
            return []
        root, names = self.plan.root / "teachers", []
        for seed in self.plan.trial_seeds:
            context = self._settle(seed)
            names += [teacher.folder.name for teacher in of_parts(obtain_teachers(context, root, fresh=False))]
        return names

    def _changes_teacher(self) -> list[str]:
        """Keys of the space that make another teacher, by the name that its folder would have."""
        named, keys = self.context.run_spec.teacher_folders, []
        for key in self.plan.space:
            ends = [{key: end} for end in self.search.ends(key)]
            recipes = [self.plan.request(values, 0, validation=True).recipe for values in ends]
            if any(
                dataclasses.replace(self.context.run_spec, recipe=recipe).teacher_folders != named for recipe in recipes
            ):
                keys.append(key)
        return keys

    def _settle(self, seed: int) -> RunContext:
        context = context_for(self.plan.request({}, seed, validation=True), self.reporter)
        context.validates = False
        return context

    def _track(self, study: optuna.Study) -> Tracker:
        """Opens the search's run in MLflow, under which its trials stand."""
        plan, run_spec = self.plan, self.context.run_spec
        tracker = Tracker(self.reporter.warn)
        create_store(plan.root, self.reporter.warn)
        tracker.start(
            plan.root,
            experiment=f"{run_spec.dataset.card.name}/{run_spec.protocol}/{run_spec.preset}",
            run_name=f"search {run_spec.title}",
            params={
                "method": run_spec.method,
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
            summary = report(plan, study, self.search.url, final, teachers)
            write_json(plan.folder / "search.json", summary)
            run_spec = self.context.run_spec
            title = f"{run_spec.title} · {run_spec.dataset.card.name} · {plan.run.protocol} · {plan.run.preset}"
            draw_search(slots(study), plan.space, plan.folder, title=title, metric=plan.metric)
        return SearchResult(plan.folder, summary, plan, tuning(plan, study), tuple(final))

    def _final(self, study: optuna.Study, best: Mapping[str, Any], seed: int) -> RunResult:
        plan = self.plan
        request = plan.request(best, seed, validation=False)
        context = context_for(request.changed({"tuning": tuning(plan, study).model_dump()}), self.reporter)
        context.tags = {"search": plan.study}
        return run_in(context, plan.root)
