"""Losses that learn something, or draw, give what published code gave for the same numbers, in float64 with torch 2.

Numbers and weights are `waves`. What that code draws by chance was given to it as kdbench draws it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_cases import batch_of, waves
from torch import Tensor, nn

from kdbench.encoders.base import Encoder
from kdbench.encoders.projected import ProjectedEncoder
from kdbench.losses.c2kd import ProxyDistillation, rank_correlation
from kdbench.losses.comodo import QueueSimilarity
from kdbench.losses.diffkd import KnowledgeDiffusion
from kdbench.losses.ickd import inter_channel_correlation
from kdbench.losses.simkd import simkd
from kdbench.losses.vid import VariationalInformation
from kdbench.types import Context, Features, Widths

SAMPLES, CLASSES = 4, 6


def _filled(*weights: Tensor) -> None:
    with torch.no_grad():
        for number, weight in enumerate(weights):
            weight.copy_(waves(*weight.shape, phase=float(number)) / weight[0].numel() ** 0.5)


def _context(ours: int, theirs: int, **more: Any) -> Context:
    student, teacher = (Widths(CLASSES, (width,), width, axes=2) for width in (ours, theirs))
    return Context(CLASSES, student, (teacher,), **more)


class _Plain(Encoder):
    """An image as its own only map, five channels wide."""

    def __init__(self) -> None:
        super().__init__(5)
        self.channels, self.width = (5,), 5

    def stem(self, x: Tensor) -> Tensor:
        return x

    def stage(self, index: int, x: Tensor) -> Tensor:
        return x

    def pool(self, last: Tensor) -> Tensor:
        return last.mean((2, 3))


def test_the_reused_classifier() -> None:
    # SimKD of DefangChen/SimKD, 2b389c3, with factor 2.
    encoder = ProjectedEncoder(_Plain(), 5, kind="image", factor=2).double().train()
    _filled(*(encoder.projector[place].weight for place in (0, 3, 6)))
    own, target = (waves(SAMPLES, 5, 2, 2, phase=phase) for phase in (3.0, 8.0))
    assert simkd([encoder.stage(0, own)], [target]).item() == pytest.approx(2.391802606530153, rel=1e-12)


def test_variational_information() -> None:
    # VIDLoss of HobbitLong/RepDistiller, b84f547.
    loss = VariationalInformation(_context(4, 4)).double()
    _filled(*(loss.means[0][place].weight for place in (0, 2, 4)))
    start = torch.log(torch.expm1(torch.tensor(5.0 - 1e-5, dtype=torch.float64)))
    with torch.no_grad():
        # In float32, the start itself is rounded.
        loss.spreads[0].copy_(start + waves(4))
    own, target = (waves(SAMPLES, 4, 4, 4, phase=phase) for phase in (1.0, 6.0))
    assert loss([own], [target]).item() == pytest.approx(1.195316167646445, rel=1e-12)


def test_correlation_of_channels() -> None:
    # batch_loss of ADLab-AutoDrive/ICKD for CIFAR-100, without the layer before the student's map.
    own, target = (waves(SAMPLES, 4, 4, 4, phase=phase) for phase in (1.0, 6.0))
    assert inter_channel_correlation([own], [target]).item() == pytest.approx(0.005039626725833428, rel=1e-9)
    own, target = (x**3 + x.roll(1, 0) for x in (own, target))
    assert inter_channel_correlation([own], [target]).item() == pytest.approx(0.005933263428974145, rel=1e-9)


def test_a_queue_of_embeddings() -> None:
    # COMODOLoss of cruiseresearchgroup/COMODO, 2666a02: a queue of six, two steps.
    loss = QueueSimilarity(_context(5, 5, train_size=6), hidden=5).double()
    loss.layers = nn.Sequential()
    loss.stored.copy_(nn.functional.normalize(waves(6, 5, phase=3.0), dim=1))
    loss.there.fill_(True)
    for step, value in enumerate((1.6468049341323405, 1.799525937684923)):
        own, given = waves(SAMPLES, 5, phase=1.0 + step) ** 3, waves(SAMPLES, 5, phase=7.0 + step)
        assert loss(own, given).item() == pytest.approx(value, rel=1e-12)


def test_proxies_of_both_networks() -> None:
    # ProxyNet, ntkl and batch_kendall_tau_gpu of Gray-OREO/MST-Distill, 093b2fe, called for the proxies.
    rows = 8
    loss = ProxyDistillation(_context(5, 5)).double().train()
    for proxy, phase in ((loss.of_student, 0.0), (loss.of_teacher, 2.0)):
        _filled(proxy[0].weight)
        with torch.no_grad():
            proxy[3].weight.copy_(waves(CLASSES, 5, phase=2.0) / 5**0.5)
            proxy[3].bias.copy_(waves(CLASSES, phase=phase))
    student, teacher = (
        Features(waves(rows, CLASSES, phase=phase + 2) ** 3, (), waves(rows, 5, phase=phase) ** 3)
        for phase in (1.0, 2.0)
    )
    assert loss(student, teacher, batch_of(rows)).item() == pytest.approx(12.091693507462123, rel=1e-12)
    assert loss.diagnostics()["alike"].item() == 1 / 8
    mine, theirs = loss.of_student(student.embedding), loss.of_teacher(teacher.embedding)
    expected = torch.tensor([-3, -9, -5, -3, -5, 3, -3, -1], dtype=torch.float64) / 15
    torch.testing.assert_close(rank_correlation(theirs, mine), expected)


def test_a_map_that_is_denoised() -> None:
    # DiffKD of hunto/image_classification_sota with its autoencoder, whose schedule is float32.
    loss = KnowledgeDiffusion(_context(5, 16), width=8).double().train()
    block = (0, 3, 6)
    layers = [
        *(loss.encoder[0], loss.decoder, loss.inward, *(loss.share[0].layers[place] for place in block), loss.share[2]),
        *(loss.denoiser.layers[number].layers[place] for number in (0, 1) for place in block),
        *(loss.denoiser.layers[2], loss.outward[0]),
    ]
    with torch.no_grad():
        for layer in layers:
            _filled(layer.weight)
            layer.bias.copy_(waves(len(layer.bias)) / 4)
        loss.denoiser.times.weight.copy_(waves(1000, 8) / 8)
    own, target = waves(SAMPLES, 5, 3, 3), waves(SAMPLES, 16, 3, 3, phase=5.0) ** 3
    assert loss([own], [target], batch_of(SAMPLES)).item() == pytest.approx(26.40168161492613, rel=1e-9)
