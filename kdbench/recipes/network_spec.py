"""A network's part of a recipe: what it sees, the parts that it is built of, its losses and its training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kdbench.errors import UsageError
from kdbench.recipes.head import Head
from kdbench.recipes.strict import RecipePart, kept
from kdbench.recipes.terms import LossTerm, PartSpec
from kdbench.types import SENSORS, VIDEO, is_video

RANDOM, TEACHER = "random", "teacher"
REQUIRED_SHORTHAND = ("modality", "representation", "encoder")
SHORTHAND = (*REQUIRED_SHORTHAND, "sensors", "pooling")
"""Keys of a network that say what it sees without `branches`."""
NAME_OF_A_BRANCH = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Augment(RecipePart):
    """Random changes of the training inputs; zero switches one off. There are no flips: left and right are classes.

    Attributes:
        noise: Standard deviation of white noise on a series, in standard deviations of its axis over the training part.
        scale: Largest relative change of size (frames, and joints relative to the hip) or of amplitude (series).
        rotate_deg: Largest rotation of the frames, degrees.
        shift: Largest shift of the frames, as a share of their size.
        axis_scale: Largest relative change of amplitude of each axis of a series on its own.
        axis_drop: Chance that an axis of a series is flat, at its mean over the trial; one axis of every series stays.
        turn_deg: Largest rotation of a skeleton's joints about the vertical axis, degrees.
        time_scale: Largest relative change of the part of a trial that is shown at its whole length: less of it than
            all, at a random place, is slower; more than all is faster, and its ends are held. A series is interpolated;
            of a clip the nearest frames are shown. Each source of a trial has draws of its own.
        time_shift: Largest shift of a series or a clip in time, as a share of its length; its ends are held.
    """

    noise: float = Field(default=0.0, ge=0)
    scale: float = Field(default=0.0, ge=0, lt=1)
    rotate_deg: float = Field(default=0.0, ge=0, le=180)
    shift: float = Field(default=0.0, ge=0, lt=1)
    # Left out of what is written where they are zero, so that runs without them keep their names.
    axis_scale: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda share: share == 0)
    axis_drop: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda chance: chance == 0)
    turn_deg: float = Field(default=0.0, ge=0, le=180, exclude_if=lambda degrees: degrees == 0)
    time_scale: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda share: share == 0)
    time_shift: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda share: share == 0)


DOT_DELTA = 0.075


class OptimizerSpec(RecipePart):
    """What takes the place of AdamW.

    Attributes:
        name: `sgd` with momentum and weight decay as part of the gradient; or `dot`, which has a momentum for the
            gradient of the labels and a larger one for that of the teacher (Zhao et al., ICCV 2023).
        momentum: Of SGD.
        delta: Half of what lies between the two momenta of `dot`; 0.075 is the authors' for CIFAR-100.
    """

    name: Literal["sgd", "dot"]
    momentum: float = Field(default=0.9, ge=0, lt=1)
    delta: float = Field(default=DOT_DELTA, ge=0, lt=1)

    @model_validator(mode="after")
    def _two_momenta(self) -> OptimizerSpec:
        # A stored recipe spells the default out, and has to be read again.
        if self.name == "sgd" and "delta" in self.model_fields_set and self.delta != DOT_DELTA:
            raise ValueError("delta has no effect: sgd has one momentum; choose name: dot")
        if self.name == "dot" and not self.delta <= self.momentum < 1 - self.delta:
            raise ValueError(
                f"delta = {self.delta:g}: both momenta, {self.momentum:g} ± delta, lie from 0 to below 1; take a "
                "smaller one"
            )
        return self


class Train(RecipePart):
    """How one network is trained.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Trials per step; a single trial that is left over joins the last full one.
        lr: Peak learning rate.
        weight_decay: Decoupled weight decay; norms, biases and other vectors are left out.
        optimizer: What takes the place of AdamW.
        schedule: `cosine` falls to zero; `constant` stays.
        warmup: Share of all steps with a linear rise of the rate.
        grad_clip: Largest gradient norm, or null.
        average: Decay of an exponential moving average of the weights, which then takes their place: in what is
            validated, kept and reported. 0.99 covers about the last 100 steps. Null: the weights of the last step.
            A teacher that trains jointly has none.
        accumulate: Parts of a batch that are computed one after the other, their gradients added up, for a smaller
            memory; the step stays that of the whole batch. BatchNorm and dropout then see a part at a time.
        checkpointing: Whether the maps within an encoder's stage are computed again for the gradient instead of kept,
            for a smaller memory and about a third more time; it changes no number.
    """

    epochs: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    grad_clip: float | None = Field(default=1.0, gt=0)
    # Left out of what is written where it is AdamW, so that runs with it keep their names.
    optimizer: OptimizerSpec | None = Field(default=None, exclude_if=lambda optimizer: optimizer is None)
    average: float | None = Field(default=None, gt=0, lt=1, exclude_if=lambda decay: decay is None)
    accumulate: int = Field(default=1, ge=1, le=1_000_000, exclude_if=lambda parts: parts == 1)
    checkpointing: bool = Field(default=False, exclude_if=lambda wanted: not wanted)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _plain_name(cls, optimizer: Any) -> Any:
        return {"name": optimizer} if isinstance(optimizer, str) else optimizer


class BranchSpec(RecipePart):
    """One branch of a network.

    Attributes:
        sees: A sensor or a skeleton of the data set, `video` for the view that the run chose, or `video:NAME`; or
            `sensors`, which stands for a branch for each sensor that no other branch names, called as the sensor is.
        representation: Its raw input to what its encoder takes.
        encoder: Its backbone.
        pooling: Its last map over time to its embedding; null leaves that to the encoder.
        augment: Random changes of what it sees in training; null means the network's.
    """

    sees: str = Field(min_length=1)
    representation: PartSpec
    encoder: PartSpec
    pooling: PartSpec | None = Field(default=None, exclude_if=lambda pooling: pooling is None)
    augment: Augment | None = Field(default=None, exclude_if=lambda augment: augment is None)


def _file_of(named: str) -> Path:
    """The folder of a teacher or of a run stands for the weights in it."""
    path = Path(named).expanduser()
    names = (f"{TEACHER}.safetensors", "student.safetensors")
    return next((path / name for name in names if (path / name).is_file()), path)


class NetworkSpec(RecipePart):
    """One network and its training.

    What it sees is written in one of two ways: as `branches`, each with its parts; or as `modality`, `representation`
    and `encoder`, which stand for a branch of these parts for each sensor, or for one that sees the video.

    Attributes:
        modality: `sensors` or `video`.
        sensors: The sensors that it sees, one branch each; null means all of the data set's.
        representation: Raw input to what the encoder takes.
        encoder: The backbone; each branch has its own.
        pooling: As for a branch.
        branches: Each branch by its name.
        fusion: Joins the branches.
        head: A classifier that a student takes over, as the teacher's; null trains its own.
        losses: Terms of its objective by name; null removes one that an extended recipe set. A student with random
            weights needs none.
        balance: What adapts the weights of the losses to each other while it trains (`uncertainty`, `gradnorm`); null
            leaves them as they are.
        augment: Random changes of its training inputs.
        train: Its training.
        weights: `random` leaves a network as it was initialised. Such a teacher is a control, which has learnt nothing
            to teach; such a student, without a teacher, is what transfer alone is measured against. A teacher can also
            be a file: the path of a safetensors file, or of the folder of a run or of a teacher that holds one.
        initial_weights: What its training begins with instead of random weights: a file or a folder as for `weights`,
            of the same network, such as one that was trained on pairs without labels and is now given some.
        pairing: `shuffled` shows the teacher other trials of the student's batch, and losses on series those of the
            same other trials: a control, without a trial in common.
        seeds: A teacher of so many networks, each with its own draws; they are an ensemble.
        drop_sources: Chance that a source of a trial is missing in training: its input is zero, as where it is missing
            at test. One source of every trial stays.
        folds: A teacher of so many networks, each trained without one fold of the training part, which it then teaches:
            no trial is taught by a network that saw it (cross-fitting). The folds keep to the protocol's subjects.
        joint: A teacher that trains together with the student, `train: joint` in a recipe: in the same steps, by the
            student's settings, its losses comparing with the student. It is no frozen teacher and is not shared.
    """

    # What a form of writing lacks is left out of what is written, so that runs keep their names.
    modality: Literal["sensors", "video"] | None = Field(default=None, exclude_if=lambda value: value is None)
    sensors: tuple[str, ...] | None = None
    representation: PartSpec | None = Field(default=None, exclude_if=lambda value: value is None)
    encoder: PartSpec | None = Field(default=None, exclude_if=lambda value: value is None)
    pooling: PartSpec | None = Field(default=None, exclude_if=lambda value: value is None)
    branches: dict[str, BranchSpec] | None = Field(default=None, exclude_if=lambda value: value is None)
    fusion: PartSpec = PartSpec(name="none")
    head: Head | None = Field(default=None, exclude_if=lambda head: head is None)
    losses: dict[str, LossTerm]
    # Left out of what is written where there is none, so that such recipes keep the names of their runs.
    balance: PartSpec | None = Field(default=None, exclude_if=lambda balance: balance is None)
    augment: Augment = Augment()
    train: Train
    weights: str | None = Field(default=None, exclude_if=lambda weights: weights is None)
    initial_weights: str | None = Field(default=None, exclude_if=lambda weights: weights is None)
    pairing: Literal["shuffled"] | None = Field(default=None, exclude_if=lambda pairing: pairing is None)
    seeds: int | None = Field(default=None, ge=2, le=100, exclude_if=lambda seeds: seeds is None)
    joint: bool = Field(default=False, exclude_if=lambda joint: not joint)
    drop_sources: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda share: not share)
    folds: int | None = Field(default=None, ge=2, le=1000, exclude_if=lambda folds: folds is None)

    @field_validator("losses", "branches", mode="before")
    @classmethod
    def _without_removed(cls, entries: Any) -> Any:
        return kept(entries)

    @field_validator("branches")
    @classmethod
    def _plain_names(cls, branches: dict[str, BranchSpec] | None) -> dict[str, BranchSpec] | None:
        for name in branches or {}:
            if not NAME_OF_A_BRANCH.fullmatch(name):
                raise ValueError(f"branches: {name!r} is no name: expected letters, digits, _ and -")
        return branches

    @model_validator(mode="after")
    def _sees_in_one_way(self) -> NetworkSpec:
        short = {key: getattr(self, key) for key in SHORTHAND}
        if self.branches is None:
            for key in REQUIRED_SHORTHAND:
                if short[key] is None:
                    raise ValueError(f"{key} is missing: give modality, representation and encoder, or branches")
            return self
        if not self.branches:
            raise ValueError(
                "branches is empty, and a network sees something: name a branch, or give modality, representation "
                "and encoder"
            )
        if beside := [key for key, value in short.items() if value is not None]:
            raise ValueError(f"branches stand beside {', '.join(beside)}, which have no effect: choose one form")
        self._augments_each_source_in_one_way()
        return self

    @model_validator(mode="after")
    def _changes_series_for_who_sees_them(self) -> NetworkSpec:
        own = {f"branches.{name}.augment": ([b], b.augment) for name, b in (self.branches or {}).items() if b.augment}
        whole = [branch for branch in self.kinds if branch.augment is None]
        for where, (branches, augment) in {**own, "augment": (whole, self.augment)}.items():
            if not all(is_video(branch.sees) for branch in branches):
                continue
            if augment.turn_deg > 0:
                raise ValueError(
                    f"{where}.turn_deg has no effect: it turns joints, and none are seen there; leave it 0"
                )
            for key in ("axis_scale", "axis_drop"):
                if getattr(augment, key) > 0:
                    raise ValueError(
                        f"{where}.{key} has no effect: it changes axes of series, and none are seen there; leave it 0"
                    )
        return self

    def _augments_each_source_in_one_way(self) -> None:
        changes: dict[str, Augment] = {}
        for name, branch in (self.branches or {}).items():
            own = branch.augment or self.augment
            if changes.setdefault(branch.sees, own) != own:
                raise ValueError(
                    f"branches.{name}.augment: another branch sees {branch.sees} changed otherwise; give both one "
                    "augment"
                )

    @model_validator(mode="after")
    def _one_reason_for_several_networks(self) -> NetworkSpec:
        if self.joint and (self.seeds or self.folds or self.weights):
            raise ValueError(
                "train = joint: a teacher that trains with the student has no seeds, folds or weights; leave them out"
            )
        if self.seeds is not None and self.folds is not None:
            raise ValueError("seeds and folds: choose one, an ensemble or cross-fitting")
        if self.weights is not None and (self.seeds or self.folds):
            raise ValueError(
                f"weights = {self.weights} leaves nothing that seeds or folds would change; leave them out"
            )
        return self

    @model_validator(mode="after")
    def _begins_with_one_thing(self) -> NetworkSpec:
        if self.initial_weights is None:
            return self
        if self.weights is not None:
            raise ValueError(
                f"initial_weights have no effect: weights = {self.weights} leaves nothing to train; leave one of the "
                "two out"
            )
        if self.joint:
            raise ValueError(
                "train = joint: a teacher that trains with the student begins with random weights; leave "
                "initial_weights out"
            )
        if any(branch.encoder.params.get("weights", RANDOM) != RANDOM for branch in self.kinds):
            raise ValueError("initial_weights take the place of encoder.weights: choose one of the two")
        return self

    @model_validator(mode="after")
    def _one_way_to_the_head(self) -> NetworkSpec:
        if self.head is not None and any(branch.pooling is not None for branch in self.kinds):
            raise ValueError(
                "head: one that is taken over is given the mean of the last map, so pooling has no effect; leave it out"
            )
        return self

    @property
    def is_untrained(self) -> bool:
        """Whether it keeps the weights that it was initialised with."""
        return self.weights == RANDOM

    @property
    def weights_file(self) -> Path | None:
        """The file that its weights come from; None where it is trained, or left untrained."""
        return None if self.weights is None or self.is_untrained else _file_of(self.weights)

    @property
    def initial_file(self) -> Path | None:
        """The file that its training begins with; None where it begins with random weights."""
        return None if self.initial_weights is None else _file_of(self.initial_weights)

    @property
    def files(self) -> dict[str, Path]:
        """The files that it takes weights from, by the key that names each."""
        named = {"weights": self.weights_file, "initial_weights": self.initial_file}
        return {key: path for key, path in named.items() if path is not None}

    @model_validator(mode="after")
    def _has_loss(self) -> NetworkSpec:
        if not self.losses and self.weights is None:
            raise ValueError("at least one loss is needed, for example losses: {ce: {weight: 1}}")
        return self

    @model_validator(mode="after")
    def _sensors_for_who_sees_them(self) -> NetworkSpec:
        if self.sensors is not None and self.modality == "video":
            raise ValueError(
                f"sensors = {list(self.sensors)} has no effect: the network sees {self.modality}; leave it out"
            )
        return self

    def branches_for(self, sensors: Iterable[str]) -> dict[str, BranchSpec]:
        """Every branch by its name, whichever way they are written; see `NetworkSpec`.

        Args:
            sensors: The data set's.

        Raises:
            UsageError: A branch is called as a sensor that another one sees as `sensors`.
        """
        if self.branches is not None:
            return self._spread(sensors)
        assert self.representation is not None
        assert self.encoder is not None
        sees = (VIDEO,) if self.modality == VIDEO else (self.sensors or tuple(sensors))
        return {
            name: BranchSpec(sees=name, representation=self.representation, encoder=self.encoder, pooling=self.pooling)
            for name in sees
        }

    def _spread(self, sensors: Iterable[str]) -> dict[str, BranchSpec]:
        """`branches`, with a branch for each sensor in place of the one that sees `sensors`."""
        written = self.branches or {}
        named = {branch.sees for branch in written.values()}
        others = [sensor for sensor in sensors if sensor not in named and not is_video(sensor)]
        if any(branch.sees == SENSORS for branch in written.values()) and (twice := sorted({*others} & {*written})):
            raise UsageError(
                f"branches: {twice[0]} is the name of a branch and of a sensor that another branch sees as `sensors`",
                hint="Give the branch another name.",
            )
        return {
            each: branch.model_copy(update={"sees": each}) if branch.sees == SENSORS else branch
            for name, branch in written.items()
            for each in (others if branch.sees == SENSORS else [name])
        }

    @property
    def kinds(self) -> tuple[BranchSpec, ...]:
        """A branch of each kind that the recipe writes: all `branches`, or one that stands for those of the shorthand.

        What the one of the shorthand sees is the modality instead of a source.
        """
        # Named sensors would be a branch each, where one is to stand for all.
        whole = self if self.sensors is None else self.model_copy(update={"sensors": None})
        return tuple((whole.branches or whole.branches_for((SENSORS,))).values())

    def sees(self, sensors: Iterable[str]) -> tuple[str, ...]:
        """What the network sees, each source once, in the order of its branches.

        Args:
            sensors: The data set's.
        """
        return tuple(dict.fromkeys(branch.sees for branch in self.branches_for(sensors).values()))

    def shows(self, modality: str) -> bool:
        """Whether it sees any of `sensors` (or a skeleton), or of `video`."""
        return any(is_video(branch.sees) == (modality == VIDEO) for branch in self.kinds)

    @property
    def sees_video_alone(self) -> bool:
        """Whether it sees no sensor and no skeleton."""
        return not self.shows(SENSORS)

    def architecture(self) -> dict[str, Any]:
        """What it sees and how, as the conditions of a result hold it."""
        written = ("branches",) if self.branches is not None else ("representation", "encoder", "pooling")
        whole = self.model_dump(mode="json")
        return {key: whole[key] for key in (*written, "fusion", "head") if key in whole}

    def changes(self, sensors: Iterable[str]) -> dict[str, Augment]:
        """The random changes of its sources in training that a branch has of its own, by source.

        Args:
            sensors: The data set's.
        """
        own = {branch.sees: branch.augment for branch in self.branches_for(sensors).values()}
        return {source: augment for source, augment in own.items() if augment is not None}

    def with_encoders(self, change: Callable[[PartSpec], PartSpec]) -> NetworkSpec:
        """A copy with other encoders.

        Args:
            change: What becomes of an encoder.
        """
        if self.encoder is not None:
            return self.model_copy(update={"encoder": change(self.encoder)})
        branches = {
            name: branch.model_copy(update={"encoder": change(branch.encoder)})
            for name, branch in (self.branches or {}).items()
        }
        return self.model_copy(update={"branches": branches})

    def parts(self) -> Iterator[tuple[str, PartSpec]]:
        """Kind and part of every branch, and the fusion."""
        for branch in self.kinds:
            yield "representation", branch.representation
            yield "encoder", branch.encoder
            if branch.pooling is not None:
                yield "pooling", branch.pooling
        yield "fusion", self.fusion
