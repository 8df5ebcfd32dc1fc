"""The comparison of a module on two devices, on the only device that every machine has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.registry import registry
from kdbench.testing.base import Failed
from kdbench.testing.encoders import EncoderCase
from kdbench.testing.fusions import FusionCase
from kdbench.testing.modules import ModuleCase, demand_same_on
from kdbench.testing.poolings import PoolingCase
from kdbench.testing.representations import RepresentationCase

CASES = [
    (EncoderCase, "encoder", "conv1d"),
    (FusionCase, "fusion", "ft"),
    (PoolingCase, "pooling", "attention"),
    (RepresentationCase, "representation", "gaf"),
]


def case_of(kind: type[ModuleCase], registered: str, name: str) -> ModuleCase:
    return kind(name, registry(registered).get(name))


@pytest.mark.parametrize(("kind", "registered", "name"), CASES)
def test_every_kind_of_module_is_compared(kind: type[ModuleCase], registered: str, name: str) -> None:
    demand_same_on(torch.device("cpu"), case_of(kind, registered, name))


@pytest.mark.parametrize("where", ["output", "gradient"])
def test_another_number_is_found(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(EncoderCase, "encoder", "conv1d")
    calls = []
    outputs = case.outputs

    def shifted(module: nn.Module, inputs: Any) -> dict[str, Tensor]:
        calls.append(module)
        given = dict(outputs(module, inputs))
        if len(calls) == 1:
            return given
        # The second call is the other device's.
        return {
            name: value + 0.1 * value.abs().max() if where == "output" else value.detach() - value + value.detach()
            for name, value in given.items()
        }

    monkeypatch.setattr(case, "outputs", shifted)
    with pytest.raises(Failed, match="is not that on the CPU"):
        demand_same_on(torch.device("cpu"), case)
