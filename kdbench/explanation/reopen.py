"""A finished run, opened again from its folder: its data, its parts and its networks. Nothing is trained."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kdbench.data.splits import split
from kdbench.data.store.open import Dataset
from kdbench.engine.device import build_accelerator, device_kind, threads_on
from kdbench.errors import DataError, UsageError
from kdbench.explanation.scores import AGAIN
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import Recipe
from kdbench.recipes.terms import PartSpec
from kdbench.registry import registry
from kdbench.runs import provenance
from kdbench.runs.context import RunContext
from kdbench.runs.sources import open_for
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import StoredRun
from kdbench.text.wording import counted
from kdbench.util.progress import Reporter
from kdbench.util.records import read_safetensors
from kdbench.util.validation import checked


def open_context(run: StoredRun, *, dataset: str | None, data_dir: Path | None, device: str) -> RunContext:
    """Opens a run's data and cuts its parts again.

    Args:
        run: The run.
        dataset: Its data set where the name in the run does not lead to it: the path of a card.
        data_dir: Where the data sets lie.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: The name of its data set leads to no card.
        DataError: The data, the parts or the recipe are not those that the run was made with.
    """
    result = run.result
    recipe = _recipe(run)
    if dataset is None and not registry("dataset").has(result["dataset"]):
        raise UsageError(
            f"'{result['dataset']}' is a data set of one's own, and the run does not say where its card lies",
            hint="Name the card: --dataset FOLDER/card.yaml",
        )
    data = open_for(
        recipe,
        dataset or result["dataset"],
        video=result["view"]["name"],
        data_dir=data_dir,
        exclude_broken=bool(result.get("excluded")),
        made=True,
    )
    _check_fingerprint(run, data)
    parts = split(
        data.card,
        data.index,
        result["protocol"],
        validation=recipe.selection.needs_validation,
        seed=run.seed,
    )
    if run.conditions.get("split") not in (None, parts.fingerprint):
        raise DataError(
            f"the rule of the protocol '{result['protocol']}' has changed since {run.folder.name} was made: "
            "it cuts other parts",
            hint="Train the run again, or explain it with the card that it was made with.",
        )
    kind = device_kind(device)
    threads = threads_on(kind, run.conditions.get("threads"))
    run_spec = RunSpec(recipe, data, result["protocol"], result["preset"], run.seed, parts, kind, threads)
    # On a CPU bf16 is refused, and the weights are float32 anyway.
    return RunContext(run_spec, build_accelerator(device, recipe.precision if kind == "cuda" else "fp32"), Reporter())


def _recipe(run: StoredRun) -> Recipe:
    return checked(
        Recipe,
        run.result["recipe"],
        f"{run.folder / 'run.json'} holds a recipe that this kdbench cannot read",
        error=DataError,
        hint="Open it with the version that made it (conditions.libraries.kdbench), or train it again.",
    )


def _check_parts(run: StoredRun, spec: NetworkSpec) -> None:
    """Losses may be gone: nothing is trained."""
    for kind, name in provenance.parts_of(spec):
        if kind != "loss" and not registry(kind).has(name):
            records = run.result.get("plugins") or []
            origin = [record for record in records if (record["kind"], record["name"]) == (kind, name)]
            known = f" of {origin[0]['distribution']} {origin[0]['version']}" if origin else ""
            raise DataError(
                f"{run.folder.name} was made with the {kind} '{name}'{known}, which is not there",
                hint="Install what brings it, or name its file: kdbench explain RUN --plugin FILE",
            )


def _check_fingerprint(run: StoredRun, data: Dataset) -> None:
    then = run.conditions["fingerprint"]
    # Of a network that saw no video, what was recorded beside its series says nothing.
    if then not in (data.fingerprint, data.series_fingerprint):
        raise DataError(
            f"{run.folder.name} was made with other data: fingerprint {then[:12]}, and '{data.card.name}' from "
            f"{data.place} has {data.fingerprint[:12]}",
            hint="Point to the recordings of that run with --data-dir or KDBENCH_DATA, or train the run again.",
        )


def open_network(context: RunContext, role: str, spec: NetworkSpec, path: Path) -> Network:
    """Builds a network and loads its weights; in eval mode, on the context's device.

    Args:
        context: The run.
        role: `student` or `teacher`.
        spec: Its recipe.
        path: Its safetensors file.

    Raises:
        DataError: The file is missing or broken, or holds another network.
    """
    try:
        state = read_safetensors(path)
    except DataError as error:
        raise DataError(f"the weights of the {role} cannot be read: {error.message}", hint=AGAIN) from error
    network = _built(context, role, spec, state)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1 if "\n" in str(error) else 0].strip()
        raise DataError(
            f"{path} does not fit the {role} as this kdbench builds it from the run's recipe: {first}",
            hint="Open the run with the version that made it (conditions.libraries.kdbench), or train it again.",
        ) from error
    return network.to(context.accelerator.device).eval()


def untrained(context: RunContext, role: str, network: Network, spec: NetworkSpec) -> Network:
    """The same network with random weights; in eval mode."""
    torch.manual_seed(context.pairing.seed_of("explanation", role))
    return _built(context, role, spec, network.state_dict()).to(context.accelerator.device).eval()


def _built(context: RunContext, role: str, spec: NetworkSpec, state: Mapping[str, Tensor]) -> Network:
    # Widths that depended on label vectors and groups stand in the weights, so neither is needed again.
    semantic, groups = state.get("projections.0.weight"), state.get("group_heads.0.2.weight")
    return context.built(
        role,
        without_pretraining(spec),
        semantic=None if semantic is None else len(semantic),
        groups=None if groups is None else len(groups),
    )


def without_pretraining(spec: NetworkSpec) -> NetworkSpec:
    """All weights are about to be replaced, so none is fetched."""

    def random(encoder: PartSpec) -> PartSpec:
        component = registry("encoder").get(encoder.name)
        if "weights" not in inspect.signature(component).parameters:
            return encoder
        return PartSpec(name=encoder.name, **(encoder.params | {"weights": "random"}))

    return spec.with_encoders(random)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network with its recipe, and what it is in the run.

    Attributes:
        role: `student` or `teacher`.
        spec: Its recipe.
        network: With the run's weights, in eval mode.
    """

    role: str
    spec: NetworkSpec
    network: Network


