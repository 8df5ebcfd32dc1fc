from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from kdbench.encoders import weights
from kdbench.encoders.base import Encoder
from kdbench.errors import UsageError
from kdbench.registry import registry

REPOSITORY = "timm/swin_tiny_patch4_window7_224.ms_in1k"


def made(channels: int, **parameters) -> Encoder:
    torch.manual_seed(0)
    return registry("encoder").get("swin_t")(channels, **parameters)


@pytest.fixture(scope="module")
def small() -> Encoder:
    return made(3, weights="random", image_size=32)


def test_hands_out_four_maps_and_an_embedding(small):
    maps, embedding = small(torch.randn(1, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [(1, 96, 8, 8), (1, 192, 4, 4), (1, 384, 2, 2), (1, 768, 1, 1)]
    assert embedding.shape == (1, 768)
    assert small.pretrained is False


def test_equals_the_backbone_of_timm(small):
    x = torch.randn(2, 3, 32, 32)
    small.eval()
    torch.testing.assert_close(small(x)[1], small.backbone(x))


def test_loads_a_file_and_says_which(small, tmp_path):
    path = tmp_path / "mine.safetensors"
    state = {key: value.contiguous() for key, value in small.backbone.state_dict().items()}
    save_file({**state, "head.fc.weight": torch.zeros(1000, 768), "head.fc.bias": torch.zeros(1000)}, path)
    loaded = made(3, weights=str(path), image_size=32)
    assert all(torch.equal(value, state[key]) for key, value in loaded.backbone.state_dict().items())
    assert loaded.pretrained.startswith("mine.safetensors sha256:")


def test_fits_the_first_kernel_to_other_inputs(small, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file({key: value.contiguous() for key, value in small.backbone.state_dict().items()}, path)
    one = made(1, weights=str(path), image_size=32).eval()
    grey = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(one(grey)[1], small.eval()(grey.expand(-1, 3, -1, -1))[1], rtol=1e-4, atol=1e-4)


def test_takes_the_weights_from_the_hubs_cache(small, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / f"models--{REPOSITORY.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    state = {key: value.contiguous() for key, value in small.backbone.state_dict().items()}
    save_file(state, repository / "snapshots" / "abc" / "model.safetensors")
    loaded = made(3, image_size=32)
    assert torch.equal(loaded.backbone.patch_embed.proj.weight, state["patch_embed.proj.weight"])
    assert "ImageNet-1k" in loaded.pretrained


def test_unreachable_weights_name_the_file_the_place_and_the_way_without(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "reachable", lambda _: False)
    with pytest.raises(UsageError) as caught:
        made(3, image_size=32)
    message = str(caught.value)
    assert "model.safetensors" in message
    assert REPOSITORY in message
    assert str(tmp_path) in message
    assert "weights: random" in message


def test_an_image_of_another_size_is_an_error(small):
    with pytest.raises(UsageError, match="built for images of 32² pixels and got 64 × 32"):
        small(torch.randn(1, 3, 64, 32))


def test_the_papers_size_has_the_papers_maps():
    with torch.device("meta"):
        maps, _ = made(3, weights="random")(torch.empty(1, 3, 224, 224))
    assert [tuple(m.shape) for m in maps] == [(1, 96, 56, 56), (1, 192, 28, 28), (1, 384, 14, 14), (1, 768, 7, 7)]


def test_it_trains_where_windows_are_shifted():
    encoder = made(3, weights="random", image_size=32)
    _, embedding = encoder(torch.randn(1, 3, 32, 32))
    embedding.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert encoder.backbone.patch_embed.proj.weight.grad.abs().sum() > 0
