"""A network rebuilt from its recipe, with weights from safetensors: no program is loaded, and nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.network import Network, build_network
from kdbench.network.scores import class_scores
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.students.schema import Export
from kdbench.types import JointGraph
from kdbench.util.records import read_safetensors


class RawToLogits(nn.Module):
    """A network from raw inputs to class scores: representations, encoders, fusion, heads.

    Args:
        network: In eval mode.

    Attributes:
        reads: What it takes, each once, by the names of a batch: the order of its inputs.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.reads = tuple(dict.fromkeys(network.reads.values()))

    def forward(self, *raw: Tensor) -> Tensor:
        """Series `(B, axes, n)` float32, clips `(B, C, T, H, W)` uint8; to logits `(B, K)`, float32."""
        given = dict(zip(self.reads, raw, strict=True))
        inputs = [
            representation(given[self.network.reads[name]])
            for name, representation in zip(self.network.branches, self.network.representations, strict=True)
        ]
        return class_scores(self.network, self.network(inputs))


class TorchProgram:
    """Runs a rebuilt network.

    Args:
        path: Its file of weights.
        facts: What it is built of, as the export says.
        tensors: Names of its inputs, in their order.
        threads: On which torch computes, in the whole process.

    Raises:
        DataError: The weights are broken.
        UsageError: A part of the network is not installed.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any] | None, tensors: Sequence[str], threads: int) -> None:
        if facts is None:
            raise ValueError("export.json does not say what the network is built of")
        torch.set_num_threads(threads)
        self.module = RawToLogits(rebuilt(facts, read_safetensors(path)))
        self.tensors = tensors
        self.runtime = f"torch {torch.__version__}"

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Program`."""
        with torch.inference_mode():
            raw = [torch.from_numpy(np.array(tensors[name])) for name in self.tensors]
            logits: np.ndarray = self.module(*raw).numpy()
        return logits


def rebuilt(facts: Mapping[str, Any], state: Mapping[str, Tensor]) -> Network:
    """A network from what an export says of it, in eval mode.

    Args:
        facts: As `kdbench.export.opened.OpenedRun.facts` writes them.
        state: Its weights.

    Raises:
        UsageError: A part is not installed.
        RuntimeError: The weights are those of another network.
    """
    skeletons = {
        name: JointGraph(tuple(graph["joints"]), tuple((first, second) for first, second in graph["bones"]))
        for name, graph in facts["skeletons"].items()
    }
    with torch.random.fork_rng(devices=[]):
        network = build_network(
            NetworkSpec.model_validate(facts["spec"]),
            sources=facts["sources"],
            classes=facts["classes"],
            semantic=None,
            role="student",
            view=facts["view"],
            skeletons=skeletons,
            head_width=facts["head_width"],
        )
    network.load_state_dict(dict(state))
    return network.eval()


def open_program(path: Path, export: Export, threads: int) -> TorchProgram:
    """The network of an export.

    Args:
        path: Its file of weights.
        export: What its `export.json` says.
        threads: On which torch computes, in the whole process.
    """
    return TorchProgram(path, export.program.network, [entry.tensor for entry in export.inputs], threads)
