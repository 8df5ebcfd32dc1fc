"""Recipes: which parts make a method, at which size, trained how.

A recipe is a YAML file. `extends:` names one or several others, whose settings it changes; `presets:` holds what
differs between `paper`, `small` and `smoke`. Along the chain each recipe's settings are followed by its preset's, so a
variant overrides what it extends at every size. `resolve` returns the checked result, in which nothing is left open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from kdbench import methods, resources
from kdbench.errors import UsageError, unknown
from kdbench.ranges import Range
from kdbench.registry import registry

PRESETS = ("paper", "small", "smoke")
CONTROLS = {
    "random_teacher": "its teacher has random weights and is not trained",
    "wrong_trials": "its teacher sees other trials than the student",
}
"""Recipes that must not help: what they gain is regularisation, not knowledge."""
WARMUP_END = 0.1
_NUMBER, _SCHEDULE = "(number)", "(schedule)"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _kept(mapping: Any) -> Any:
    """Without the keys that a recipe removed from what it extends."""
    if isinstance(mapping, Mapping):
        return {key: value for key, value in mapping.items() if value is not None}
    return mapping


class PartSpec(BaseModel):
    """A part by name, with its keyword parameters beside the name.

    Attributes:
        name: The part's name in its registry.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def params(self) -> dict[str, Any]:
        """The keyword parameters."""
        return dict(self.model_extra or {})


class Schedule(_Strict):
    """A weight that changes while a network is trained; see `kdbench.engine.weights`.

    A recipe writes `weight: {schedule: linear, to: 0.5, end: 0.3}`. Where a recipe that has a plain number is given a
    schedule (`--set student.losses.st.weight.schedule=linear`), the number is where the schedule ends.

    Attributes:
        schedule: How it changes between `start` and `end`: `linear`; `cosine` along half a cosine, slow at both ends;
            `warmup` linearly, over the first tenth of the training by default; `constant` at once, at `start`.
        first: Weight up to `start`; `from` in a recipe.
        to: Weight from `end` on.
        start: Share of the training after which it begins to change.
        end: Share of the training after which it stays.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)
    schedule: Literal["constant", "linear", "cosine", "warmup"]
    first: float = Field(default=0.0, allow_inf_nan=False, alias="from")
    to: float = Field(default=1.0, allow_inf_nan=False)
    start: float = Field(default=0.0, ge=0, lt=1)
    end: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _warmup_is_short(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("schedule") == "warmup":
            return {"end": WARMUP_END, **given}
        return given

    @model_validator(mode="after")
    def _has_length(self) -> Schedule:
        if self.start >= self.end:
            raise ValueError(f"start ({self.start}) must come before end ({self.end}), both shares of the training")
        if self.schedule == "constant" and self.end != 1:
            raise ValueError("constant takes no end: it changes once, at start")
        return self


def _kind_of_weight(value: Any) -> str:
    return _SCHEDULE if isinstance(value, Mapping | Schedule) else _NUMBER


Weight = Annotated[
    Annotated[float, Field(allow_inf_nan=False), Tag(_NUMBER)] | Annotated[Schedule, Tag(_SCHEDULE)],
    Discriminator(_kind_of_weight),
]


class LossTerm(BaseModel):
    """One term of an objective: its weight, a number or a schedule, and the loss's keyword parameters beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    weight: Weight = 1.0

    @property
    def params(self) -> dict[str, Any]:
        """The keyword parameters."""
        return dict(self.model_extra or {})


class Data(_Strict):
    """Sizes at which trials enter the networks.

    Attributes:
        series_length: Samples of each sensor series after linear resampling.
        frames: Frames of a clip, taken at the centres of equal parts.
        frame_size: Height and width of a frame, pixels.
        options: Knobs of a generated data set, by the names of its card.
    """

    series_length: int = Field(ge=2)
    frames: int = Field(ge=1)
    frame_size: int = Field(ge=8)
    options: dict[str, Any] = Field(default_factory=dict)


