"""Suites: YAML files that name methods, data sets, protocols and seeds, all of which `kdbench run --suite` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kdbench import losses as loss_room
from kdbench.errors import UsageError, near_misses, shortened, unknown
from kdbench.losses import BUILTIN as BUILTIN_LOSSES
from kdbench.recipes import shipped
from kdbench.recipes.resolve import NO_TEACHER, resolve, student_alone_of
from kdbench.recipes.terms import PartSpec
from kdbench.registry.builtin import decorations_in
from kdbench.text.wording import counted
from kdbench.util import paths
from kdbench.util.validation import checked

SUFFIXES = (".yaml", ".yml")


class SuiteMethod(BaseModel):
    """A method of a suite.

    Attributes:
        name: Name of a recipe, or path of a YAML file.
        teacher: Name of a teacher, or path of a YAML file; by default the method's own, or each of the suite's.
        label: What tables call its runs; by default the recipe's name.
        set: What is changed of the recipe, nested as in a recipe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    teacher: str | None = None
    label: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _by_todays_name(cls, content: Any) -> Any:
        if isinstance(content, dict) and (pair := shipped.behind(str(content.get("name")))) is not None:
            return {"teacher": pair.teacher, **content, "name": pair.method}
        return content

    @property
    def title(self) -> str:
        """What it is called where its runs are not told apart by other things."""
        return self.label or " + ".join(filter(None, (self.name, self.teacher)))


