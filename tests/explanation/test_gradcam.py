"""Grad-CAM: its formula, its place in the input, and that it depends on what was learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from kdbench.explanation.gradcam import agreement, grad_cam, telling_stage
from kdbench.network import Network, build_network
from kdbench.plotting.cams import enlarged
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.types import Batch

SERIES = {"a": 3, "b": 2}
RAW = {"representation": {"name": "raw"}, "encoder": {"name": "conv1d", "widths": [4, 8, 8, 12]}}
CLIP = {"representation": {"name": "clip"}, "encoder": {"name": "conv2plus1d", "widths": [4, 8, 8, 12]}}


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def network(modality: str, parts: dict[str, object], sources: dict[str, int], fusion: str = "none") -> Network:
    torch.manual_seed(0)
    spec = NetworkSpec.model_validate(
        {
            "modality": modality,
            **parts,
            "fusion": {"name": fusion},
            "losses": {"ce": {}},
            "train": {"epochs": 1, "batch_size": 2, "lr": 0.1},
        }
    )
    return build_network(spec, sources=sources, classes=5, semantic=None).eval()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        sensors={name: torch.randn(1, axes, 64, generator=generator) for name, axes in SERIES.items()},
        video=torch.rand(1, 1, 8, 32, 32, generator=generator),
        label=torch.tensor([2]),
        trial=("t",),
        index=torch.tensor([0]),
    )


def inputs_of(built: Network) -> list[Tensor]:
    with torch.no_grad():
        return built.represent(batch())


def test_a_map_is_the_channels_weighed_by_their_mean_gradients(accelerator: Accelerator) -> None:
    built = network("video", CLIP, {"video": 1})
    inputs = inputs_of(built)
    (branch,) = built(inputs)
    for target in range(5):
        (gradient,) = torch.autograd.grad(branch.logits[0, target], branch.stages[3], retain_graph=True)
        weights = gradient.mean((2, 3, 4), keepdim=True)
        expected = (weights * branch.stages[3]).sum(1).relu()[0]
        (found,) = grad_cam(built, inputs, target, accelerator)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("fusion", ["none", "concat", "ft", "attention"])
def test_each_sensor_of_a_joined_network_has_a_map(accelerator: Accelerator, fusion: str) -> None:
    built = network("sensors", RAW, SERIES, fusion)
    maps = grad_cam(built, inputs_of(built), 1, accelerator)
    assert len(maps) == 2
    assert all(cam.dim() == 1 and (cam >= 0).all() for cam in maps)
    assert any(cam.max() > 0 for cam in maps)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "test_vit"])
def test_the_map_of_a_class_token_is_not_empty(accelerator: Accelerator, name: str) -> None:
    side = 64
    parts = {
        "representation": {"name": "gaf", "image_size": side},
        "encoder": {"name": f"timm:{name}", "weights": "random", "image_size": side},
    }
    built = network("sensors", parts, {"a": 3})
    found = [grad_cam(built, inputs_of(built), target, accelerator)[0] for target in range(5)]
    assert all(cam.shape == (4, 4) for cam in found)
    assert all(cam.max() > 0 for cam in found)


def test_a_network_is_left_as_it_was(accelerator: Accelerator) -> None:
    built = network("video", CLIP, {"video": 1})
    before = {name: value.clone() for name, value in built.state_dict().items()}
    with torch.no_grad():
        grad_cam(built, inputs_of(built), 0, accelerator)
    assert not built.training
    assert all(parameter.grad is None for parameter in built.parameters())
    assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())
    assert not any(module._forward_hooks for module in built.modules())


def test_other_weights_give_another_map(accelerator: Accelerator) -> None:
    built = network("video", CLIP, {"video": 1})
    inputs = inputs_of(built)
    (first,) = grad_cam(built, inputs, 0, accelerator)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(9)) * 0.3)
    (second,) = grad_cam(built, inputs, 0, accelerator)
    assert not np.allclose(enlarged(first, first.shape), enlarged(second, second.shape), atol=0.05)


def test_the_heat_lies_where_the_evidence_is(accelerator: Accelerator) -> None:
    built = network("video", CLIP, {"video": 1})
    with torch.no_grad():
        # Whatever is bright then speaks for every class, and the rest of the clip says nothing.
        for parameter in built.parameters():
            parameter.abs_()
        clip = torch.zeros(1, built.representations[0].out_channels, 8, 128, 128)  # type: ignore[arg-type]
    clip[:, :, 5:, 100:, 96:124] = 1.0
    (cam,) = grad_cam(built, [clip], 0, accelerator)
    assert cam.shape == (2, 4, 4)
    assert cam[1].mean() > cam[0].mean()
    assert cam[:, 2:, 2:].mean() > 3 * cam[:, :2, :2].mean()


@pytest.mark.parametrize("size", [(12,), (12, 20), (4, 12, 20)])
def test_a_cell_becomes_the_part_of_the_input_that_it_stands_for(size: tuple[int, ...]) -> None:
    grid = tuple(length // 4 for length in size)
    cam = torch.zeros(grid)
    cam[tuple(length - 1 for length in grid)] = 3.0
    fine = enlarged(cam, size)
    assert fine.shape == size
    assert fine.max() == 1
    assert np.unravel_index(fine.argmax(), size) >= tuple(length - 4 for length in size)
    assert fine[tuple(0 for _ in size)] == 0 or max(grid) < 2


def test_a_map_of_nothing_stays_nothing() -> None:
    assert (enlarged(torch.zeros(2, 2), (8, 8)) == 0).all()


def test_agreement_counts_ranks_alone() -> None:
    cam = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    assert agreement(cam, cam**2) == pytest.approx(1)
    assert agreement(cam, -cam) == pytest.approx(-1)
    assert agreement(cam, torch.zeros(2, 2)) is None


def test_a_map_of_few_cells_is_shown_as_blocks() -> None:
    cam = torch.tensor([[[1.0]], [[2.0]]])
    assert enlarged(cam, (4, 2, 2))[:, 0, 0].tolist() == [0.5, 0.5, 1, 1]
    assert len(np.unique(enlarged(torch.arange(16.0), (64,)))) > 16


def test_a_clip_whose_last_map_is_one_cell_per_picture_is_looked_at_in_an_earlier_stage(
    accelerator: Accelerator,
) -> None:
    built = network("video", CLIP, {"video": 1})
    inputs = inputs_of(built)
    (branch,) = built(inputs)
    assert [tuple(maps.shape[3:]) for maps in branch.stages] == [(8, 8), (4, 4), (2, 2), (1, 1)]
    stage = telling_stage(built, inputs)
    assert stage == 2
    (gradient,) = torch.autograd.grad(branch.logits[0, 1], branch.stages[2], retain_graph=True)
    expected = (gradient.mean((2, 3, 4), keepdim=True) * branch.stages[2]).sum(1).relu()[0]
    (found,) = grad_cam(built, inputs, 1, accelerator, stage)
    torch.testing.assert_close(found, expected)


def test_a_series_is_looked_at_in_the_last_stage(accelerator: Accelerator) -> None:
    built = network("sensors", RAW, SERIES)
    assert telling_stage(built, inputs_of(built)) == built.depth - 1
