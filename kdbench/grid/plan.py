"""Which runs a suite means, each by the folder that `kdbench run` would give it, and how each stands."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdbench.data.card import load_card
from kdbench.data.splits import protocol_names
from kdbench.engine.device import check_device
from kdbench.errors import UsageError
from kdbench.grid.ahead import check_networks
from kdbench.grid.changes import changes_for
from kdbench.grid.state import DONE, ORDER, TO_DO, State, read_state
from kdbench.grid.suite import Suite, SuiteMethod, assignments
from kdbench.runs.context import cell_for, choose_preset
from kdbench.runs.gain import BASELINES
from kdbench.runs.naming import checked_name, rename
from kdbench.runs.spec import Cell
from kdbench.util.progress import Reporter


@dataclass(frozen=True)
class Options:
    """What holds for every cell, as in `kdbench.run`.

    Attributes:
        root: Folder of all runs.
        overrides: Changes of every recipe, `a.b.c=value`; they come after the suite's.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, `bf16`, or None for the recipe's.
        data_dir: Where the data sets lie.
        allow_broken: Go on without trials whose files are missing or broken.
        fresh: Train again what is finished or half done.
        threads: Threads on a CPU; None for the default.
        name: What tables call the runs of the one method; None leaves that to the suite.
        look_ahead: Prepare no data, and check instead what a run would refuse.
    """

    root: Path
    overrides: tuple[str, ...] = ()
    device: str = "auto"
    precision: str | None = None
    data_dir: Path | None = None
    allow_broken: bool = False
    fresh: bool = False
    threads: int | None = None
    name: str | None = None
    look_ahead: bool = False


@dataclass(frozen=True)
class PlannedCell:
    """One run of a grid.

    Attributes:
        cell: What it is a run of.
        folder: Where the run lies, or will.
        teacher: Where its teacher lies, or will; None without one.
        arguments: What `kdbench run` is given to make it.
        state: How it stands.
        name: What tables call it; None where nothing was said.
    """

    cell: Cell
    folder: Path
    teacher: Path | None
    arguments: tuple[str, ...]
    state: State
    name: str | None = None

    @property
    def label(self) -> str:
        """Method, data set, protocol and seed."""
        cell = self.cell
        return f"{self.name or cell.method} · {cell.dataset.card.name} · {cell.protocol} · seed {cell.seed}"

    @property
    def needs_teacher(self) -> bool:
        """Whether its teacher has to be made first."""
        return self.teacher is not None and not teacher_is_there(self.teacher)


@dataclass(frozen=True)
class Plan:
    """The cells of a grid in the order in which they are made.

    Attributes:
        cells: Each once, although several lines of a suite may mean it.
        options: What holds for all of them.
    """

    cells: tuple[PlannedCell, ...]
    options: Options = field(repr=False)

    def counts(self) -> dict[str, int]:
        """How many cells stand how, in a fixed order, without those that none does."""
        held = Counter(cell.state.status for cell in self.cells)
        return {status: held[status] for status in ORDER if held[status]}

    def to_make(self) -> list[PlannedCell]:
        """The cells that are not done."""
        return [cell for cell in self.cells if cell.state.status != DONE]

    def teachers(self) -> dict[Path, list[PlannedCell]]:
        """The cells that share each teacher."""
        shared: dict[Path, list[PlannedCell]] = {}
        for cell in self.cells:
            if cell.teacher is not None:
                shared.setdefault(cell.teacher, []).append(cell)
        return shared

    def teachers_to_make(self) -> dict[Path, list[PlannedCell]]:
        """The cells to be made that share each teacher that is not there yet."""
        wanted = set(map(id, self.to_make()))
        waiting = {path: [cell for cell in cells if id(cell) in wanted] for path, cells in self.teachers().items()}
        return {path: cells for path, cells in waiting.items() if cells and not teacher_is_there(path)}


def teacher_is_there(folder: Path) -> bool:
    """Whether a teacher's folder holds a finished one."""
    return all((folder / name).is_file() for name in ("teacher.json", "teacher.safetensors"))