class Augment(_Strict):
    """Random changes of the training inputs; zero switches one off. There are no flips: left and right are classes.

    Attributes:
        noise: Standard deviation of white noise on a series, in standard deviations of its axis over the training part.
        scale: Largest relative change of size (frames) or of amplitude (series).
        rotate_deg: Largest rotation of the frames, degrees.
        shift: Largest shift of the frames, as a share of their size.
    """

    noise: float = Field(default=0.0, ge=0)
    scale: float = Field(default=0.0, ge=0, lt=1)
    rotate_deg: float = Field(default=0.0, ge=0, le=180)
    shift: float = Field(default=0.0, ge=0, lt=1)


class Train(_Strict):
    """How one network is trained.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Trials a step; a single trial that is left over joins the last full one.
        lr: Peak learning rate of AdamW.
        weight_decay: Decoupled weight decay; norms, biases and other vectors are left out.
        schedule: `cosine` falls to zero; `constant` stays.
        warmup: Share of all steps with a linear rise of the rate.
        grad_clip: Largest gradient norm, or null.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    grad_clip: float | None = Field(default=1.0, gt=0)


class NetworkSpec(_Strict):
    """One network and its training.

    Attributes:
        modality: What it sees: `sensors` or `video`.
        sensors: The sensors that it sees, one branch each; null means all of the data set's.
        representation: Raw input to what the encoder eats.
        encoder: The four-stage backbone; each branch has its own.
        fusion: Joins sensor branches.
        losses: Terms of its objective by name; null removes one that an extended recipe set.
        balance: What adapts the weights of the losses to each other while it trains (`uncertainty`, `gradnorm`); null
            leaves them as they are.
        augment: Random changes of its training inputs.
        train: Its training.
        weights: `random` leaves a teacher as it was initialised: a control, which teaches nothing that it learnt.
        pairing: `shuffled` shows the teacher other trials of the student's batch: a control, without a trial in common.
    """

    modality: Literal["sensors", "video"]
    sensors: tuple[str, ...] | None = None
    representation: PartSpec
    encoder: PartSpec
    fusion: PartSpec = PartSpec(name="none")
    losses: dict[str, LossTerm]
    # Left out of what is written where there is none, so that such recipes keep the names of their runs.
    balance: PartSpec | None = Field(default=None, exclude_if=lambda balance: balance is None)
    augment: Augment = Augment()
    train: Train
    weights: Literal["random"] | None = Field(default=None, exclude_if=lambda weights: weights is None)
    pairing: Literal["shuffled"] | None = Field(default=None, exclude_if=lambda pairing: pairing is None)

    @field_validator("losses", mode="before")
    @classmethod
    def _without_removed(cls, losses: Any) -> Any:
        return _kept(losses)

    @model_validator(mode="after")
    def _has_loss(self) -> NetworkSpec:
        if not self.losses:
            raise ValueError("at least one loss is needed, for example losses: {ce: {weight: 1}}")
        return self


class Selection(_Strict):
    """Which weights are reported, and on which part.

    Attributes:
        rule: `last` reports the last epoch, trained on the whole training part. `best-val` cuts a validation part from
            it (by subject where the protocol is) and reports the epoch that is best there. `best-test` reports the
            epoch of the reported network that is best on the test part: nobody can do that in use, so it serves to
            measure how much it flatters, is marked `(oracle)` wherever it is shown, and is refused by the leaderboard.
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


