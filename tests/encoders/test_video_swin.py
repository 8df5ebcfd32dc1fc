from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kdbench.encoders import weights
from kdbench.encoders.base import Encoder
from kdbench.errors import UsageError
from kdbench.registry import registry


def made(channels: int, **parameters) -> Encoder:
    torch.manual_seed(0)
    return registry("encoder").get("video_swin_t")(channels, **parameters)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return made(3, weights="random")


def test_hands_out_four_maps_and_an_embedding(encoder):
    maps, embedding = encoder(torch.randn(1, 3, 4, 32, 32))
    assert [tuple(m.shape) for m in maps] == [
        (1, 96, 2, 8, 8),
        (1, 192, 2, 4, 4),
        (1, 384, 2, 2, 2),
        (1, 768, 2, 1, 1),
    ]
    assert embedding.shape == (1, 768)


def test_equals_the_backbone_of_torchvision(encoder):
    x = torch.randn(2, 3, 4, 32, 32)
    encoder.eval()
    torch.testing.assert_close(encoder(x)[1], encoder.backbone(x))


def test_loads_a_file_and_fits_its_first_kernel(encoder, tmp_path):
    path = tmp_path / "video.safetensors"
    state = {key: value.contiguous() for key, value in encoder.backbone.state_dict().items()}
    save_file({**state, "head.weight": torch.zeros(400, 768), "head.bias": torch.zeros(400)}, path)
    depth = made(1, weights=str(path)).eval()
    clip = torch.randn(1, 1, 4, 32, 32)
    expected = encoder.eval()(clip.expand(-1, 3, -1, -1, -1))[1]
    torch.testing.assert_close(depth(clip)[1], expected, rtol=1e-4, atol=1e-4)
    assert depth.pretrained.startswith("video.safetensors sha256:")


def test_unreachable_weights_name_the_file_the_place_and_the_way_without(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "reachable", lambda _: False)
    with pytest.raises(UsageError) as caught:
        made(3)
    message = str(caught.value)
    assert "https://download.pytorch.org/models/swin3d_t-7615ae03.pth" in message
    assert str(tmp_path / "hub" / "checkpoints" / "swin3d_t-7615ae03.pth") in message
    assert "weights: random" in message


def test_takes_the_weights_from_the_hub_folder(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = encoder.backbone.state_dict()
    torch.save(
        {**state, "head.weight": torch.zeros(400, 768), "head.bias": torch.zeros(400)}, folder / "swin3d_t-7615ae03.pth"
    )
    loaded = made(3)
    assert all(torch.equal(value, state[key]) for key, value in loaded.backbone.state_dict().items())
    assert "Kinetics-400" in loaded.pretrained


def test_a_broken_cached_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    broken = tmp_path / "hub" / "checkpoints" / "swin3d_t-7615ae03.pth"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"half a download")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        made(3)
    assert str(broken) in str(caught.value)
    assert "Delete that file" in str(caught.value)


def test_the_papers_size_has_the_papers_maps():
    with torch.device("meta"):
        maps, _ = made(3, weights="random")(torch.empty(1, 3, 32, 224, 224))
    assert [tuple(m.shape) for m in maps] == [
        (1, 96, 16, 56, 56),
        (1, 192, 16, 28, 28),
        (1, 384, 16, 14, 14),
        (1, 768, 16, 7, 7),
    ]


def test_it_trains_where_windows_are_shifted():
    encoder = made(3, weights="random")
    _, embedding = encoder(torch.randn(1, 3, 32, 32, 32))
    embedding.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert encoder.backbone.patch_embed.proj.weight.grad.abs().sum() > 0


def authors_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The backbone's tensors as the authors' checkpoint names them, with its prefix and its head."""
    named = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "features" and int(parts[1]) % 2 == 0:
            rest = ".".join(parts[3:]).replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2")
            name = f"layers.{int(parts[1]) // 2}.blocks.{parts[2]}.{rest}"
        elif parts[0] == "features":
            name = f"layers.{int(parts[1]) // 2}.downsample.{'.'.join(parts[2:])}"
        named[f"backbone.{name}"] = value
    return {**named, "cls_head.fc_cls.weight": torch.zeros(400, 768), "cls_head.fc_cls.bias": torch.zeros(400)}


def test_the_authors_checkpoint_is_taken_under_its_own_names(tmp_path: Path) -> None:
    torch.manual_seed(1)
    given = made(3, weights="random").backbone.state_dict()
    state = authors_names(given)
    assert "backbone.layers.2.blocks.5.mlp.fc2.weight" in state
    assert "backbone.layers.0.downsample.reduction.weight" in state
    assert not any(name.startswith("backbone.layers.3.downsample") for name in state)
    path = tmp_path / "swin_tiny_patch244_window877_kinetics400_1k.pth"
    torch.save({"meta": {}, "state_dict": state}, path)
    loaded = made(3, weights=str(path))
    assert all(torch.equal(value, given[name]) for name, value in loaded.backbone.state_dict().items())
    assert str(loaded.pretrained).startswith(path.name)
    assert "without its cls_head" in str(loaded.pretrained)
