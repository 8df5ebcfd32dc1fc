"""Losses on maps give what the code that they follow gave for the same numbers, in float64 with torch 2.

Maps, embeddings and weights are `waves`; nothing is masked in `mgd`, `ofd` takes the margin of the one batch, `semckd`
reads rows in the order of the batch, and the teacher's singular vectors are turned as `kdsvd` turns them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_cases import batch_of, waves
from torch import Tensor, nn

from kdbench.registry import registry
from kdbench.types import Context, Features, Widths

GRIDS, CHANNELS, SAMPLES = ((4, 4), (4, 4), (2, 2), (2, 2)), (3, 4, 6, 5), 4
WIDTHS = Widths(5, CHANNELS, 5, axes=2)


def _maps(phase: float) -> tuple[Tensor, ...]:
    pairs = enumerate(zip(CHANNELS, GRIDS, strict=True))
    return tuple(waves(SAMPLES, width, *grid, phase=phase + stage) for stage, (width, grid) in pairs)


def _filled(*weights: Tensor) -> None:
    with torch.no_grad():
        for number, weight in enumerate(weights):
            weight.copy_(waves(*weight.shape, phase=float(number)) / weight[0].numel() ** 0.5)


STUDENT, TEACHER = _maps(0.0), _maps(5.0)


@pytest.mark.parametrize(
    ("name", "params", "value"),
    [
        ("cwd", {"temperature": 4.0}, 5.520564279676771),  # ChannelWiseDivergence of mmrazor
        ("pkd", {}, 2.7517156443665356),  # PKDLoss of mmrazor
        ("ab", {}, 107.5845414838702),  # ABLoss of RepDistiller, over 3/1000
    ],
)
def test_losses_that_learn_nothing(name: str, params: dict[str, Any], value: float) -> None:
    assert registry("loss").get(name)(STUDENT, TEACHER, **params).item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("vectors", "value"), [(1, 0.036706841703121336), (2, 0.021896181134448914)])
def test_singular_vectors(vectors: int, value: float) -> None:
    # KDSVD of RepDistiller. Waves are of rank two; these maps are not.
    student, teacher = ([x * x.roll(1, 0) + x**3 for x in maps[:2]] for maps in (STUDENT, TEACHER))
    loss = registry("loss").get("kdsvd")
    assert loss(student, teacher, vectors=vectors).item() == pytest.approx(value, rel=1e-10)


def _built(name: str, **params: Any) -> Any:
    classifier = nn.Linear(5, 6).double().requires_grad_(False)
    _filled(classifier.weight)
    return (
        registry("loss").get(name)(Context(5, WIDTHS, (WIDTHS,), teacher_classifiers=(classifier,)), **params).double()
    )


def test_overhaul() -> None:
    # distillation_loss and the connector of clovaai/overhaul-distillation.
    loss = _built("ofd", stages=[1])
    _filled(loss.connectors[0][0].weight)
    assert loss(STUDENT, TEACHER).item() == pytest.approx(192.66538546751488, rel=1e-12)


def test_masked_generation() -> None:
    # MGDLoss of yzd-v/MGD for classification, alpha 1 and lambda 0.
    loss = _built("mgd", ratio=0.0)
    _filled(*loss.parameters())
    assert loss(STUDENT, TEACHER, batch_of(SAMPLES)).item() == pytest.approx(73.91258543372591, rel=1e-12)


def test_knowledge_review() -> None:
    # ABF and hcl_loss of mdistiller.
    loss = _built("reviewkd", stages=[2, 3])
    for fusion in loss.fusions:
        learnt = [] if fusion.attention is None else [fusion.attention.weight, fusion.attention.bias]
        _filled(fusion.inward[0].weight, fusion.outward[0].weight, *learnt)
    student, teacher = (
        Features(waves(SAMPLES, 5), maps, waves(SAMPLES, 5, phase=phase))
        for maps, phase in ((STUDENT, 1.0), (TEACHER, 2.0))
    )
    assert loss(student, teacher).item() == pytest.approx(5.287677336454351, rel=1e-12)


def test_semantic_calibration() -> None:
    # SelfA and SemCKDLoss of SimKD.
    loss = _built("semckd", samples=SAMPLES, columns="batch", reduction_factor=2, stages=[2, 3])
    for embed in (*loss.queries, *loss.keys):
        _filled(*embed.parameters())
    for row in loss.regressors:
        for regress in row:
            _filled(*(regress[place].weight for place in (0, 3, 6)))
    assert loss(STUDENT, TEACHER).item() == pytest.approx(2.7378019844134824, rel=1e-12)


def test_softmax_regression() -> None:
    # transfer_conv and statm_loss of KD_SRRL, and its difference of scores.
    loss = _built("srrl")
    _filled(loss.connector[0].weight)
    student, teacher = (Features(waves(SAMPLES, 5), maps, maps[-1].mean((2, 3))) for maps in (STUDENT, TEACHER))
    assert loss(student, teacher).item() == pytest.approx(0.33851349139578724, rel=1e-12)
