"""What a user asks of one run, from the command line, a suite, a search or Python; the same object all the way."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kdbench.recipes.changes import assignments, changes_of, merge
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.recipes.shipped import behind
from kdbench.runs.naming import checked_name
from kdbench.util.paths import runs_folder


def excluding(exclude_broken: bool, allow_broken: bool | None) -> bool:
    """What `exclude_broken` is where its former name, `allow_broken`, may be given instead."""
    if allow_broken is None:
        return exclude_broken
    # Two frames up is the caller of `run` or of a search, whose line is meant.
    warnings.warn("allow_broken is called exclude_broken now", DeprecationWarning, stacklevel=3)
    return allow_broken


@dataclass(frozen=True)
class RunRequest:
    """One run as it is asked for, before anything is opened.

    Attributes:
        method: Name of a recipe, or path of a YAML file; a former name is kept as the method and the teacher that it
            stands for.
        teacher: Name of a teacher, or path of a YAML file; None for the method's own.
        dataset: Name of a data set, or path of a card.
        protocol: The split; None for the first of the card.
        preset: `paper`, `small`, `smoke`, or `auto`: `paper` with a GPU, else `small`.
        video: The student's view (`depth`, `rgb`, …); None for the best that is there.
        seed: The run's seed.
        overrides: Changes of the recipe, `a.b.c=value` strings, or a mapping, nested or with dotted keys; kept nested.
        device: `auto`, `cpu` or `cuda`.
        threads: Threads on a CPU, whatever the environment says; None for 1.
        processes: Processes that make the run together, a GPU each; None for 1.
        precision: `fp32` or `bf16`; None for what the recipe says.
        data_dir: Where the data sets lie; None for `$KDBENCH_DATA`, `./data`, then the cache folder.
        exclude_broken: Leave out trials whose files are missing or broken; the result names them.
        out: Folder of the runs; None for `$KDBENCH_HOME`, else `./runs`.
        fresh: Start anew even where the run is finished or half done.
        name: What tables call the run; None leaves the name that it has.

    Raises:
        UsageError: A change or a name that cannot be read.
    """

    method: str
    dataset: str
    protocol: str | None = None
    preset: str = "auto"
    video: str | None = None
    seed: int = 0
    overrides: Any = ()
    teacher: str | None = None
    device: str = "auto"
    threads: int | None = None
    processes: int | None = None
    precision: str | None = None
    data_dir: Path | None = None
    exclude_broken: bool = False
    out: Path | None = None
    fresh: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if (pair := behind(self.method)) is not None:
            object.__setattr__(self, "method", pair.method)
            object.__setattr__(self, "teacher", self.teacher or pair.teacher)
        object.__setattr__(self, "overrides", changes_of(self.overrides))
        object.__setattr__(self, "name", checked_name(self.name))

    @property
    def changes(self) -> dict[str, Any]:
        """The changes of the recipe, nested."""
        precision = {} if self.precision is None else {"precision": self.precision}
        return {**changes_of(self.overrides), **precision}

    @cached_property
    def recipe(self) -> Recipe:
        """The method as resolved at the preset, which is no longer `auto`; resolved once.

        Raises:
            UsageError: As `kdbench.recipes.resolve.resolve`.
        """
        return resolve(self.method, self.preset, self.changes, teacher=self.teacher)

    @property
    def root(self) -> Path:
        """Folder of all runs; it may not exist yet."""
        return runs_folder(self.out)

    def changed(self, overrides: Mapping[str, Any], **fields: Any) -> RunRequest:
        """The same with further changes of the recipe, nested, and other fields."""
        return dataclasses.replace(self, overrides=merge(self.overrides, overrides), **fields)

    def words(self) -> list[str]:
        """What `kdbench run` is given to make this run."""
        words = [word for change in assignments(self.overrides) for word in ("--set", change)]
        words += ["--exclude-broken"] * self.exclude_broken + ["--fresh"] * self.fresh
        written = ("overrides", "exclude_broken", "fresh")
        fields = [field.name for field in dataclasses.fields(self) if field.name not in written]
        return words + option_words({name: getattr(self, name) for name in fields})


def option_words(values: Mapping[str, object]) -> list[str]:
    """Options of the command line with their values, by the names that they have in Python; without those of None."""
    return [
        word
        for name, value in values.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
