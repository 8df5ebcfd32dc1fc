"""The teachers of a run as a whole: which networks each has, how they are made, and how well they do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.data.loader import Loader
from kdbench.engine.peers import Peer
from kdbench.evaluation.metrics import numbers
from kdbench.evaluation.predict import Predictions, mean_of, predict
from kdbench.network import Network
from kdbench.recipes.network_spec import TEACHER, NetworkSpec
from kdbench.recipes.schema import key_of
from kdbench.runs.context import RunContext
from kdbench.runs.teacher import Teacher, obtain_teacher
from kdbench.runs.teacher_part import TeacherPart
from kdbench.runs.training import export
from kdbench.util.records import hashes


@dataclass(frozen=True)
class Ensemble:
    """One teacher of a run: its only network, the members of an ensemble, or a network a fold.

    Attributes:
        name: As in the recipe; `teacher` for the one of that key.
        members: Its networks.
    """

    name: str
    members: tuple[Teacher, ...]

    def predictions(self, batch_size: int, without: Collection[str] = ()) -> Predictions:
        """Class scores on the reported part; of several networks the log of their mean probability.

        Args:
            batch_size: Trials in a batch.
            without: Sources that are missing, by their names in the network.
        """
        return mean_of([member.predictions(batch_size, without) for member in self.members])

    def report(self, student_batch_size: int | None) -> dict[str, Any]:
        """What a result says of the teacher: as of one network, and of an ensemble the same of each member."""
        reports = [member.report(student_batch_size) for member in self.members]
        if len(reports) == 1:
            return reports[0]
        first = self.members[0]
        metrics = self.predictions(first.spec.train.batch_size).metrics(first.context.classes)
        shared = {key: reports[0][key] for key in ("folder", "weights_sha256", "batch_size")}
        leaks = {"leaks": True} if any(report.get("leaks") for report in reports) else {}
        kept = ("folder", "weights_sha256", "leaks")
        members = [{key: report[key] for key in kept if key in report} | numbers(report) for report in reports]
        return {**shared, **metrics, **leaks, "members": members}


def obtain_teachers(context: RunContext, root: Path, *, fresh: bool) -> tuple[Ensemble, ...]:
    """Loads or trains every network of every teacher; arguments and errors as of `obtain_teacher`."""
    found: dict[str, list[Teacher]] = {}
    for part in context.run_spec.teacher_parts:
        found.setdefault(part.name, []).append(obtain_teacher(context, root, part, fresh=fresh))
    return tuple(Ensemble(name, tuple(members)) for name, members in found.items())


def of_parts(teachers: Sequence[Ensemble]) -> list[Teacher]:
    """Every network, in the order of the run's parts."""
    return [member for teacher in teachers for member in teacher.members]


def untrained_networks(context: RunContext) -> list[tuple[TeacherPart, Network]]:
    """A network of each part as it is before any training; parts of one teacher share it."""
    networks: dict[str, Network] = {}
    pairs = []
    for part in context.run_spec.teacher_parts:
        if part.name not in networks:
            networks[part.name] = context.build("teacher", part.spec, part.key)
        pairs.append((part, networks[part.name]))
    return pairs


def peers_of(context: RunContext, student: Network, loader: Loader | None = None) -> list[Peer]:
    """The teachers that train with the student, as they are before any training.

    Args:
        context: The run.
        student: The student, which their losses may compare with.
        loader: The training part, as for `RunContext.objective`.
    """
    peers = []
    for name, spec in context.run_spec.recipe.joint_teachers.items():
        key, own = key_of(name), context.build(f"joint {name}", spec, key_of(name))
        objective = context.objective(f"joint {name}", spec, own, [("student", student)], key, loader)
        peers.append(Peer(name, own, objective))
    return peers


def report_of_peer(context: RunContext, peer: Peer, spec: NetworkSpec, folder: Path) -> dict[str, Any]:
    """What a result says of a teacher that trained with the student; its weights go into the run's own folder."""
    path = folder / f"{peer.name}.safetensors"
    export(peer.network, path, context, spec)
    size = spec.train.batch_size
    loader = context.loader(context.reported_trials(spec), spec)
    predictions = predict(peer.network, loader, batch_size=size, accelerator=context.accelerator)
    weights = hashes(folder, [path.name])[path.name]
    return {
        "joint": True,
        "folder": folder.name,
        "weights_sha256": weights,
        "batch_size": size,
        **predictions.metrics(context.classes),
    }


def heads_of(pairs: Sequence[tuple[TeacherPart, Network]]) -> list[tuple[str, Network]]:
    """Name and network of each set of heads that losses see: each member of an ensemble, one of all folds."""
    return [(part.name, network) for part, network in pairs if not part.fold]


def reports(
    teachers: Sequence[Ensemble], student_batch_size: int | None, joint: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """What a result says of its teachers: `teacher` the one of that key, or None; `teachers` the others, if any.

    Args:
        teachers: Those that were trained first.
        student_batch_size: Trials in a batch of the student; None without one.
        joint: What is said of those that trained with the student, by name.
    """
    each = {teacher.name: teacher.report(student_batch_size) for teacher in teachers} | dict(joint)
    own = each.pop(TEACHER, None)
    return {"teacher": own, **({"teachers": each} if each else {})}
