"""A network of a teacher, as a run names it."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import key_of


@dataclass(frozen=True)
class TeacherPart:
    """One network of a teacher: its only one, a member of an ensemble, or the one that teaches a fold.

    Attributes:
        name: The teacher's, `teacher` for the one of that key.
        spec: Its recipe.
        member: Number of the member, from 0; the first is the network of a teacher without an ensemble.
        fold: The fold that it was not trained on; None without cross-fitting.
    """

    name: str
    spec: NetworkSpec
    member: int = 0
    fold: int | None = None

    @property
    def key(self) -> str:
        """Key of the teacher in the recipe."""
        return key_of(self.name)

    @property
    def title(self) -> str:
        """What the progress calls it: `teacher`, `teacher imu`, `teacher imu, network 2 of 3`."""
        name = "teacher" if self.name == "teacher" else f"teacher {self.name}"
        if self.spec.seeds is not None:
            return f"{name}, network {self.member + 1} of {self.spec.seeds}"
        return name if self.fold is None else f"{name}, fold {self.fold + 1} of {self.spec.folds}"
