"""What the phases of a run share, built from the names that a user gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from kdbench.data.card import Card, load_card
from kdbench.data.loader import Loader
from kdbench.data.splits import Split, protocol_names, rule_of, split
from kdbench.data.tracks import Supervision
from kdbench.engine.declared import read_class_names
from kdbench.engine.device import build_accelerator, device_kind, fixed_threads, threads_on
from kdbench.engine.heads import freeze_head, taken_width
from kdbench.engine.loop import Record
from kdbench.engine.loss_building import check_parameters
from kdbench.engine.objective import Objective, declared_needs, reads_labels
from kdbench.engine.pairing import Pairing
from kdbench.errors import DataError, UsageError
from kdbench.network import Network, build_network, unfetched
from kdbench.network.sharing import ALONE, Processes
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import Recipe, key_of
from kdbench.runs import provenance
from kdbench.runs.refusals import (
    refuse_chosen_on_test,
    refuse_leaking_sensors,
    refuse_trained_on_test,
    without_video,
)
from kdbench.runs.request import RunRequest
from kdbench.runs.sources import open_for, with_sources_as_seen
from kdbench.runs.spec import RunSpec
from kdbench.runs.teacher_part import TeacherPart
from kdbench.runs.unlabelled import for_track
from kdbench.semantic_spaces.base import LabelVectors, load
from kdbench.text.redaction import redacted
from kdbench.types import SENSORS, VIDEO, Context, is_video
from kdbench.util.progress import Reporter
from kdbench.util.seeds import seed_for

# Parts up to this size stay in memory, on the GPU where there is one; larger ones stream from the memory map.
MEMORY_BYTES = 512 << 20


@dataclass
class RunContext:
    """What both phases of a run share.

    Attributes:
        run_spec: What the run is a run of.
        accelerator: Device and precision.
        reporter: Shows the progress.
        on_epoch: Called with each epoch's record.
        warnings: Lines that the result repeats.
        validates: Whether a run that reports the validation part is also measured on it after each epoch.
        tags: Further labels of the run's mirror in MLflow.
        name: What tables call the run, as the user said; None where nothing was said.
        member: Number of the member of an ensemble whose draws are made, from 0.
        processes: Those that train it together.
    """

    run_spec: RunSpec
    accelerator: Accelerator
    reporter: Reporter
    on_epoch: Callable[[Record], None] = lambda _record: None
    warnings: list[str] = field(default_factory=list)
    validates: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    member: int = 0
    processes: Processes = ALONE

    def for_part(self, part: TeacherPart) -> RunContext:
        """The same run as one network of a teacher sees it: a further member of an ensemble has draws of its own."""
        return self if part.member == self.member else dataclasses.replace(self, member=part.member)

    @property
    def split(self) -> Split:
        """Trial ids of each part."""
        return self.run_spec.split

    @property
    def supervision(self) -> Supervision:
        """What the track leaves of the training part's labels and pairs."""
        return self.run_spec.supervision

    @property
    def label_vectors(self) -> LabelVectors | None:
        """Vectors of the class names, where a loss needs them."""
        return self.run_spec.label_vectors

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.run_spec.dataset.card.class_names

    @property
    def pairing(self) -> Pairing:
        """Names that seeds derive from."""
        seed = self.run_spec.seed
        seed = seed_for("member", seed, self.member) if self.member else seed
        return Pairing(self.run_spec.dataset.card.name, self.run_spec.protocol, seed)

    def warn(self, text: str) -> None:
        """Shows a warning and keeps it for the result; passwords and tokens in it are masked."""
        text = redacted(text)
        if text not in self.warnings:
            self.warnings.append(text)
        self.reporter.warn(text)

    def loader(
        self,
        trials: tuple[str, ...],
        *specs: NetworkSpec,
        labelled: tuple[str, ...] | None = None,
        trained: Sequence[NetworkSpec] = (),
    ) -> Loader:
        """A loader of some trials with what networks see, and the labels of all or of some of them.

        Args:
            trials: The trials.
            *specs: The networks.
            labelled: As for `Loader`.
            trained: Those of them that are trained: what their losses read comes along.
        """
        dataset, data = self.run_spec.dataset, self.run_spec.recipe.data
        sources = {source for spec in specs for source in self.run_spec.shows(spec)}
        sources |= {source for spec in trained for source in self.run_spec.reads(spec)}
        channels = sum(dataset.sources[source] for source in sources if is_video(source))
        size = len(trials) * data.frames * data.frame_size**2 * channels
        return Loader(
            dataset,
            trials,
            device=self.accelerator.device,
            series_length=data.series_length,
            sources=sources,
            in_memory=size <= MEMORY_BYTES,
            labelled=labelled,
        )

    def reported_trials(self, spec: NetworkSpec | None = None) -> tuple[str, ...]:
        """The part that the result is about.

        Args:
            spec: A network, for those trials alone that have all that it sees; a teacher may lack some.

        Raises:
            DataError: None has.
        """
        part = self.run_spec.recipe.selection.part
        trials = self.split.test if part == "test" else self.split.validation
        if spec is None or not trials:
            return trials
        seen = self.run_spec.having(trials, spec)
        if not seen:
            dataset = self.run_spec.dataset
            raise DataError(
                f"no trial of the {part} part of '{dataset.card.name}' has what the teacher sees: "
                f"{', '.join(self.run_spec.sees(spec))}",
                hint=f"See who has what: kdbench data who {dataset.card.typed}",
            )
        return seen

    def leaks(self, spec: NetworkSpec) -> bool:
        """Whether a network has seen in training what it is reported on: sensors, where the protocol lets them leak."""
        rule = rule_of(self.run_spec.dataset.card, self.run_spec.protocol)
        return spec.shows(SENSORS) and rule.sensors_leak and self.run_spec.recipe.selection.part == "test"

    def build(self, phase: str, spec: NetworkSpec, key: str | None = None) -> Network:
        """Builds a network whose initial weights depend on the seed and its own parts alone.

        Args:
            phase: `teacher` or `student`.
            spec: Its recipe.
            key: Its key in the recipe, for messages; by default the phase.
        """
        semantic = None
        if "semantic" in declared_needs(spec.losses) and self.label_vectors is not None:
            semantic = self.label_vectors.vectors.shape[1]
        torch.manual_seed(self.pairing.seed_of("initialisation", phase))
        key = key or phase
        network = self.built(key, spec, semantic=semantic, groups=self._groups_for(key, spec))
        return network.to(self.accelerator.device)

    def built(self, phase: str, spec: NetworkSpec, *, semantic: int | None, groups: int | None) -> Network:
        """Builds a network for the run's sources and classes; the caller seeds.

        Args:
            phase: `teacher` or `student`.
            spec: The network's recipe.
            semantic: As for `build_network`.
            groups: As for `build_network`.
        """
        dataset = self.run_spec.dataset
        network = build_network(
            spec,
            sources=self.run_spec.sources(spec),
            classes=len(self.classes),
            semantic=semantic,
            groups=groups,
            role=phase,
            view=dataset.view,
            skeletons={name: skeleton.graph for name, skeleton in dataset.card.skeletons.items()},
            head_width=None if spec.head is None else self._head_width(phase),
        )
        return network if spec.head is None else freeze_head(network, phase)

    def _head_width(self, phase: str) -> int:
        """Width of the embedding that the teacher's classifier takes.

        Raises:
            UsageError: The teacher has several heads, or none on the mean of its last map.
        """
        ((name, spec),) = self.run_spec.recipe.all_teachers.items()
        with torch.random.fork_rng(devices=[]):
            heads = self.built(key_of(name), unfetched(spec), semantic=None, groups=None).widths
        return taken_width(heads, phase)

    def _groups_for(self, phase: str, spec: NetworkSpec) -> int | None:
        """Number of groups of classes that a network's group heads tell apart; None where no loss needs them.

        Raises:
            UsageError: A loss needs groups and the data set's card has less than two.
        """
        needing = [name for name in spec.losses if "group_logits" in declared_needs([name])]
        if not needing:
            return None
        card = self.run_spec.dataset.card
        if len(card.group_names) < 2:
            extent = f"only the group '{card.group_names[0]}'" if card.group_names else "no groups"
            raise UsageError(
                f"{phase}.losses.{needing[0]} tells groups of similar classes apart, and the classes of {card.name} "
                f"have {extent} (actions that are left out are not counted)",
                hint=f"Give each class a group in {card.folder / 'card.yaml'}, two or more in all: "
                f"{{name: …, short: …, group: …}}; or do without: --set {phase}.losses.{needing[0]}=null",
            )
        return len(card.group_names)

    def objective(
        self,
        phase: str,
        spec: NetworkSpec,
        network: Network,
        teachers: Sequence[tuple[str, Network]] = (),
        key: str | None = None,
        loader: Loader | None = None,
    ) -> Objective:
        """Builds the losses of a phase.

        Args:
            phase: `teacher` or `student`.
            spec: The recipe of the network in training.
            network: The network in training.
            teachers: Name and network of each teacher, one entry a member of an ensemble.
            key: Key of the network in training in the recipe, for messages; by default the phase.
            loader: Its training part, which tells the scale of series that losses read; without it they are taken as
                standardised, which does for losses that train nothing.
        """
        context = Context(
            classes=len(self.classes),
            student=network.widths[0],
            teachers=tuple(widths for _, teacher in teachers for widths in teacher.widths),
            teacher_names=tuple(name for name, teacher in teachers for _ in teacher.widths),
            label_vectors=self.label_vectors.vectors if self.label_vectors else None,
            train_size=len(self.split.train),
            groups=torch.tensor(groups) if (groups := self.run_spec.dataset.card.class_groups) else None,
            student_classifiers=tuple(network.classifiers),
            student_projections=network.fusion.shared_projections,
            teacher_head=spec.head is not None,
            teacher_classifiers=tuple(layer for _, teacher in teachers for layer in teacher.classifiers),
            series={source: self._scale_of(source, loader) for source in self.run_spec.reads(spec)},
        )
        if phase == "student" and self.run_spec.recipe.track.labels != "all":
            _refuse_undeclared(spec)
        torch.manual_seed(self.pairing.seed_of("objective", phase))
        objective = Objective(spec.losses, context, owner=key or phase, balance=spec.balance, heads=network.widths)
        if spec.train.optimizer is not None and spec.train.optimizer.name == "dot":
            objective.check_apart(f"{key or phase}.train.optimizer")
            if self.run_spec.recipe.joint_teachers:
                raise UsageError(
                    f"{key or phase}.train.optimizer: dot knows one network's gradients, and a teacher trains along",
                    hint="Choose a method whose teacher is trained first, or SGD: --set student.train.optimizer=sgd",
                )
        network.shielded = objective.shields
        return objective.to(self.accelerator.device)

    def _scale_of(self, source: str, loader: Loader | None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each axis of a series, over the trials that have their sensors."""
        if loader is None:
            axes = self.run_spec.dataset.sources[source]
            return torch.zeros(axes), torch.ones(axes)
        paired = frozenset(self.supervision.paired)
        places = [place for place, trial in enumerate(loader.trials) if trial in paired]
        series = loader.all_series(source)[places].transpose(0, 1).flatten(1)
        return series.mean(1), series.std(1, correction=0)


def _refuse_undeclared(spec: NetworkSpec) -> None:
    """Losses that may read labels where there are none."""
    for name in spec.losses:
        if reads_labels(name) is None:
            raise UsageError(
                f"student.losses.{name} takes the batch and does not say what it does with labels, and in this track "
                "not every trial has one",
                hint=f"Declare it: @loss('{name}', …, labels='needed'), or 'optional', or 'unused'.",
            )


def context_for(
    request: RunRequest,
    reporter: Reporter | None = None,
    *,
    shown: bool = True,
    look_ahead: bool = False,
    processes: Processes = ALONE,
) -> RunContext:
    """Resolves the recipe, opens the data and cuts the parts; trains nothing.

    Args:
        request: The run.
        reporter: Is told what was chosen, and shows the progress of the run.
        shown: Whether the preparing of data shows its progress.
        look_ahead: As in `spec_for`.
        processes: Those that make the run together, as this one of them sees them.

    Raises:
        UsageError: Names or values that do not exist, do not fit together, or have no effect.
        DataError: Data that are missing or broken.
    """
    reporter = reporter or Reporter()
    request = settled(request, reporter)
    accelerator = build_accelerator(request.device, request.recipe.precision, processes.count)
    spec = spec_for(request, reporter, shown=shown, look_ahead=look_ahead)
    return RunContext(spec, accelerator, reporter, name=request.name, processes=processes)


def settled(request: RunRequest, reporter: Reporter) -> RunRequest:
    """The request at a preset of its own in place of `auto`, of which the reporter is told."""
    preset = choose_preset(request.preset, request.device, reporter)
    return request if preset == request.preset else dataclasses.replace(request, preset=preset)


def spec_for(
    request: RunRequest, reporter: Reporter | None = None, *, shown: bool = True, look_ahead: bool = False
) -> RunSpec:
    """What a run would be a run of; opens the data and no device. The preset may not be `auto`.

    With `look_ahead` it prepares no data; where they are not prepared, its folder has no meaning.
    """
    reporter = reporter or Reporter()
    kind = device_kind(request.device)
    threads = threads_on(kind, request.threads)
    recipe, left_out = for_track(request.recipe)
    for phase, spec in recipe.by_key.items():
        for name, term in spec.losses.items():
            check_parameters(name, term.params, f"{phase}.losses.{name}")
    if recipe.sees(VIDEO) and not load_card(request.dataset).views:
        raise without_video(request.method, request.dataset)
    data = open_for(
        recipe,
        request.dataset,
        video=request.video,
        data_dir=request.data_dir,
        exclude_broken=request.exclude_broken,
        progress=shown,
        look_ahead=look_ahead,
    )
    recipe = with_sources_as_seen(recipe, data)
    protocol = request.protocol or protocol_names(data.card)[0]
    refuse_leaking_sensors(recipe, data.card, protocol)
    parts = split(data.card, data.index, protocol, validation=recipe.selection.needs_validation, seed=request.seed)
    refuse_chosen_on_test(recipe, data.card, data.index, protocol, parts)
    refuse_trained_on_test(recipe, data.card, data.index, protocol, parts)
    with fixed_threads(threads):
        vectors = _label_vectors(recipe, data.card)
    plugins = tuple(provenance.of_method(request.method))
    return RunSpec(
        recipe,
        data,
        protocol,
        request.preset,
        request.seed,
        parts,
        kind,
        threads,
        vectors,
        plugins,
        left_out,
        request.processes or 1,
    )


def choose_preset(preset: str, device: str, reporter: Reporter) -> str:
    """Resolves `auto`, and says how."""
    if preset != "auto":
        return preset
    has_gpu = torch.cuda.is_available() and device != "cpu"
    chosen, why = ("paper", "there is a GPU") if has_gpu else ("small", "no GPU is used")
    reporter.message(f"preset {chosen}: {why} (--preset paper|small|smoke chooses)")
    return chosen


def _label_vectors(recipe: Recipe, card: Card) -> LabelVectors | None:
    return load(recipe.semantics, card) if read_class_names(recipe.losses) else None
