"""What a run is a run of: method × dataset × protocol × preset × seed, and what makes two of them equal."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from kdbench.data.folds import folds_of
from kdbench.data.splits import Split, split
from kdbench.data.store.open import Dataset
from kdbench.data.tracks import Supervision, supervise
from kdbench.engine.declared import read_class_names, series_read
from kdbench.engine.objective import declared_needs
from kdbench.errors import UsageError
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.pairs import title_of
from kdbench.recipes.schema import SEARCHED, Recipe, key_of
from kdbench.representations.native import takes_native
from kdbench.runs import libraries, provenance
from kdbench.runs.teacher_part import TeacherPart
from kdbench.semantic_spaces.base import LabelVectors
from kdbench.text.wording import counted
from kdbench.types import VIDEO, is_video, native

TRACK = "track"


@dataclass(frozen=True)
class RunSpec:
    """What a run is a run of.

    Attributes:
        recipe: The method as resolved.
        dataset: The prepared data.
        protocol: Name of the split.
        preset: Name of the size.
        seed: The run's seed.
        split: The trials of each part, as the protocol's rule cut them.
        device: `cpu` or `cuda`.
        threads: Threads that it computes in on a CPU; None on a GPU.
        label_vectors: Vectors of the class names, where a loss needs them.
        recipe_plugins: The plugins that the method's recipes come from.
        left_out: What the track left out of the recipe, a line each.
        processes: How many make it together; a condition, and no part of its name: one goes on with another number.
    """

    recipe: Recipe
    dataset: Dataset
    protocol: str
    preset: str
    seed: int
    split: Split
    device: str
    threads: int | None
    label_vectors: LabelVectors | None = None
    recipe_plugins: tuple[provenance.Record, ...] = ()
    left_out: tuple[str, ...] = ()
    processes: int = 1

    @property
    def method(self) -> str:
        """The method, by its name of today."""
        return self.recipe.method

    @property
    def title(self) -> str:
        """The method with its teacher, in one line."""
        return title_of(self.recipe.method, self.recipe.taught_by)

    def at_seed(self, seed: int) -> RunSpec:
        """The same with another seed, on which the validation part may depend."""
        validates = self.recipe.selection.needs_validation
        parts = split(self.dataset.card, self.dataset.index, self.protocol, validation=validates, seed=seed)
        return dataclasses.replace(self, seed=seed, split=parts)

    @functools.cached_property
    def supervision(self) -> Supervision:
        """What the track leaves of the training part's labels and pairs."""
        data = self.dataset
        return supervise(
            data.card, data.index, self.split.train, self.protocol, self.recipe.track, self.seed, self._unpaired()
        )

    def _unpaired(self) -> tuple[str, ...]:
        """Training trials that were recorded without what a teacher sees, or a loss reads."""
        needed = {source for spec in self.recipe.all_teachers.values() for source in self.sees(spec)}
        needed |= {source for spec in self.recipe.networks for source in self.reads(spec)}
        unpaired = self._lacking(self.split.train, needed) if needed else ()
        if unpaired and (joint := next(iter(self.recipe.joint_teachers), None)) is not None:
            raise UsageError(
                f"{key_of(joint)} trains together with the student, and {counted(len(unpaired), 'training trial')} "
                f"of '{self.dataset.card.name}' ({unpaired[0]}, …) lack what it sees",
                hint="Let the teacher be trained first (train: joint trains it along), or leave those trials out of "
                "the data set's folder.",
            )
        return unpaired

    def _lacking(self, trials: tuple[str, ...], sources: Collection[str]) -> tuple[str, ...]:
        return tuple(trial for trial in trials if not self.dataset.lacks(trial).isdisjoint(sources))

    def having(self, trials: tuple[str, ...], spec: NetworkSpec) -> tuple[str, ...]:
        """Those of some trials that have all that a network sees."""
        lacking = frozenset(self._lacking(trials, self.sees(spec)))
        return tuple(trial for trial in trials if trial not in lacking) if lacking else trials

    def incomplete(self) -> list[str]:
        """What a result has to say of trials that were recorded without one of the sources, a line each."""
        lines, lacking = [], self.dataset.lacking
        if lacking:
            reasons = ", ".join(sorted(set(lacking.values())))
            lines.append(f"{counted(len(lacking), 'trial')} of '{self.dataset.card.name}' cannot be used: {reasons}")
        if unpaired := self._unpaired():
            lines.append(
                f"{len(unpaired)} of {counted(len(self.split.train), 'training trial')} lack what the teacher sees: "
                "the student learns from their labels alone"
            )
        return lines

    @functools.cached_property
    def teacher_parts(self) -> tuple[TeacherPart, ...]:
        """Every network of every teacher that is trained first, in the order in which losses see them."""
        parts = []
        for name, spec in self.recipe.all_teachers.items():
            if spec.joint:
                continue
            for number in range(spec.seeds or spec.folds or 1):
                folded = {"fold": number} if spec.folds else {"member": number}
                parts.append(TeacherPart(name, spec, **folded))
        return tuple(parts)

    @property
    def teacher_trials(self) -> tuple[str, ...]:
        """The trials that teachers may be trained on."""
        track = self.recipe.track
        return self.supervision.labelled if track.teacher_labels == "same" else self.supervision.paired

    def trials_of(self, part: TeacherPart) -> tuple[str, ...]:
        """The trials that one network of a teacher is trained on."""
        if part.fold is None:
            return self.teacher_trials
        folds = self.folds(part.spec.folds or 1)
        return tuple(trial for trial in self.teacher_trials if folds[trial] != part.fold)

    def draws_of(self, part: TeacherPart) -> int:
        """Trials of an epoch of one network of a teacher: more than it has where its track repeats them."""
        trials = self.trials_of(part)
        if self.recipe.track.teacher_steps == "own":
            return len(trials)
        return len(self.split.train) * len(trials) // len(self.teacher_trials)

    def folds(self, count: int) -> dict[str, int]:
        """The fold of each trial that teachers may be trained on."""
        data = self.dataset
        return folds_of(data.card, data.index, self.teacher_trials, self.protocol, count, self.seed)

    def sees(self, spec: NetworkSpec) -> tuple[str, ...]:
        """What a network of the run sees, each source by one name and once."""
        return tuple(dict.fromkeys(self.dataset.source(name) for name in spec.sees(self.dataset.sensors)))

    def shows(self, spec: NetworkSpec) -> tuple[str, ...]:
        """The same, by the names that a batch has for it: `native:NAME` of a series at its native length."""
        branches = spec.branches_for(self.dataset.sensors).values()
        sources = ((self.dataset.source(branch.sees), branch.representation) for branch in branches)
        return tuple(dict.fromkeys(native(name) if takes_native(part) else name for name, part in sources))

    def reads(self, spec: NetworkSpec) -> tuple[str, ...]:
        """The sensors and skeletons whose raw series the losses of a network read, each once."""
        return series_read(spec.losses, (*self.dataset.card.sensors, *self.dataset.card.skeletons))

    def sources(self, spec: NetworkSpec) -> dict[str, int]:
        """Raw channels of what a network of the run sees, by its own names of the sources."""
        return {name: self.dataset.sources[self.dataset.source(name)] for name in spec.sees(self.dataset.sensors)}

    def _beside(self, *specs: NetworkSpec | None, read: bool = False) -> dict[str, Any]:
        """Fingerprints of what networks see beside the sensors and the view; nothing where that is nothing.

        With `read`, also of what their losses read.
        """
        given = [spec for spec in specs if spec is not None]
        seen = {name for spec in given for name in (*self.sees(spec), *(self.reads(spec) if read else ()))}
        prints = {
            name: other.fingerprint if is_video(name) else other.series_fingerprint
            for name, other in self.dataset.beside.items()
            if name in seen
        }
        return {"sources": prints} if prints else {}

    @property
    def folder(self) -> str:
        """Name of the run's folder: readable parts, then a hash of everything that its numbers depend on."""
        track = [self.recipe.track.slug] if self.recipe.track.slug else []
        parts = (self.recipe.name, self.dataset.card.name, self.protocol, self.preset, *track, f"s{self.seed}")
        return f"{'-'.join(re.sub(r'[^A-Za-z0-9_.]', '_', part) for part in parts)}-{_hash(self._key())}"

    def teacher_folder(self, part: TeacherPart) -> str:
        """Name of the folder of a teacher's network; equal for all methods that use the same one."""
        parts = (self.dataset.card.name, self.protocol, self.preset, f"s{self.seed}")
        return f"{'-'.join(parts)}-{_hash(self._teacher_key(part))}"

    @property
    def teacher_folders(self) -> tuple[str, ...]:
        """Names of the folders of all networks of its teachers."""
        return tuple(self.teacher_folder(part) for part in self.teacher_parts)

    @property
    def identity(self) -> str:
        """Hash of what the run is, but for the versions of the libraries."""
        return _hash({key: value for key, value in self._key().items() if key != "libraries"})

    def _shared_key(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "dataset": self.dataset.card.name,
            "protocol": self.protocol,
            "split": self.split.fingerprint,
            "preset": self.preset,
            "seed": self.seed,
            "rule": recipe.selection.rule,
            "precision": recipe.precision,
            "compile": recipe.compile,
            "device": self.device,
            "threads": self.threads,
        }

    def libraries(self, *specs: NetworkSpec | None) -> dict[str, str]:
        """Versions of the libraries that the numbers of some networks depend on; by default those of all."""
        used = [spec for spec in specs or self.recipe.networks if spec is not None]
        parts = [part for spec in used for part in provenance.parts_of(spec)]
        semantics = [("semantics", self.recipe.semantics.name)] if self._vectors(*used) else []
        probes = [("probe", "linear")] if self.recipe.track.is_transfer_alone and not specs else []
        views, view = self.dataset.card.views, self.dataset.view
        shown = views[view].file if view in views and any(spec.shows(VIDEO) for spec in used) else None
        return libraries.used_by([self._reader, *semantics, *parts, *probes], shown)

    def _vectors(self, *specs: NetworkSpec | None) -> str | None:
        names = [name for spec in specs if spec is not None for name in spec.losses]
        if self.label_vectors is None or not read_class_names(names):
            return None
        return hashlib.sha256(self.label_vectors.vectors.numpy().tobytes()).hexdigest()

    def _groups(self, *specs: NetworkSpec | None) -> dict[str, Any]:
        """The groups of classes where a loss needs them, else nothing, so that other runs keep their names."""
        names = [name for spec in specs if spec is not None for name in spec.losses]
        return {"groups": self.dataset.card.class_groups} if "group_logits" in declared_needs(names) else {}

    def plugins(self) -> list[provenance.Record]:
        """Every part, recipe and data set of the run that kdbench does not ship."""
        parts = [part for spec in self.recipe.networks for part in provenance.parts_of(spec)]
        semantics = [("semantics", self.recipe.semantics.name)] if self.label_vectors is not None else []
        return [*self.recipe_plugins, *provenance.of_parts([self._reader, *semantics, *parts])]

    @property
    def _reader(self) -> tuple[str, str]:
        return "dataset", self.dataset.card.reader

    def _plugins(self, *specs: NetworkSpec | None) -> dict[str, Any]:
        """The plugins behind numbers, where there are any: with another source they are another run's."""
        parts = [part for spec in specs if spec is not None for part in provenance.parts_of(spec)]
        found = provenance.of_parts([self._reader, *parts])
        return {"plugins": found} if found else {}

    def _key(self) -> dict[str, Any]:
        specs = (self.recipe.teacher, self.recipe.student, *self.recipe.teachers.values())
        return self._shared_key() | {
            "recipe": self.recipe.model_dump(exclude={"summary", "source", "semantics"}),
            "fingerprint": self.dataset.fingerprint,
            "label_vectors": self._vectors(*specs),
            "weights": [provenance.weights_sha256(spec) for spec in specs],
            **self._groups(*specs),
            **self._beside(*specs, read=True),
            **self._plugins(*specs),
            **({"tuning": self.recipe.tuning.model_dump()} if self.recipe.tuning else {}),
            **({} if self.recipe.track.is_whole else {"supervision": dataclasses.asdict(self.supervision)}),
            "libraries": self.libraries(),
        }

    def _teacher_key(self, part: TeacherPart) -> dict[str, Any]:
        teacher = part.spec
        # An oracle chooses the epoch of the reported network; a student's teacher is the one of every other run.
        shared = {"rule": "last"} if self.recipe.selection.is_oracle and self.recipe.student else {}
        key = self._shared_key() | {
            **shared,
            "teacher": teacher.model_dump(exclude={"seeds", "folds"}),
            **({"member": part.member} if part.member else {}),
            "series_length": self.recipe.data.series_length,
            "fingerprint": self.dataset.series_fingerprint,
            "label_vectors": self._vectors(teacher),
            "weights": provenance.weights_sha256(teacher),
            **self._groups(teacher),
            **self._beside(teacher, read=True),
            **self._plugins(teacher),
            "libraries": self.libraries(teacher),
        }
        if (trials := self.trials_of(part)) != self.split.train:
            key |= {"trials": trials}
        if (draws := self.draws_of(part)) != len(trials):
            key |= {"draws": draws}
        if teacher.shows(VIDEO):
            key |= {"data": self.recipe.data.model_dump(), "fingerprint": self.dataset.fingerprint}
        return key

    def conditions(self) -> dict[str, Any]:
        """All that must be equal for two results to stand in one ranking."""
        recipe = self.recipe
        reported = recipe.reported
        seen = [(kind, part.name) for kind, part in reported.parts() if kind != "fusion"]
        plugins = provenance.of_parts([self._reader, *seen])
        role = "student" if recipe.student else "teacher"
        sees_video = any(spec.shows(VIDEO) for spec in recipe.asked)
        return {
            **({"plugins": plugins} if plugins else {}),
            "dataset": self.dataset.card.name,
            "version": self.dataset.card.version,
            # What a teacher alone sees of a video is no condition of a student that sees none.
            "fingerprint": self.dataset.fingerprint if sees_video else self.dataset.series_fingerprint,
            "packed": self.dataset.packed,
            "view": self.dataset.view if sees_video else None,
            **self._beside(*recipe.asked),
            "protocol": self.protocol,
            "split": self.split.fingerprint,
            "preset": self.preset,
            "part": recipe.selection.part,
            "selection": recipe.selection.rule,
            **({} if recipe.track.is_whole else {"track": recipe.track.model_dump()}),
            "data": recipe.data.model_dump(),
            **reported.architecture(),
            "weights": provenance.weights_sha256(reported),
            **self._teachers_of_files(),
            "train": self._unless_searched(f"{role}.train", reported.train.model_dump()),
            "augment": self._unless_searched(f"{role}.augment", reported.augment.model_dump()),
            "precision": recipe.precision,
            "compile": recipe.compile,
            "device": self.device,
            "threads": self.threads,
            **({"processes": self.processes} if self.processes > 1 else {}),
            "test_modalities": test_modalities(recipe, self.dataset),
            **({"predicts": recipe.predicts} if recipe.predicts else {}),
            "tuning": recipe.tuning_budget,
            **({"tuned_under": elsewhere} if (elsewhere := self.tuned_elsewhere) else {}),
            "libraries": self.libraries(),
        }

    def _teachers_of_files(self) -> dict[str, Any]:
        """Hashes of the teachers that are files, by their names: nobody knows what they were trained on."""
        files = {name: provenance.weights_sha256(spec) for name, spec in self.recipe.all_teachers.items() if spec.files}
        return {"teacher_weights": files} if files else {}

    @property
    def tuned_elsewhere(self) -> dict[str, Any]:
        """Where the settings were tuned, as far as that is not where they are used; empty for the recipe's own."""
        tuning = self.recipe.tuning
        if tuning is None or tuning.under is None:
            return {}
        here = self.tuned_here()
        return {key: tuning.under.get(key) for key in (*here, TRACK) if tuning.under.get(key) != here.get(key)}

    def tuned_here(self) -> dict[str, Any]:
        """What a search on its data writes down as the place of its tuning."""
        track = self.recipe.track
        names = {"dataset": self.dataset.card.name, "protocol": self.protocol, "preset": self.preset}
        # Settings that suit one teacher may suit no other.
        names |= {"teacher": self.recipe.taught_by} if self.recipe.taught_by else {}
        return names | ({} if track.is_whole else {TRACK: track.model_dump()})

    def _unless_searched(self, path: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings without the values that each method chose for itself, under one budget."""
        searched = self.recipe.tuning.space if self.recipe.tuning else {}
        return {key: SEARCHED if f"{path}.{key}" in searched else value for key, value in settings.items()}


def test_modalities(recipe: Recipe, dataset: Dataset) -> list[str]:
    """What the networks that predict are shown at test time."""
    named = (dataset.source(name) for name in recipe.shown(dataset.sensors) if name not in recipe.without)
    return [f"{VIDEO}:{dataset.view}" if name == VIDEO else name for name in dict.fromkeys(named)]


def _hash(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:10]