def open_reported(run: StoredRun, context: RunContext) -> Opened:
    """The network that the run's numbers are about: its student, or the teacher of a run without one.

    Raises:
        DataError: Its weights are missing or broken.
    """
    recipe = context.run_spec.recipe
    if recipe.student is None:
        teacher = open_teacher(run, context)
        assert teacher is not None
        return teacher
    _check_parts(run, recipe.student)
    return Opened(
        "student",
        recipe.student,
        open_network(context, "student", recipe.student, run.folder / "student.safetensors"),
    )


def open_teacher(run: StoredRun, context: RunContext) -> Opened | None:
    """The run's teacher; None where it had none.

    Raises:
        DataError: Its file is missing, broken, or holds another network.
    """
    spec, trained = context.run_spec.recipe.teacher, run.result.get("teacher")
    if spec is None or not trained:
        return None
    if members := trained.get("members"):
        raise DataError(
            f"the teacher of {run.folder.name} is {counted(len(members), 'network')}, and one network is explained",
            hint="Explain a run whose teacher has neither seeds nor folds.",
        )
    _check_parts(run, spec)
    path = teacher_weights(run)
    assert path is not None
    return Opened("teacher", spec, open_network(context, "teacher", spec, path))


def teacher_weights(run: StoredRun) -> Path | None:
    """Where the weights of the run's teacher should lie; None where it had none."""
    trained = run.result.get("teacher")
    if trained and trained.get("joint"):
        return run.folder / "teacher.safetensors"
    return run.folder.parent / "teachers" / trained["folder"] / "teacher.safetensors" if trained else None
