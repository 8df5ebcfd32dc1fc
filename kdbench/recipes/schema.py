"""A recipe as resolved: which parts make a method, at which size, trained how; `kdbench.recipes.resolve` reads one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from kdbench.recipes.network_spec import NAME_OF_A_BRANCH, TEACHER, NetworkSpec
from kdbench.recipes.search_space import Range
from kdbench.recipes.strict import RecipePart, kept
from kdbench.recipes.terms import PartSpec
from kdbench.recipes.track import Track
from kdbench.types import VIDEO, view_of

PRESETS = ("paper", "small", "smoke")
CONTROLS = {
    "random_teacher": "its teacher has random weights and is not trained",
    "wrong_trials": "what teaches it is of other trials than the student sees",
}
"""Recipes that must not help: what they gain is regularisation, not knowledge."""
JOINT = "joint"
DEFAULTS = "defaults"
SEARCHED = "searched"
"""What conditions say in the place of a setting that a search chose."""


def key_of(teacher: str) -> str:
    """Key of a teacher in a recipe: `teacher`, or `teachers.NAME`."""
    return teacher if teacher == TEACHER else f"{TEACHER}s.{teacher}"


class Data(RecipePart):
    """Sizes at which trials enter the networks.

    Attributes:
        series_length: Samples of each sensor series after linear resampling; representations that take series at
            their native lengths do without.
        frames: Frames of a clip, taken at the centres of equal parts.
        frame_size: Height and width of a frame, pixels.
        options: Knobs of a generated data set, by the names of its card.
    """

    series_length: int = Field(ge=2, le=1_000_000)
    frames: int = Field(ge=1, le=100_000)
    frame_size: int = Field(ge=8, le=8192)
    options: dict[str, Any] = Field(default_factory=dict)


class Selection(RecipePart):
    """Which weights are reported, and on which part.

    Attributes:
        rule: `last` reports the last epoch, trained on the whole training part. `best-val` cuts a validation part from
            it (by subject where the protocol is) and reports the epoch that is best there. `best-test` reports the
            epoch of the reported network that is best on the test part: nobody can do that in use, so it serves to
            measure how much that inflates a result, is marked `(oracle)` everywhere, and is refused by the leaderboard.
        part: `test`, read once at the end; or `validation`, for choosing hyper-parameters: the test part is not loaded.
    """

    rule: Literal["last", "best-val", "best-test"] = "last"
    part: Literal["test", "validation"] = "test"

    @model_validator(mode="after")
    def _test_part_for_its_own_rule(self) -> Selection:
        if self.is_oracle and self.part != "test":
            raise ValueError("rule best-test chooses by the test part, and part is validation: choose one of the two")
        return self

    @property
    def is_oracle(self) -> bool:
        """Whether the test part chooses what is reported on it."""
        return self.rule == "best-test"

    @property
    def needs_validation(self) -> bool:
        """Whether a validation part is cut from the training part."""
        return self.rule == "best-val" or self.part == "validation"


class Tuning(RecipePart):
    """The search that chose a recipe's settings.

    Attributes:
        budget: What it was allowed (`trials`, `sampler`, …): equal for methods that may be compared, so a condition.
        study: Name of the study.
        space: What it tried, by dotted key.
        best: What it chose, by dotted key.
        under: Where: `dataset`, `protocol`, `preset` and, where labels or pairs are scarce, `track`.
    """

    budget: dict[str, Any]
    study: str
    space: dict[str, Any]
    best: dict[str, Any]
    # Left out where an older search did not say it, so that its winner's runs keep their names.
    under: dict[str, Any] | None = Field(default=None, exclude_if=lambda under: under is None)


class Recipe(RecipePart):
    """A method as resolved: every choice made.

    Attributes:
        name: What it is called in the names of folders: the method, or the former name of a method with its teacher.
        summary: One line on what it is.
        source: The paper.
        equations: Its formulas, a line each, in the order in which they are used. Like `deviations`, no part of what is
            written, since it changes no run.
        deviations: What is not as published, and where a number that the paper does not give comes from, a line each.
        data: Input sizes.
        semantics: Where the vectors of the class names come from.
        teacher: The network that is trained first, or null.
        teachers: Further ones by their names; each is trained once, and losses say whom they compare with (`from`).
        student: The network that is trained against it, or null.
        selection: Which weights are reported.
        track: What the student is given of the training part.
        predicts: Who predicts at test: null is the student (or the teacher of a recipe without one); under
            `mean_with_teacher` it is the mean of the probabilities of both, which then sees what either of them sees;
            an epoch is chosen by the student's own.
        without: Sources that are missing at test; see `kdbench.evaluation.predict`.
        precision: `fp32`, or `bf16` autocast.
        compile: Whether the networks go through `torch.compile`.
        search: What `kdbench search` may try, by dotted key; no part of what is written, since it changes no run. Null
            removes a key that an extended recipe set, and so does null for the loss or the network that it is about.
        tuning: The search that chose its settings, as `kdbench search` writes it; null where they are the recipe's own.
    """

    name: str
    summary: str = ""
    source: str = ""
    equations: tuple[str, ...] = Field(default=(), exclude=True)
    deviations: tuple[str, ...] = Field(default=(), exclude=True)
    data: Data
    semantics: PartSpec
    teacher: NetworkSpec | None = None
    teachers: dict[str, NetworkSpec] = Field(default_factory=dict, exclude_if=lambda teachers: not teachers)
    student: NetworkSpec | None = None
    selection: Selection = Selection()
    # Left out of what is written where nothing is scarce, so that such runs keep their names.
    track: Track = Field(default=Track(), exclude_if=lambda track: track.is_whole)
    predicts: Literal["mean_with_teacher"] | None = Field(default=None, exclude_if=lambda who: who is None)
    without: tuple[str, ...] = Field(default=(), exclude_if=lambda without: not without)
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    search: dict[str, Range] = Field(default_factory=dict, exclude=True)
    tuning: Tuning | None = Field(default=None, exclude=True)
    # What resolving adds, which no file and no option sets.
    _method: str = PrivateAttr(default="")
    _taught_by: str | None = PrivateAttr(default=None)
    _title: str = PrivateAttr(default="")

    @property
    def method(self) -> str:
        """The method, as it is called today; empty for a recipe that was not resolved."""
        return self._method

    @property
    def taught_by(self) -> str | None:
        """Name of the teacher; None without one, and for one that the recipe describes itself."""
        return self._taught_by

    @property
    def title(self) -> str:
        """What messages call it: the method, with its teacher where that is not the method's own."""
        return self._title or self.name

    def called(self, method: str, taught_by: str | None, title: str) -> Recipe:
        """A copy that has these names."""
        recipe = self.model_copy()
        recipe._method, recipe._taught_by, recipe._title = method, taught_by, title
        return recipe

    @model_validator(mode="before")
    @classmethod
    def _joint_teachers_train_as_the_student(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("student"), Mapping):
            return given

        def joined(spec: Any) -> Any:
            if not isinstance(spec, Mapping) or spec.get("train") != JOINT:
                return spec
            # It is trained in the student's steps: with its batches, its rate and its changes of the inputs.
            shared = {key: given["student"][key] for key in ("train", "augment") if key in given["student"]}
            return {**spec, **shared, "joint": True}

        teachers = given.get("teachers")
        if isinstance(teachers, Mapping):
            given = {**given, "teachers": {name: joined(spec) for name, spec in teachers.items()}}
        return {**given, TEACHER: joined(given[TEACHER])} if TEACHER in given else given

    @field_validator("search", mode="before")
    @classmethod
    def _without_removed(cls, search: Any) -> Any:
        return kept(search)

    @model_validator(mode="after")
    def _has_network(self) -> Recipe:
        if self.teacher is None and self.student is None:
            raise ValueError("a recipe needs a teacher, a student, or both")
        if self.teachers and self.student is None:
            raise ValueError("teachers without a student teach nobody: take teacher, or add a student")
        return self

    @field_validator("teachers", mode="before")
    @classmethod
    def _without_removed_teachers(cls, teachers: Any) -> Any:
        return kept(teachers)

    @model_validator(mode="after")
    def _several_teachers_fit(self) -> Recipe:
        for name in self.teachers:
            if not NAME_OF_A_BRANCH.fullmatch(name) or name in (TEACHER, "student"):
                raise ValueError(
                    f"teachers: {name!r} is no name of a further teacher: expected letters, digits, _ and -"
                )
        student = self.student
        if student is not None and student.joint:
            raise ValueError(
                "student.joint: it is the teacher that trains with the student; say so there, teacher: {train: joint}"
            )
        if student is None and any(spec.joint for spec in self.all_teachers.values()):
            raise ValueError("teacher.train = joint needs a student to train with; add one, or leave it out")
        if student is not None and (student.seeds or student.folds):
            raise ValueError("student.seeds and student.folds: only teachers are several networks; leave them out")
        if student is not None and student.head is not None:
            taught = [spec for spec in self.all_teachers.values() if not (spec.joint or spec.seeds or spec.folds)]
            if len(taught) != 1 or len(self.all_teachers) != 1:
                raise ValueError(
                    "student.head takes over that of one teacher, of one network that is trained first; take such a "
                    "teacher, or leave head out"
                )
        for name, spec in self.all_teachers.items():
            if spec.head is not None:
                raise ValueError(f"{key_of(name)}.head: only a student takes a head over; leave it out")
            if spec.pairing is not None:
                raise ValueError(
                    f"{key_of(name)}.pairing: the teacher has nobody to be paired with; student.pairing takes shuffled"
                )
        for key, spec in self.by_key.items():
            for loss, term in spec.losses.items() if key != "student" else ():
                if term.teachers is not None:
                    raise ValueError(
                        f"{key}.losses.{loss}.from: a teacher compares with the student alone; leave it out"
                    )
        for loss, term in student.losses.items() if student is not None else ():
            where = f"student.losses.{loss}"
            for name in term.teachers or ():
                if name not in self.all_teachers:
                    known = ", ".join(self.all_teachers) or "none"
                    raise ValueError(f"{where}.from: there is no teacher {name!r}; this recipe has {known}")
        return self

    @model_validator(mode="after")
    def _searches_what_it_has(self) -> Recipe:
        for key in self.search:
            role = next((role for role in self.by_key if key.startswith(f"{role}.")), None)
            if role is None and key.partition(".")[0] in (TEACHER, "student"):
                raise ValueError(
                    f"search: {key} is about a {key.partition('.')[0]}, and the recipe has none; leave it out"
                )
            if role is None:
                raise ValueError(f"search: {key} is about neither the teacher nor the student; leave it out")
            spec, rest = self.by_key[role], key.removeprefix(f"{role}.")
            # The name of a loss may hold dots: those of libraries are paths.
            if rest.startswith("losses.") and not any(rest.startswith(f"losses.{name}.") for name in spec.losses):
                raise ValueError(
                    f"search: {key} is about a loss that the {role} does not have; it has {', '.join(spec.losses)}"
                )
        return self

    @model_validator(mode="after")
    def _controls_are_whole(self) -> Recipe:
        student = self.student
        if student is not None and student.weights_file is not None:
            raise ValueError(
                f"student.weights = {student.weights}: only a teacher can be a file; to begin with one, take "
                "initial_weights"
            )
        if student is not None and student.is_untrained and self.all_teachers:
            raise ValueError("student.weights = random leaves nobody to teach; teacher.weights takes random")
        for teacher in (spec for spec in self.all_teachers.values() if spec.is_untrained):
            if student is None:
                raise ValueError("teacher.weights = random leaves nothing to train without a student; add one")
            if any(branch.encoder.params.get("weights", "random") != "random" for branch in teacher.kinds):
                raise ValueError("teacher.weights = random needs teacher.encoder.weights = random")
        return self

    @model_validator(mode="after")
    def _track_fits(self) -> Recipe:
        student = self.student
        if student is None and self.track.labels not in ("all", 0) and self.track.teacher_labels == "all":
            raise ValueError(
                f"track.labels = {self.track.labels} says what a student sees, and this trains a teacher alone, which "
                "sees all labels: add --teacher-labels same, or leave --labels out"
            )
        if self.track.is_whole or student is None:
            return self
        if self.joint_teachers and self.track.is_transfer_alone:
            raise ValueError(
                "track.labels = 0: a teacher that trains with the student learns from the labels of its batches, and "
                "none has one: take a teacher that is trained first (--teacher raw), or labels for both "
                "(--labels 1 --teacher-labels same)"
            )
        if self.joint_teachers and self.track.labels != "all" and self.track.teacher_labels != "same":
            raise ValueError(
                "track.labels: a teacher that trains with the student sees the labels of its batches: say so with "
                "track.teacher_labels = same (--teacher-labels same), or take a teacher that is trained first"
            )
        if self.track.is_transfer_alone and (self.selection.needs_validation or self.selection.is_oracle):
            raise ValueError(
                "track.labels = 0 leaves no labels to choose an epoch or settings by: take selection.rule = last and "
                "selection.part = test; search settings in a track with labels, for example --labels 1"
            )
        if self.track.pairs < 1 and not student.sees_video_alone:
            raise ValueError(
                "track.pairs leaves trials without sensors, and this student sees sensors: take a method with a video "
                "student, or all pairs (--pairs 1)"
            )
        if student.train.batch_size == 1 and not self.track.is_transfer_alone:
            raise ValueError(
                "student.train.batch_size = 1: in this track a batch holds trials with and without labels or sensors; "
                "take at least 2"
            )
        return self

    @model_validator(mode="after")
    def _mean_has_one_teacher(self) -> Recipe:
        if self.predicts is None:
            return self
        where = f"predicts = {self.predicts}"
        if self.student is None or len(self.all_teachers) != 1 or self.joint_teachers:
            raise ValueError(f"{where} takes a student and one teacher that is trained first")
        if self.selection.is_oracle:
            raise ValueError(
                f"{where}: best-test would be the best epoch of the student alone; take selection.rule = last"
            )
        if self.track.is_transfer_alone:
            raise ValueError(
                f"{where}: without labels the student is measured by a probe, which no teacher joins; leave it out"
            )
        return self

    @property
    def networks(self) -> tuple[NetworkSpec, ...]:
        """Its teachers and its student, as far as it has them."""
        return (*self.all_teachers.values(), *(() if self.student is None else (self.student,)))

    @property
    def all_teachers(self) -> dict[str, NetworkSpec]:
        """Every teacher by its name; the one of `teacher` is called so."""
        return ({} if self.teacher is None else {TEACHER: self.teacher}) | self.teachers

    @property
    def joint_teachers(self) -> dict[str, NetworkSpec]:
        """The teachers that train with the student."""
        return {name: spec for name, spec in self.all_teachers.items() if spec.joint}

    @property
    def by_key(self) -> dict[str, NetworkSpec]:
        """Every network by its key in the recipe: `teacher`, `teachers.NAME`, `student`."""
        named = {key_of(name): spec for name, spec in self.all_teachers.items()}
        return named if self.student is None else {**named, "student": self.student}

    @property
    def losses(self) -> list[str]:
        """Names of the losses of its networks."""
        return [name for spec in self.networks for name in spec.losses]

    def sees(self, modality: str) -> bool:
        """Whether one of its networks sees `sensors` (or a skeleton), or `video`."""
        return any(spec.shows(modality) for spec in self.networks)

    @property
    def views(self) -> tuple[str, ...]:
        """The views that its networks name themselves, as `video:NAME`."""
        named = (view_of(branch.sees) for spec in self.networks for branch in spec.kinds)
        return tuple(dict.fromkeys(view for view in named if view is not None))

    @property
    def chooses_view(self) -> bool:
        """Whether a network sees `video`, which is the view that the run chooses."""
        return any(branch.sees == VIDEO for spec in self.networks for branch in spec.kinds)

    def sources(self, sensors: Iterable[str]) -> tuple[str, ...]:
        """All that its networks see.

        Args:
            sensors: The data set's.
        """
        return tuple(dict.fromkeys(source for spec in self.networks for source in spec.sees(sensors)))

    @property
    def reported(self) -> NetworkSpec:
        """The network that the result is about: the student, or the teacher where there is no student."""
        spec = self.student or self.teacher
        assert spec is not None
        return spec

    @property
    def asked(self) -> tuple[NetworkSpec, ...]:
        """The networks that predict at test: the reported one, and a teacher where the mean of both does."""
        return (self.reported,) if self.predicts is None else (self.reported, *self.all_teachers.values())

    def shown(self, sensors: Iterable[str]) -> tuple[str, ...]:
        """What is seen at test, each source once, those that are missing too.

        Args:
            sensors: The data set's.
        """
        sensors = tuple(sensors)
        return tuple(dict.fromkeys(source for spec in self.asked for source in spec.sees(sensors)))

    @property
    def tuning_budget(self) -> dict[str, Any] | str:
        """What was spent on choosing its settings: the budget of a search, or `defaults`."""
        return self.tuning.budget if self.tuning else DEFAULTS

    @property
    def controls(self) -> tuple[str, ...]:
        """What makes the recipe a control instead of a method, by the names of `CONTROLS`; nothing for a method."""
        wrong = self.student is not None and self.student.pairing is not None
        untrained = any(spec.is_untrained for spec in self.all_teachers.values())
        return ("random_teacher",) * untrained + ("wrong_trials",) * wrong