class Recipe(_Strict):
    """A method as resolved: every choice made.

    Attributes:
        name: The method.
        summary: One line on what it is.
        source: The paper.
        data: Input sizes.
        semantics: Where the vectors of the class names come from.
        teacher: The sensor network that is trained first, or null.
        student: The network that is trained against it, or null.
        selection: Which weights are reported.
        precision: `fp32`, or `bf16` autocast.
        compile: Whether the networks go through `torch.compile`.
        search: What `kdbench search` may try, by dotted key; no part of what is written, since it changes no run. Null
            removes a key that an extended recipe set.
    """

    name: str
    summary: str = ""
    source: str = ""
    data: Data
    semantics: PartSpec
    teacher: NetworkSpec | None = None
    student: NetworkSpec | None = None
    selection: Selection = Selection()
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    search: dict[str, Range] = Field(default_factory=dict, exclude=True)

    @field_validator("search", mode="before")
    @classmethod
    def _without_removed(cls, search: Any) -> Any:
        return _kept(search)

    @model_validator(mode="after")
    def _has_network(self) -> Recipe:
        if self.teacher is None and self.student is None:
            raise ValueError("a recipe needs a teacher, a student, or both")
        return self

    @model_validator(mode="after")
    def _controls_are_whole(self) -> Recipe:
        teacher, student = self.teacher, self.student
        if student is not None and student.weights is not None:
            raise ValueError("student.weights: the student is what is trained; teacher.weights takes random")
        if teacher is not None and teacher.pairing is not None:
            raise ValueError(
                "teacher.pairing: the teacher has nobody to be paired with; student.pairing takes shuffled"
            )
        if student is not None and student.pairing is not None and teacher is None:
            raise ValueError("student.pairing needs a teacher")
        if teacher is not None and teacher.weights is not None:
            if student is None:
                raise ValueError("teacher.weights = random leaves nothing to train without a student")
            if teacher.encoder.params.get("weights", "random") != "random":
                raise ValueError("teacher.weights = random needs teacher.encoder.weights = random")
        return self

    @property
    def reported(self) -> NetworkSpec:
        """The network that the result is about: the student, or the teacher where there is no student."""
        spec = self.student or self.teacher
        assert spec is not None
        return spec

    @property
    def controls(self) -> tuple[str, ...]:
        """What makes the recipe a control instead of a method, by the names of `CONTROLS`; nothing for a method."""
        wrong = self.student is not None and self.student.pairing is not None
        untrained = self.teacher is not None and self.teacher.weights is not None
        return ("random_teacher",) * untrained + ("wrong_trials",) * wrong


def locate(name_or_path: str) -> Path:
    """The file of a recipe.

    Args:
        name_or_path: The name of a recipe, or the path of one's own YAML file.

    Raises:
        UsageError: No such recipe.
    """
    path = methods.path_of(name_or_path)
    if path is None:
        path = Path(name_or_path)
        if path.suffix not in {".yaml", ".yml"} and os.sep not in name_or_path:
            raise registry("method").unknown(name_or_path)
        if not path.is_file():
            raise UsageError(f"there is no recipe file {path}", hint="See the shipped ones: kdbench list methods")
    return path


def read(name_or_path: str) -> tuple[str, dict[str, Any]]:
    """Reads one recipe file, without what it extends: its name, and its settings as written.

    Raises:
        UsageError: No such recipe, or the file is not a YAML mapping.
    """
    path = locate(name_or_path)
    return path.stem, resources.read_mapping(path, "recipe")


def files(name_or_path: str, *, _above: tuple[Path, ...] = ()) -> list[Path]:
    """The files of a recipe and of everything it extends, root first.

    Raises:
        UsageError: A recipe extends itself, directly or through others.
    """
    path = locate(name_or_path).absolute()
    if path in _above:
        way = " → ".join(each.stem for each in (*_above, path))
        raise UsageError(f"the recipe '{path.stem}' extends itself: {way}")
    extends = resources.read_mapping(path, "recipe").get("extends") or []
    found: list[Path] = []
    for parent in [extends] if isinstance(extends, str) else extends:
        found += [file for file in files(_beside(path, str(parent)), _above=(*_above, path)) if file not in found]
    return [*found, path]


def _beside(path: Path, parent: str) -> str:
    """What a recipe extends: a name as it is, a relative path below the folder of the recipe."""
    is_path = parent.endswith((".yaml", ".yml")) or os.sep in parent
    return str(path.parent / parent) if is_path else parent