class Suite(BaseModel):
    """What a grid is made of; every combination is a run.

    Attributes:
        summary: One line on what it is for.
        methods: The methods, each with its own changes.
        losses: Every built-in loss besides: each method that is called like one, unless `methods` has it.
        without: Losses that are left out of these.
        teachers: Teachers that each method is taught by; none means its own. A method that has no teacher is run once.
        datasets: Names of data sets, or paths of cards.
        protocols: Names of protocols; none means the first of each data set's card.
        seeds: How many seeds (0 … n − 1), or which ones.
        preset: The size.
        video: The student's view.
        set: What is changed of every recipe, nested as in a recipe.
        launcher: How the runs are started, with its options.
        names_track: Whether a run of it has to say which labels or pairs there are, as `--labels 1` does.
        systems: Whether its methods are whole systems, which `kdbench compare --systems` puts into one ranking.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    summary: str = ""
    methods: tuple[SuiteMethod, ...] = Field(min_length=1)
    losses: bool = False
    without: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    datasets: tuple[str, ...] = Field(min_length=1)
    protocols: tuple[str, ...] = ()
    seeds: int | tuple[int, ...] = 1
    preset: Literal["auto", "paper", "small", "smoke"] = "auto"
    video: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    launcher: PartSpec | None = None
    names_track: bool = False
    systems: bool = False

    @field_validator("launcher", mode="before")
    @classmethod
    def _plain_name(cls, launcher: Any) -> Any:
        return {"name": launcher} if isinstance(launcher, str) else launcher

    @field_validator("methods", mode="before")
    @classmethod
    def _plain_names(cls, methods: Any) -> Any:
        if isinstance(methods, list | tuple):
            return [{"name": method} if isinstance(method, str) else method for method in methods]
        return methods

    @model_validator(mode="after")
    def _with_losses(self) -> Suite:
        losses = BUILTIN_LOSSES.keys() & shipped.BUILTIN.keys()
        if self.without and not self.losses:
            raise ValueError("without = … leaves something out of losses: true, which is not there")
        for name in self.without:
            if name not in losses:
                raise ValueError(f"unknown loss in `without` '{shortened(name)}'{near_misses(name, losses)}")
        if not self.losses:
            return self
        listed = {method.name for method in self.methods}.union(self.without)
        further = sorted(losses - listed)
        track = self.set.get("track")
        if isinstance(track, Mapping) and track.get("labels") == 0:
            texts = decorations_in(str(loss_room.__file__), "loss")
            further = [name for name in further if _learns_without_labels(texts[name])]
        methods = (*self.methods, *(SuiteMethod(name=name) for name in further))
        return self.model_copy(update={"methods": methods, "losses": False, "without": ()})

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, seeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(seeds, int) and seeds < 1:
            raise ValueError("at least one seed is needed")
        if not isinstance(seeds, int) and (not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds)):
            raise ValueError("expected different numbers from 0 on")
        return seeds

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def run_count(self) -> int:
        """Number of runs; without protocols, each data set brings its first one."""
        # One teacher is one run a method, whether the method has a teacher or not; more of them need the recipes.
        methods = self.methods if len(self.teachers) < 2 else self.pairs()
        return len(methods) * len(self.datasets) * max(1, len(self.protocols)) * len(self.seed_numbers)

    def pairs(self) -> tuple[SuiteMethod, ...]:
        """Every method with each of its teachers.

        Raises:
            UsageError: There are teachers, and no method has one.
        """
        if not self.teachers:
            return self.methods
        pairs: list[SuiteMethod] = []
        for method in self.methods:
            recipe = resolve(method.name, "small")
            # One with several teachers has no single one that another could stand in for.
            is_taught = method.teacher is None and recipe.taught_by is not None and recipe.teacher is not None
            for teacher in self.teachers if is_taught else (None,):
                pair = method.model_copy(update={"teacher": teacher or method.teacher})
                # Several methods may have one student alone.
                if teacher == NO_TEACHER and (alone := student_alone_of(method.name, "small")) is not None:
                    pair = SuiteMethod(name=alone[0], teacher=alone[1])
                pairs += [] if pair in pairs else [pair]
        if len(pairs) == len(self.methods) and all(teacher.teacher is None for teacher in pairs):
            names = ", ".join(method.name for method in self.methods)
            raise UsageError(f"none of these methods has a teacher: {names}", hint="Leave out --teacher.")
        return tuple(pairs)

    def with_methods(self, names: list[str]) -> Suite:
        """The suite with these methods alone; those that it has keep their changes."""
        own = {method.name: method for method in self.methods}
        return self.model_copy(update={"methods": tuple(own.get(name, SuiteMethod(name=name)) for name in names)})


def _learns_without_labels(decoration: str) -> bool:
    """Whether a loss says that it trains a student without labels; read as text, since its file imports torch."""
    is_taught = "teacher=False" not in decoration or 'labels="unused"' in decoration
    return is_taught and 'labels="needed"' not in decoration


def asked_for(
    command: str,
    suite: str | None,
    methods: Sequence[str],
    datasets: Sequence[str],
    note: Callable[[str], None],
    **changes: Any,
) -> Suite:
    """What a command is to go through: a suite as its options change it, or what they name themselves.

    Args:
        command: Its name, for the hint.
        suite: Name of a suite or path of a YAML file; None where there is none.
        methods: Names of methods; beside a suite, they stand in place of its own.
        datasets: Names of data sets, likewise.
        note: Is told what of a suite is left out.
        changes: Other fields of `Suite`; what is None or empty changes nothing.

    Raises:
        UsageError: No such suite; or there is none, and methods or data sets are missing.
    """
    if suite is not None:
        wanted = load_suite(suite)
        if methods:
            own = counted(len(wanted.methods), "method")
            note(f"--method stands in place of the {own} of the suite {suite}")
    else:
        for option, given in (("--method", methods), ("--dataset", datasets)):
            if not given:
                raise UsageError(f"{option} is missing", hint=f"Or name a suite: kdbench {command} --suite smoke")
        wanted = Suite(methods=tuple(SuiteMethod(name=name) for name in methods), datasets=tuple(datasets))
    wanted = wanted.with_methods(list(dict.fromkeys(methods))) if methods else wanted
    changes |= {"datasets": tuple(datasets)}
    return wanted.model_copy(update={key: value for key, value in changes.items() if value})


def shipped_suites() -> list[str]:
    """Names of the suites that kdbench ships."""
    return sorted(path.stem for path in paths.folder("benchmarks").glob("*.yaml"))


def load_suite(name_or_path: str) -> Suite:
    """Reads a suite and checks every key.

    Args:
        name_or_path: Name of a shipped suite, or path of a YAML file.

    Raises:
        UsageError: No such suite, no YAML, an unknown key (with the near misses), or a value of the wrong type.
    """
    path = Path(name_or_path)
    if path.suffix not in SUFFIXES and os.sep not in name_or_path:
        path = paths.folder("benchmarks") / f"{name_or_path}.yaml"
        if not paths.is_file(path):
            raise unknown(
                "suite", name_or_path, shipped_suites(), hint="Or give the path of a YAML file: --suite mine.yaml"
            )
    if not paths.is_file(path):
        raise UsageError(
            f"there is no suite file {shortened(str(path), 200)}",
            hint=f"Shipped by name: {', '.join(shipped_suites())}",
        )
    suite = checked(
        Suite, paths.read_mapping(path, "suite"), f"the suite {path}", hint="See a whole one: kdbench describe smoke"
    )
    methods = [method.model_copy(update=_beside(path, method)) for method in suite.methods]
    return suite.model_copy(update={"methods": tuple(methods)})


def _beside(path: Path, method: SuiteMethod) -> dict[str, str]:
    """The files that a method of a suite names and that lie beside the suite, by their whole paths."""
    named = {key: getattr(method, key) for key in ("name", "teacher")}
    return {
        key: str(path.parent / name)
        for key, name in named.items()
        if name is not None and name.endswith(SUFFIXES) and paths.is_file(path.parent / name)
    }
