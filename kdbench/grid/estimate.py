"""What a plan costs, from the runs of the same folder that are finished."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from kdbench.grid.plan import GridPlan, PlannedRun, teacher_is_there
from kdbench.runs.schema import FINISHED
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import StoredRun, stored_runs


@dataclass(frozen=True)
class Estimate:
    """Time and disk of the runs that are not done.

    Attributes:
        seconds: Work of the students, of everything around them, and of the teachers that are missing; one after the
            other, without the start of the processes. None where no earlier run tells.
        disk_bytes: Runs and teachers. None where no earlier run tells.
        from_others: Methods whose own cost is not known with these settings, so that what other settings, else other
            methods, took at the same size stands for it.
        unknown: Labels of runs of which nothing is known.
        runs: Number of finished runs on the data sets and at the presets of the plan, from which it is taken.
    """

    seconds: float | None
    disk_bytes: int | None
    from_others: tuple[str, ...]
    unknown: tuple[str, ...]
    runs: int


def estimate(plan: GridPlan) -> Estimate:
    """Estimates a plan: medians of earlier runs on the same data set at the same preset.

    Of earlier runs of a run's own recipe, else of its method, else of any method that trains as much.
    """
    finished = _finished(plan.root, [planned.run_spec for planned in plan.to_make()])
    known = _Known(finished, plan.root)
    seconds, disk, used = 0.0, 0, 0
    others: list[str] = []
    unknown: list[str] = []
    for planned in plan.to_make():
        expected = known.run(planned.run_spec)
        if expected is None:
            unknown.append(planned.label)
            continue
        if not expected.own and planned.run_spec.title not in others:
            others.append(planned.run_spec.title)
        seconds, disk, used = seconds + expected.seconds, disk + expected.disk_bytes, used + 1
    for folder, sharing in plan.teachers_to_make().items():
        teacher = known.teacher(sharing[0], folder)
        if teacher is not None:
            seconds, disk = seconds + teacher.seconds, disk + teacher.disk_bytes
        else:
            unknown.append(f"a teacher of {sharing[0].label}")
    if not used:
        return Estimate(None, None, tuple(others), tuple(unknown), len(finished))
    return Estimate(seconds, disk, tuple(others), tuple(unknown), len(finished))


def seconds_of_runs(root: Path, run_specs: Sequence[RunSpec]) -> list[float | None]:
    """How long a run takes without its teacher, as `estimate` has it; None where no earlier run tells."""
    known = _Known(_finished(root, run_specs), root)
    return [cost.seconds if (cost := known.run(run_spec)) else None for run_spec in run_specs]


def longest_first(plan: GridPlan) -> list[PlannedRun]:
    """The runs that are to be made, those first that the whole grid would wait for longest.

    The longest come first, and what others wait for counts for them too: the run that trains a teacher counts with it,
    and with the longest run that can begin after it (Graham, 1969: list scheduling by the length of what follows). One
    that earlier runs tell nothing of counts as the middle of those that they tell of; equals keep the plan's order.
    """
    waiting = plan.to_make()
    known = _Known(_finished(plan.root, [planned.run_spec for planned in waiting]), plan.root)
    costs = [known.run(planned.run_spec) for planned in waiting]
    told = [cost.seconds for cost in costs if cost is not None]
    if not told:
        return waiting
    own = {
        planned.folder: median(told) if cost is None else cost.seconds
        for planned, cost in zip(waiting, costs, strict=True)
    }
    lengths = dict(own)
    for folder, sharing in plan.teachers_to_make().items():
        teacher = known.teacher(sharing[0], folder)
        # One trains it; for the others it is there when their turn comes.
        first = max(sharing, key=lambda planned: own[planned.folder])
        lengths[first.folder] += (teacher.seconds if teacher else 0.0) + own[first.folder]
    return sorted(waiting, key=lambda planned: -lengths[planned.folder])


def _finished(root: Path, run_specs: Sequence[RunSpec]) -> list[StoredRun]:
    """The finished runs of a folder that are of the sizes of some others."""
    sizes = {_size_of(run_spec) for run_spec in run_specs}
    return [
        run for run in stored_runs(root)[0] if run.status == FINISHED and _is_timed(run) and _size(run.result) in sizes
    ]


def _is_timed(run: StoredRun) -> bool:
    cost = run.result.get("cost") or {}
    return all(cost.get(key) is not None for key in ("train_seconds", "seconds_this_process"))


_Kinds = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _ExpectedCost:
    seconds: float
    disk_bytes: int
    own: bool = True


class _Known:
    """Costs of finished runs, by what a new one may have in common with them."""

    def __init__(self, runs: Iterable[StoredRun], root: Path) -> None:
        self._runs: dict[tuple[str, ...], list[_ExpectedCost]] = defaultdict(list)
        self._teachers: dict[tuple[str, ...], list[_ExpectedCost]] = defaultdict(list)
        self._root = root
        for run in runs:
            self.add(run)

    def add(self, run: StoredRun) -> None:
        """One more finished run."""
        size = _size(run.result)
        recipe = run.result["recipe"]
        kind = "student" if recipe["student"] else "teacher"
        made = _ExpectedCost(_seconds(run.result), _bytes(run.folder))
        # A new run is like one of the same recipe, else of the same method, else of any student or teacher.
        self._runs[(*size, run.title, _key(recipe))].append(made)
        self._runs[(*size, run.title, "")].append(made)
        self._runs[(*size, "", kind)].append(made)
        seconds, teachers = run.result["cost"].get("teacher_seconds"), _trained(recipe)
        folder = (run.result.get("teacher") or {}).get("folder")
        if teachers and seconds is not None:
            size_bytes = _bytes(self._root / "teachers" / folder) if folder else 0
            trained = _ExpectedCost(float(seconds) / sum(teachers.values()), size_bytes)
            self._teachers[(*size, "")].append(trained)
            # What several unlike ones took together says little of one of them.
            if len(teachers) == 1:
                self._teachers[(*size, next(iter(teachers)))].append(trained)

    def run(self, run_spec: RunSpec) -> _ExpectedCost | None:
        """Cost of a run without its teacher."""
        return self.like(_kinds(run_spec))

    def like(self, kinds: _Kinds) -> _ExpectedCost | None:
        """Cost of a run without its teacher, of those that are most like it."""
        first, *others = kinds
        if own := self._runs.get(first):
            return _middle(own)
        costs = next((costs for kind in others if (costs := self._runs.get(kind))), None)
        return _middle(costs, own=False) if costs else None

    def teacher(self, planned: PlannedRun, folder: Path) -> _ExpectedCost | None:
        """Cost of a network of a run's teachers, by its folder."""
        size = _size_of(planned.run_spec)
        same = self._teachers.get((*size, _key(planned.teachers[folder].model_dump(mode="json"))))
        costs = same or self._teachers.get((*size, ""))
        return _middle(costs) if costs else None


