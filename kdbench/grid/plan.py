"""Which runs a suite means, each by the folder that `kdbench run` would give it, and how each stands."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdbench.data.card import load_card
from kdbench.data.splits import protocol_names
from kdbench.engine.device import check_device
from kdbench.errors import UsageError
from kdbench.grid.ahead import check_networks
from kdbench.grid.changes import changes_for
from kdbench.grid.state import DONE, ORDER, TO_DO, State, read_state
from kdbench.grid.suite import Suite, SuiteMethod
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.resolve import NO_TEACHER, resolve
from kdbench.runs.context import choose_preset, spec_for
from kdbench.runs.gain import BASELINES
from kdbench.runs.idle import refuse_idle
from kdbench.runs.naming import rename
from kdbench.runs.overview import TRACK
from kdbench.runs.request import RunRequest
from kdbench.runs.spec import RunSpec
from kdbench.runs.together import refuse_unshared
from kdbench.util.paths import runs_folder
from kdbench.util.progress import Reporter


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid.

    Attributes:
        run_spec: What it is a run of.
        request: What `kdbench run` is asked for to make it.
        folder: Where the run lies, or will.
        teachers: The networks of its teachers that are trained before it, by where each lies, or will.
        state: How it stands.
    """

    run_spec: RunSpec
    request: RunRequest
    folder: Path
    teachers: Mapping[Path, NetworkSpec]
    state: State

    @property
    def label(self) -> str:
        """Method, data set, protocol and seed."""
        spec = self.run_spec
        return f"{self.request.name or spec.title} · {spec.dataset.card.name} · {spec.protocol} · seed {spec.seed}"

    @property
    def missing_teachers(self) -> list[Path]:
        """The networks of its teachers that have to be made first."""
        return [folder for folder in self.teachers if not teacher_is_there(folder)]


@dataclass(frozen=True)
class GridPlan:
    """The runs of a grid in the order in which they are made.

    Attributes:
        runs: Each once, although several lines of a suite may mean it.
        root: Folder of all runs.
        fresh: Whether what is finished or half done is trained again.
        systems: Whether the suite is one of whole systems, which are ranked together.
    """

    runs: tuple[PlannedRun, ...]
    root: Path
    fresh: bool = False
    systems: bool = False

    def counts(self) -> dict[str, int]:
        """How many runs stand how, in a fixed order, without those that none does."""
        counted_states = Counter(planned.state.status for planned in self.runs)
        return {status: counted_states[status] for status in ORDER if counted_states[status]}

    def to_make(self) -> list[PlannedRun]:
        """The runs that are not done."""
        return [planned for planned in self.runs if planned.state.status != DONE]

    def teachers(self) -> dict[Path, list[PlannedRun]]:
        """The runs that share each network of a teacher."""
        shared: dict[Path, list[PlannedRun]] = {}
        for planned in self.runs:
            for folder in planned.teachers:
                shared.setdefault(folder, []).append(planned)
        return shared

    def teachers_to_make(self) -> dict[Path, list[PlannedRun]]:
        """The runs to be made that share each network of a teacher that is not there yet."""
        wanted = set(map(id, self.to_make()))
        waiting = {
            path: [planned for planned in sharing if id(planned) in wanted] for path, sharing in self.teachers().items()
        }
        return {path: sharing for path, sharing in waiting.items() if sharing and not teacher_is_there(path)}


def teacher_is_there(folder: Path) -> bool:
    """Whether a teacher's folder holds a finished one."""
    return all((folder / name).is_file() for name in ("teacher.json", "teacher.safetensors"))


