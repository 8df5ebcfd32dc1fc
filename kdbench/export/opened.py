"""A run that is exported: its data and its network, and why some runs cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.encoders.base import Encoder
from kdbench.errors import UsageError
from kdbench.explanation.reopen import open_context, open_reported, without_pretraining
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.terms import LossTerm
from kdbench.recipes.track import is_transfer_alone
from kdbench.runs.context import RunContext
from kdbench.runs.store import StoredRun
from kdbench.runs.tested import Tested, tested

TRAINED_ALONE = ("projections.", "group_heads.")
"""Weights that losses read in training, and no prediction does."""


@dataclass(frozen=True)
class OpenedRun:
    """A run that is exported.

    Attributes:
        run: The run.
        context: Its data and parts.
        spec: The recipe of the network that predicts.
        network: That network, in eval mode, on the CPU.
        tested: Its stored predictions.
    """

    run: StoredRun
    context: RunContext
    spec: NetworkSpec
    network: Network
    tested: Tested

    @property
    def state(self) -> dict[str, Any]:
        """The weights that predict, by name."""
        state = self.network.state_dict()
        return {name: value for name, value in state.items() if not name.startswith(TRAINED_ALONE)}

    @property
    def facts(self) -> dict[str, Any]:
        """What the network is rebuilt from, plain values; see `kdbench.students.torch_program.rebuilt`."""
        run_spec = self.context.run_spec
        card, spec = run_spec.dataset.card, without_pretraining(self.spec)
        alone = {"losses": {"ce": LossTerm(weight=1.0)}, "balance": None, "weights": None, "pairing": None}
        # Neither losses nor random changes of the training have a part in what is predicted.
        plain = spec.model_copy(update=alone).model_dump(mode="json")
        known = {encoder.knows_joints_of for encoder in self.network.encoders if isinstance(encoder, Encoder)}
        known |= self.network.skeletons
        graphs = {name: skeleton.graph for name, skeleton in card.skeletons.items() if name in known}
        return {
            "spec": plain,
            "sources": run_spec.sources(self.spec),
            "classes": len(card.classes),
            "view": run_spec.dataset.view,
            "head_width": None if self.spec.head is None else int(self.network.widths[0].embedding),
            "skeletons": {
                name: {"joints": list(graph.joints), "bones": [list(bone) for bone in graph.bones]}
                for name, graph in graphs.items()
            },
        }


def open_run(run: StoredRun, *, dataset: str | None, data_dir: Path | None) -> OpenedRun:
    """Opens a run's data and network.

    Args:
        run: The run.
        dataset: As for `open_context`.
        data_dir: As for `open_context`.

    Raises:
        UsageError: Its predictions are not those of one network that sees one recording at a time.
        DataError: The data or a file of the run is missing, broken, or not the run's.
    """
    _check(run)
    stored = tested(run)
    context = open_context(run, dataset=dataset, data_dir=data_dir, device="cpu")
    if context.run_spec.recipe.without:
        raise UsageError(
            f"{run.folder.name} was measured without {', '.join(context.run_spec.recipe.without)}",
            hint="Export a run of the same method without --without.",
        )
    opened = open_reported(run, context)
    if opened.network.couples_batch:
        raise UsageError(
            f"{run.folder.name} predicts a trial by its batch mates (fusion '{opened.spec.fusion.name}'), and an "
            "export is asked for one recording at a time",
            hint="Export a student of another fusion, for example `concat` or `none`.",
        )
    return OpenedRun(run, context, opened.spec, opened.network, stored)


def _check(run: StoredRun) -> None:
    name = run.folder.name
    if is_transfer_alone(run.conditions):
        raise UsageError(
            f"{name} saw no label: its numbers are those of a probe, and its network names no class",
            hint="Export a run of the same method with labels, for example --labels 1.",
        )
    if who := run.conditions.get("predicts"):
        raise UsageError(
            f"{name} predicts by two networks ({who}), and one network is exported",
            hint="Export a run of the same method without predicts: --set predicts=null",
        )