def _trained(recipe: Mapping[str, Any]) -> dict[str, int]:
    """How many networks each teacher of a recorded recipe has that are trained before the student."""
    teachers = [recipe["teacher"], *(recipe.get("teachers") or {}).values()]
    counts: dict[str, int] = defaultdict(int)
    for spec in filter(None, teachers):
        if spec.get("weights") is None and not spec.get("joint"):
            counts[_key(spec)] += spec.get("seeds") or spec.get("folds") or 1
    return counts


def _kinds(run_spec: RunSpec) -> _Kinds:
    """What tells a run's cost: runs of its recipe, else of its method, else any student or teacher of its size."""
    size, kind = _size_of(run_spec), "student" if run_spec.recipe.student else "teacher"
    recipe = _key(run_spec.recipe.model_dump(mode="json"))
    return (*size, run_spec.title, recipe), (*size, run_spec.title, ""), (*size, "", kind)


class Remaining:
    """Work that is left of a grid under way, kept up with each run that ends.

    To estimate thousands of runs anew whenever one of them ends would take longer than the runs.

    Args:
        plan: The grid as it stands.
    """

    def __init__(self, plan: GridPlan) -> None:
        waiting = plan.to_make()
        specs = [planned.run_spec for planned in waiting]
        self._sizes = {_size_of(run_spec) for run_spec in specs}
        self._known = _Known(_finished(plan.root, specs), plan.root)
        self._kinds = {planned.folder: _kinds(planned.run_spec) for planned in waiting}
        self._counts = Counter(self._kinds.values())
        teachers = {
            path: (sharing[0], {planned.folder for planned in sharing})
            for path, sharing in plan.teachers_to_make().items()
        }
        self._teachers = teachers

    def ended(self, planned: PlannedRun, run: StoredRun | None) -> None:
        """A run is over.

        Args:
            planned: The run.
            run: Its result; None without one.
        """
        kinds = self._kinds.pop(planned.folder, None)
        if kinds is not None:
            self._counts[kinds] -= 1
        if run is not None and run.status == FINISHED and _is_timed(run) and _size(run.result) in self._sizes:
            self._known.add(run)
        for path, (_, sharing) in list(self._teachers.items()):
            sharing.discard(planned.folder)
            made = path in planned.teachers and teacher_is_there(path)
            if not sharing or made:
                del self._teachers[path]

    @property
    def count(self) -> int:
        """Runs that are left."""
        return len(self._kinds)

    @property
    def seconds(self) -> float | None:
        """Work that is left, one run after the other; None where of some of it nothing is known."""
        costs = [(self._known.like(kinds), count) for kinds, count in self._counts.items() if count]
        teachers = [self._known.teacher(planned, path) for path, (planned, _) in self._teachers.items()]
        if not costs or None in teachers or any(cost is None for cost, _ in costs):
            return None
        return sum(cost.seconds * count for cost, count in costs if cost) + sum(
            cost.seconds for cost in teachers if cost
        )


def _size(result: Mapping[str, Any]) -> tuple[str, str]:
    return str(result["dataset"]), str(result["preset"])


def _size_of(run_spec: RunSpec) -> tuple[str, str]:
    return run_spec.dataset.card.name, run_spec.preset


def _seconds(result: Mapping[str, Any]) -> float:
    """Time of a run without its teacher's training, which may have been another run's."""
    cost = result["cost"]
    teacher = float(cost.get("teacher_seconds") or 0)
    student = float(cost["train_seconds"]) if result["recipe"]["student"] else 0.0
    whole = float(cost["seconds_this_process"])
    # A resumed run's process was shorter than its training; who trained the teacher is told by the time alone.
    around = whole - student - (teacher if whole >= student + teacher else 0.0)
    return student + max(0.0, around)


def _middle(costs: list[_ExpectedCost], *, own: bool = True) -> _ExpectedCost:
    return _ExpectedCost(median(cost.seconds for cost in costs), int(median(cost.disk_bytes for cost in costs)), own)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())


def _key(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True)
