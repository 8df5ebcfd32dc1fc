"""A recipe set up on a small world as a run would set it up, with the reads of its data and its teacher watched."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdbench.data.store.dataset import Dataset
from kdbench.engine.loop import Training
from kdbench.network import Network
from kdbench.recipes.changes import changes_of, merge
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher, teacher_training

Make = Callable[[RunContext, NetworkSpec, Sequence[Teacher], Path], Training]
GENERATED = "motionsim"
WORLD = {"actions": 3, "subjects": 4, "trials": 2}
"""24 trials: the validation part is one person, so one person trains."""
TRAIN = {"epochs": 1, "batch_size": 4}


@dataclass(frozen=True, eq=False)
class WatchedDataset(Dataset):
    """A data set that writes down which of its trials are read."""

    seen: set[str] = field(default_factory=set)

    def position(self, trial: str) -> int:
        """See the base class; every way to a trial's data leads through here."""
        self.seen.add(trial)
        return super().position(trial)

    def clips(self, rows: int | np.ndarray) -> np.ndarray:
        """See the base class."""
        self.seen.update(self.index["trial"].iloc[np.atleast_1d(rows)])
        return super().clips(rows)


@dataclass
class TeacherCalls:
    """How the teacher's network was called.

    Attributes:
        training: Whether a part of it was in training mode in some call.
        gradient: Whether gradients were recorded in some call.
        count: Number of calls.
    """

    training: bool = False
    gradient: bool = False
    count: int = 0

    def watch(self, network: Network) -> None:
        """Watches a network's calls from now on."""

        def note(module: torch.nn.Module, _inputs: Any, _outputs: Any) -> None:
            self.count += 1
            self.training |= any(part.training for part in module.modules())
            self.gradient |= torch.is_grad_enabled()

        network.register_forward_hook(note)


class RecipeCase:
    """One recipe.

    The training runs under `best-val`, whatever the recipe says, so that an epoch is selected. A student that stays as
    it was initialised is set up in its own track, transfer alone.

    Args:
        name: Its registered name, or the path of its file.
        component: Not used: a recipe goes by its name.
        dataset: Where it is tried; a small generated world by default.
        teacher: Name of a teacher in place of the recipe's own.
        preset: At which size.
        overrides: Changes of the recipe, as in `kdbench.run`.
        data_dir: Where recordings lie.
        make: Sets up the student's training, as `kdbench.runs.student.student_training` does, which is the default.
            Give another to hold a changed loop, teacher or loader to the guarantees.
    """

    def __init__(
        self,
        name: str,
        component: Any = None,  # noqa: ARG002
        *,
        dataset: str = GENERATED,
        teacher: str | None = None,
        preset: str = "smoke",
        overrides: Sequence[str] | Mapping[str, Any] = (),
        data_dir: Path | str | None = None,
        make: Make = student_training,
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.teacher = teacher
        self.preset = preset
        self.overrides = changes_of(overrides)
        self.data_dir = None if data_dir is None else Path(data_dir)
        self.make = make
        self._folder = tempfile.TemporaryDirectory(prefix="kdbench-check-")
        self.recipe = self.resolved(preset)

    @functools.cache  # noqa: B019
    def resolved(self, preset: str) -> Recipe:
        """The recipe at a preset."""
        return resolve(self.name, preset, self.overrides, teacher=self.teacher)

    @functools.cached_property
    def context(self) -> RunContext:
        """Data, parts and seeds of a short run, its data watched."""
        small: dict[str, Any] = {"compile": False}
        if self.recipe.student is not None and self.recipe.student.is_untrained:
            small["track"] = {"labels": 0}
        else:
            small["selection"] = {"rule": "best-val", "part": "test"}
        if self.dataset == GENERATED:
            small["data"] = {"options": WORLD}
        for phase in ("teacher", "student"):
            spec = getattr(self.recipe, phase)
            # A teacher that trains with the student trains as the student does.
            if spec is not None and not spec.joint:
                small[phase] = {"train": TRAIN}
        changes = merge(merge({"precision": "fp32"}, small), self.overrides)
        context = context_for(
            RunRequest(
                self.name,
                self.dataset,
                preset=self.preset,
                overrides=changes,
                teacher=self.teacher,
                device="cpu",
                data_dir=self.data_dir,
            )
        )
        dataset = context.run_spec.dataset
        watched = WatchedDataset(**{entry.name: getattr(dataset, entry.name) for entry in fields(Dataset)})
        return replace(context, run_spec=replace(context.run_spec, dataset=watched))

    @property
    def seen(self) -> set[str]:
        """The trials that were read."""
        dataset = self.context.run_spec.dataset
        assert isinstance(dataset, WatchedDataset)
        return dataset.seen

    def specs(self) -> tuple[NetworkSpec, ...]:
        """The networks of the recipe."""
        return self.context.run_spec.recipe.networks

    @functools.cached_property
    def teacher_training(self) -> Training | None:
        """The teacher's own training, ready to run; None where a control leaves it untrained."""
        part = next(iter(self.context.run_spec.teacher_parts), None)
        if part is None or part.spec.weights is not None:
            return None
        network = self.context.build("teacher", part.spec, part.key)
        return teacher_training(self.context, part, network, self.folder("teacher"))

    @functools.cached_property
    def student(self) -> StudentSetup | None:
        """The student's training against a teacher that has not been trained; None where no student is trained."""
        recipe = self.context.run_spec.recipe
        if recipe.student is None or recipe.student.is_untrained:
            return None
        calls, teachers = TeacherCalls(), []
        for part in self.context.run_spec.teacher_parts:
            network = self.context.build("teacher", part.spec, part.key)
            # Representations learn from the training part.
            teacher_training(self.context.for_part(part), part, network, self.folder("teacher"))
            calls.watch(network.eval())
            teachers.append(Teacher(network, self.folder("teacher"), {}, self.context, part))
        training = self.make(self.context, recipe.student, teachers, self.folder("student"))
        return StudentSetup(training, teachers, calls)

    def folder(self, name: str) -> Path:
        """A folder that is removed with the case."""
        folder = Path(self._folder.name) / name
        folder.mkdir(exist_ok=True)
        return folder


@dataclass
class StudentSetup:
    """A student's training that is ready to run, beside what it was made from.

    Attributes:
        training: The training.
        teachers: Every network of its teachers.
        calls: How they have been called.
    """

    training: Training
    teachers: Sequence[Teacher]
    calls: TeacherCalls


def teacher_case(
    name: str,
    component: Any = None,
    *,
    dataset: str = GENERATED,
    preset: str = "smoke",
    overrides: Sequence[str] | Mapping[str, Any] = (),
    data_dir: Path | str | None = None,
) -> RecipeCase:
    """One teacher, in front of a student that learns from it by soft targets; options as those of `RecipeCase`."""
    return RecipeCase(
        "kd", component, dataset=dataset, teacher=name, preset=preset, overrides=overrides, data_dir=data_dir
    )