def make_plan(
    suite: Suite,
    options: Mapping[str, Any],
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
    *,
    look_ahead: bool = False,
) -> GridPlan:
    """Finds every run of a suite and how it stands; prepares data where that is new, and trains nothing.

    A seed's runs come together, and the student alone comes first, so that gains are known early.

    Args:
        suite: What is wanted.
        options: Fields of `RunRequest` that hold for all runs.
        overrides: Changes of every recipe, `a.b.c=value`; they come after the suite's.
        reporter: Is told which preset was chosen.
        look_ahead: Prepare no data, and check instead what a run would refuse.

    Raises:
        UsageError: Names or values that do not exist or do not fit together.
        DataError: Data that are missing or broken.
    """
    reporter = reporter or Reporter()
    if options.get("name") and len(suite.methods) > 1:
        several = ", ".join(method.title for method in suite.methods)
        raise UsageError(
            f"--name would call the runs of several methods the same: {several}",
            hint="In a suite each method may have its own: {name: sgm_ft, label: mine}",
        )
    device = options.get("device", "auto")
    check_device(device)
    root = runs_folder(options.get("out"))
    preset = choose_preset(suite.preset, device, reporter)
    # First what gains are over, so that the others find it.
    methods = sorted(suite.pairs(), key=lambda method: method.name not in BASELINES and method.teacher != NO_TEACHER)
    changes = changes_for(methods, suite, overrides, preset, reporter)
    if suite.names_track and not all(TRACK in own for own in changes):
        raise UsageError(
            "this suite is for few labels or few pairs, and nothing says how many there are",
            hint="Name the track: --labels 1, --pairs 0.25, or --labels all for all of them",
        )
    videos = _videos(methods, changes, preset, suite.video, reporter)
    planned: dict[Path, PlannedRun] = {}
    for dataset in suite.datasets:
        for protocol in suite.protocols or protocol_names(load_card(dataset))[:1]:
            lines = []
            for method, own, video in zip(methods, changes, videos, strict=True):
                common = {**options, "out": root, "teacher": method.teacher}
                request = RunRequest(method.name, dataset, protocol, preset, video, overrides=own, **common)
                if request.name is None:
                    request = replace(request, name=method.label)
                try:
                    lines.append(list(_planned(request, suite.seed_numbers, look_ahead=look_ahead)))
                except UsageError as error:
                    # Of one method among many, a message is not always about something that names it.
                    if len(methods) > 1 and method.title not in error.message:
                        raise UsageError(f"{method.title}: {error.message}", hint=error.hint) from error
                    raise
            # Seed by seed over all methods: a grid that is stopped half-way has seeds that can be compared.
            for run in itertools.chain.from_iterable(zip(*lines, strict=True)):
                planned.setdefault(run.folder, run)
    return GridPlan(tuple(planned.values()), root, options.get("fresh", False), suite.systems)


def _videos(
    methods: Sequence[SuiteMethod],
    changes: Sequence[Mapping[str, Any]],
    preset: str,
    video: str | None,
    reporter: Reporter,
) -> list[str | None]:
    """The view that each method is given: none for those that see no video or name their views, if others choose."""
    if video is None or len(methods) == 1:
        return [video] * len(methods)
    recipes = [
        resolve(method.name, preset, own, teacher=method.teacher) for method, own in zip(methods, changes, strict=True)
    ]
    seeing = [recipe.chooses_view for recipe in recipes]
    if any(seeing) and not all(seeing):
        others = [method.title for method, sees in zip(methods, seeing, strict=True) if not sees]
        reporter.message(
            f"--video {video} is not applied to what sees no video or names its views: {', '.join(others)}"
        )
    return [video if sees or not any(seeing) else None for sees in seeing]


def _planned(request: RunRequest, seeds: Sequence[int], *, look_ahead: bool) -> Iterator[PlannedRun]:
    """The seeds of a method."""
    request = replace(request, seed=seeds[0])
    refuse_idle(request)
    # How many GPUs there are shows where the run is made.
    refuse_unshared(request.recipe, request.processes, "cpu")
    first = spec_for(request, look_ahead=look_ahead)
    if look_ahead:
        check_networks(first)
    for seed in seeds:
        run_spec = first.at_seed(seed)
        folder = request.root / run_spec.folder
        teachers = {
            request.root / "teachers" / run_spec.teacher_folder(part): part.spec
            for part in run_spec.teacher_parts
            # One that is left untrained, or that is a file, takes no time.
            if part.spec.weights is None
        }
        state = State(TO_DO) if request.fresh else read_state(folder)
        yield PlannedRun(run_spec, replace(request, seed=seed), folder, teachers, state)


def rename_done(plan: GridPlan) -> None:
    """Gives the runs that are done the names that the plan has for them; the others get theirs when they are made."""
    for planned in plan.runs:
        if planned.state.status == DONE and planned.request.name is not None:
            rename(planned.folder, planned.request.name)


def refreshed(planned: PlannedRun) -> PlannedRun:
    """The run as it stands now."""
    return replace(planned, state=read_state(planned.folder))
