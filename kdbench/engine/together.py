"""How the processes of one run keep together: one state to begin with, and whose features are gathered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kdbench.engine import checkpoint
from kdbench.engine.objective import Objective
from kdbench.engine.peers import Peer
from kdbench.errors import RunFailed
from kdbench.network import Network
from kdbench.network.sharing import ALONE, Processes

Fields = frozenset[str] | None
"""Names of fields of `Features`; None for all."""


def agree(
    processes: Processes,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: checkpoint.Progress,
    device: torch.device,
) -> checkpoint.Progress:
    """Gives every process the state that the leading one begins with, or goes on from.

    Args:
        processes: All of them.
        modules: As of `checkpoint.save`; they are changed but in the leading process.
        optimizer: As of `checkpoint.save`.
        progress: Of the leading process; not read in the others.
        device: Where they exchange tensors.

    Returns:
        The progress of the leading process.
    """
    if processes.count == 1:
        return progress
    state = checkpoint.packed(modules, optimizer, progress) if processes.leads else None
    return checkpoint.unpack(processes.tell(state, device), modules, optimizer, device)


class ProcessLost(RunFailed):
    """Another process of the run has ended, and this one cannot know why."""

    lost = True


@contextlib.contextmanager
def telling_of_losses(processes: Processes) -> Iterator[None]:
    """Turns what an engine raises where a process has gone into an error that says so.

    Raises:
        ProcessLost: A process has gone.
    """
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1 or not _is_of_an_engine(error):
            raise
        raise ProcessLost(
            f"another of the {processes.count} processes of this run has ended",
            hint="Repeat the same command, with as many --processes as you like: it goes on after the last epoch.",
        ) from error


def _is_of_an_engine(error: RuntimeError) -> bool:
    # gloo raises plain errors, with the place in its own files.
    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextlib.contextmanager
def sharing(processes: Processes, trained: Mapping[Network, Fields], frozen: Sequence[Network]) -> Iterator[None]:
    """Lets the processes share the batches of some networks inside it.

    Args:
        processes: All of them.
        trained: The networks in training, each with the fields of its features that some loss reads.
        frozen: Those of the teachers.
    """
    networks = (*trained, *frozen)
    for network in networks:
        network.processes, network.told = processes, trained.get(network)
    try:
        yield
    finally:
        for network in networks:
            network.processes, network.told = ALONE, None


def fields_read(network: Network, objective: Objective, peers: Sequence[Peer]) -> dict[Network, Fields]:
    """The networks in training, each with the fields of its features that some loss reads."""
    read = {network: objective.student_fields}
    for peer in peers:
        # Each of the two is a teacher of the other.
        read[peer.network] = _both(peer.objective.student_fields, objective.teacher_fields)
        read[network] = _both(read[network], peer.objective.teacher_fields)
    return read


def gradient_norms(values: Tensor, network: Network, processes: Processes) -> Tensor:
    """Norm of each unweighted term's gradient on a network, so that a vacuous term is seen; `(n_terms,)`.

    Args:
        values: The terms `(n_terms,)`, with their graph.
        network: The network in training.
        processes: Those that share its batches.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    norms = []
    for value in values:
        if not value.requires_grad:
            norms.append(value.new_zeros(()))
            continue
        share = value / processes.count
        gradients = processes.added_up(torch.autograd.grad(share, parameters, retain_graph=True, allow_unused=True))
        lengths = [g.float().norm() for g in gradients if g is not None]
        norms.append(torch.stack(lengths).norm() if lengths else value.new_zeros(()))
    return torch.stack(norms).detach()


def _both(one: Fields, other: Fields) -> Fields:
    return None if one is None or other is None else one | other