def chain(name_or_path: str) -> list[tuple[str, dict[str, Any]]]:
    """The recipe behind everything it extends, root first; of several that it extends, the later one wins.

    Raises:
        UsageError: A recipe extends itself, directly or through others.
    """
    return [read(str(path)) for path in files(name_or_path)]


def resolve(name_or_path: str, preset: str, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """Resolves a recipe at one preset, with overrides, and checks every key.

    Args:
        name_or_path: Name of a shipped recipe or path of a YAML file.
        preset: `paper`, `small` or `smoke`.
        overrides: `a.b.c=value` strings, or a nested mapping.

    Raises:
        UsageError: An unknown recipe, preset or key (with the near misses), or a value of the wrong type.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    links = chain(name_or_path)
    merged: dict[str, Any] = {}
    for name, settings in links:
        own = {key: value for key, value in settings.items() if key not in {"extends", "presets"}}
        presets = settings.get("presets") or {}
        for key in presets:
            if key not in PRESETS:
                raise unknown(f"preset in recipe '{name}'", key, PRESETS)
        merged = merge(merge(merged, own), presets.get(preset) or {})
    merged = merge(merged, overrides if isinstance(overrides, Mapping) else parse_overrides(overrides))
    merged["name"] = links[-1][0]
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise _readable(error, links[-1][0]) from error


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a part with another `name` replaces the whole part, since parameters belong to their part.

    A schedule in the place of a number ends at that number, unless it says otherwise.
    """
    result = dict(base)
    for key, value in changes.items():
        held = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(held, Mapping)
            and value.get("name", held.get("name")) == held.get("name")
        ):
            result[key] = merge(held, value)
        elif isinstance(value, Mapping) and "schedule" in value and isinstance(held, int | float):
            result[key] = {"to": held, **value}
        else:
            result[key] = value
    return result


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Parses `a.b.c=value` strings; values are YAML scalars or lists.

    Raises:
        UsageError: A string without `=`, or a value that is not YAML.
    """
    result: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip("."):
            raise UsageError(f"cannot read the override '{item}'", hint="Write --set a.b.c=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"the value of --set {item} is not YAML: {error}") from error
        if isinstance(value, str):
            value = _number_or_text(value)
        nested: Any = value
        for name in reversed(key.split(".")):
            nested = {name: nested}
        result = merge(result, nested)
    return result


def _number_or_text(text: str) -> float | str:
    # YAML 1.1 reads 1e-4 as text.
    try:
        return float(text)
    except ValueError:
        return text


def _readable(error: ValidationError, method: str) -> UsageError:
    """Turns pydantic's first complaint into one that names the key, what was expected, and the near misses."""
    # A misspelt key is also a missing one, and the more telling of the two.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if part not in (_NUMBER, _SCHEDULE)]
    path = ".".join(location) or method
    if first["type"] == "extra_forbidden":
        owner = _model_at(location[:-1])
        known = [field.alias or name for name, field in owner.model_fields.items()] if owner is not None else []
        place = f"key under {'.'.join(location[:-1])}" if location[:-1] else "recipe key"
        return unknown(place, location[-1], known, hint=_SHOW.format(method))
    if first["type"] == "missing":
        return UsageError(f"recipe '{method}': {path} is missing", hint=_SHOW.format(method))
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"recipe '{method}': {path} = {first['input']!r}: {message}", hint=_SHOW.format(method))


_SHOW = "See its keys: kdbench describe {}"


def _model_at(location: Iterable[str]) -> type[BaseModel] | None:
    """The model that the keys of a recipe lead to; keys of a mapping lead from it to what its values are."""
    owner: type[BaseModel] | None = Recipe
    for step in location:
        if owner is not None and step in owner.model_fields:
            owner = _model_in(owner.model_fields[step].annotation)
    return owner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for held in get_args(annotation) if (model := _model_in(held)) is not None), None)