def make_plan(suite: Suite, options: Options, reporter: Reporter | None = None) -> Plan:
    """Finds every cell of a suite and how it stands; prepares data where that is new, and trains nothing.

    A seed's cells come together, and the student alone comes first, so that gains are known early.

    Args:
        suite: What is wanted.
        options: What holds for all cells.
        reporter: Is told which preset was chosen.

    Raises:
        UsageError: Names or values that do not exist or do not fit together.
        DataError: Data that are missing or broken.
    """
    reporter = reporter or Reporter()
    if options.name and len(suite.methods) > 1:
        several = ", ".join(method.name for method in suite.methods)
        raise UsageError(
            f"--name would call the runs of several methods the same: {several}",
            hint="In a suite each method may have its own: {name: sgm_ft, label: mine}",
        )
    check_device(options.device)
    preset = choose_preset(suite.preset, options.device, reporter)
    methods = sorted(suite.methods, key=lambda method: method.name not in BASELINES)
    changes = changes_for(methods, suite, options.overrides, preset, reporter)
    found: dict[Path, PlannedCell] = {}
    for dataset in suite.datasets:
        for protocol in suite.protocols or protocol_names(load_card(dataset))[:1]:
            lines = [
                list(_cells(method, method_changes, dataset, protocol, preset, suite, options))
                for method, method_changes in zip(methods, changes, strict=True)
            ]
            for cell in itertools.chain.from_iterable(zip(*lines, strict=True)):
                found.setdefault(cell.folder, cell)
    return Plan(tuple(found.values()), options)


def _cells(
    method: SuiteMethod,
    changes: Mapping[str, Any],
    dataset: str,
    protocol: str,
    preset: str,
    suite: Suite,
    options: Options,
) -> Iterator[PlannedCell]:
    """The seeds of a method."""
    name = checked_name(method.label if options.name is None else options.name)
    first, *more = suite.seed_numbers
    cell = cell_for(
        method.name,
        dataset,
        protocol=protocol,
        preset=preset,
        video=suite.video,
        seed=first,
        overrides=changes,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
        data_dir=options.data_dir,
        allow_broken=options.allow_broken,
        look_ahead=options.look_ahead,
    )
    if options.look_ahead:
        check_networks(cell)
    given = ["--method", method.name, "--dataset", dataset, "--protocol", protocol, "--preset", preset]
    given += ["--video", suite.video] if suite.video else []
    given += [word for change in assignments(changes) for word in ("--set", change)]
    for seed in (first, *more):
        yield _planned(cell.at_seed(seed), [*given, "--seed", str(seed)], options, name)


def _planned(cell: Cell, given: list[str], options: Options, name: str | None) -> PlannedCell:
    given += ["--out", str(options.root), "--device", options.device]
    given += ["--threads", str(options.threads)] if options.threads else []
    given += ["--precision", options.precision] if options.precision else []
    given += ["--data-dir", str(options.data_dir)] if options.data_dir else []
    given += ["--exclude-broken"] * options.allow_broken + ["--fresh"] * options.fresh
    given += ["--name", name] if name is not None else []
    folder = options.root / cell.folder
    teacher = options.root / "teachers" / cell.teacher_folder if cell.recipe.teacher else None
    state = State(TO_DO) if options.fresh else read_state(folder)
    return PlannedCell(cell, folder, teacher, tuple(given), state, name)


def rename_done(plan: Plan) -> None:
    """Gives the runs that are done the names that the plan has for them; the others get theirs when they are made."""
    for cell in plan.cells:
        if cell.state.status == DONE and cell.name is not None:
            rename(cell.folder, cell.name)


def refreshed(cell: PlannedCell) -> PlannedCell:
    """The cell as it stands now."""
    return replace(cell, state=read_state(cell.folder))
