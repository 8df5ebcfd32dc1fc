"""What the trainings of teachers and students have in common."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from kdbench.data.loader import Loader
from kdbench.data.metric import metric_of
from kdbench.engine.compiling import compile_pass
from kdbench.engine.loop import Record, Training
from kdbench.engine.objective import Objective
from kdbench.errors import DataError
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.runs.context import RunContext
from kdbench.util.records import read_jsonl, write_safetensors


def training_of(
    phase: str,
    context: RunContext,
    spec: NetworkSpec,
    network: Network,
    objective: Objective,
    loader: Loader,
    folder: Path,
) -> Training:
    """The training of one network of a run.

    Args:
        phase: `teacher` or `student`.
        context: The run.
        spec: The network's recipe.
        network: The network.
        objective: What it minimises.
        loader: Its trials.
        folder: Where its checkpoint and its epochs lie.
    """
    selection = context.run_spec.recipe.selection
    validates = selection.rule == "best-val" or (selection.part == "validation" and context.validates)
    # Only what is reported is chosen so: the teacher is the one that all other runs share.
    oracle = selection.is_oracle and spec is context.run_spec.recipe.reported
    watched = context.run_spec.having(context.split.test if oracle else context.split.validation, spec)
    if context.run_spec.recipe.compile:
        compile_pass(network)
    return Training(
        phase=phase,
        network=network,
        objective=objective,
        spec=spec,
        loader=loader,
        pairing=context.pairing,
        accelerator=context.accelerator,
        folder=folder,
        reporter=context.reporter,
        classes=context.classes,
        watched=context.loader(watched, spec) if oracle or validates else None,
        watched_part="test" if oracle else "validation",
        keep_best=oracle or selection.rule == "best-val",
        metric=metric_of(context.run_spec.dataset.card),
        on_epoch=context.on_epoch,
        binding={"phase": phase, "folder": context.run_spec.folder},
        warn=context.warn,
        processes=context.processes,
    )


def export(network: Network, path: Path, context: RunContext, spec: NetworkSpec) -> None:
    """Writes a network's weights, without projectors or anything else that only its training needed."""
    write_safetensors(path, network.state_dict(), metadata=_card(context, spec))


def records_of(folder: Path) -> list[Record]:
    """The epochs that a folder's `metrics.jsonl` holds; none where it is damaged, which the training itself tells."""
    try:
        return read_jsonl(folder / "metrics.jsonl")
    except DataError:
        return []


def _card(context: RunContext, spec: NetworkSpec) -> dict[str, str]:
    run_spec = context.run_spec
    return {
        "format": "pt",
        "network": spec.model_dump_json(),
        "classes": json.dumps(context.classes),
        "dataset": run_spec.dataset.card.name,
        # From these follow the trials that it was trained on.
        "protocol": run_spec.protocol,
        "validation": json.dumps(run_spec.recipe.selection.needs_validation),
        "seed": str(run_spec.seed),
    }


def processes_of(records: Sequence[Record], warn: Callable[[str], None]) -> int:
    """The most processes that made an epoch of a training; several numbers of them are told.

    Args:
        records: Its epochs.
        warn: Takes the line.
    """
    counts = [record.get("processes", 1) for record in records] or [1]
    if len(set(counts)) > 1:
        told = ", then ".join(str(count) for count, _ in itertools.groupby(counts))
        warn(f"this {records[-1]['phase']} was trained by {told} processes")
    return int(max(counts))


def forget_training(folder: Path) -> None:
    """Removes the epochs and the checkpoint of a training that is to start anew."""
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    forget_checkpoint(folder)


def forget_checkpoint(folder: Path) -> None:
    """Removes the state of a training that has ended."""
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
