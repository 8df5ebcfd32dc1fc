"""ONNX graphs: a free batch axis, one trial where a part fixes it, and what has no form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import ACCELEROMETER
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.export.graph import write_graph
from kdbench.students.onnx_program import OnnxProgram

ENTRY = ACCELEROMETER.model_copy(update={"samples": 8})


class Free(nn.Module):
    def forward(self, *raw: Tensor) -> Tensor:
        return raw[0].mean(2)


class Fixed(nn.Module):
    def forward(self, *raw: Tensor) -> Tensor:
        return raw[0].mean(2).reshape(len(raw[0]), 3)


class Formless(nn.Module):
    def forward(self, *raw: Tensor) -> Tensor:
        return torch.linalg.eigvals(raw[0] @ raw[0].transpose(1, 2)).real


def exported(module: Any, folder: Path) -> OnnxProgram:
    write_graph(module, [ENTRY], folder / "model.onnx")
    return OnnxProgram(folder / "model.onnx", ["accelerometer"], 1)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "rows"), [(Free(), (1, 5)), (Fixed(), (1,))])
def test_a_graph_gives_what_the_network_gives(module: nn.Module, rows: tuple[int, ...], tmp_path: Path) -> None:
    program = exported(module, tmp_path)
    for count in rows:
        series = np.random.default_rng(0).standard_normal((count, 3, 8)).astype(np.float32)
        logits = program({"accelerometer": series})
        np.testing.assert_allclose(logits, module(torch.from_numpy(series)).numpy(), atol=1e-6)


@pytest.mark.slow
def test_what_has_no_form_is_refused_with_the_other_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this network has no form in ONNX") as caught:
        exported(Formless(), tmp_path)
    assert "--format torch" in str(caught.value.hint)
