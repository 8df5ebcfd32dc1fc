from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from kdbench.encoders import weights
from kdbench.encoders.base import unread
from kdbench.encoders.torchvision_model import KINDS, MViT, TorchvisionVideo, torchvision_encoder
from kdbench.errors import UsageError
from kdbench.registry import part_of, registry

CLIP = (8, 32, 32)
MODELS = {"r3d_18": "batch", "mc3_18": "batch", "r2plus1d_18": "batch", "s3d": "batch", "swin3d_t": "sample"}


def made(name: str, channels: int = 3, given: str = "random") -> TorchvisionVideo:
    torch.manual_seed(0)
    return registry("encoder").get(f"torchvision:{name}")(channels, weights=given)


@pytest.fixture(scope="module")
def encoder(request: pytest.FixtureRequest) -> TorchvisionVideo:
    """A model of three channels in eval mode, shared by the tests of one name; not to be changed."""
    return made(request.param).eval()


def own(encoder: TorchvisionVideo, x: torch.Tensor) -> torch.Tensor:
    """What torchvision computes before its classifier."""
    if encoder.model_name == "s3d":
        return encoder.backbone.features(x).mean((2, 3, 4))
    return encoder.backbone(x)


def check_stages(encoder: TorchvisionVideo) -> None:
    x = torch.randn(2, encoder.in_channels, *CLIP)
    with torch.no_grad():
        maps, embedding = encoder(x)
        assert torch.equal(embedding, own(encoder, x))
    assert [feature.shape[1] for feature in maps] == list(encoder.channels)
    assert [feature.dim() for feature in maps] == [5] * 4
    assert embedding.shape == (2, encoder.width)
    assert encoder.normalisation == MODELS[encoder.model_name]
    assert encoder.pretrained is False


@pytest.mark.parametrize("encoder", MODELS, indirect=True)
def test_driven_by_stages_it_gives_exactly_the_models_own_features(encoder):
    check_stages(encoder)


@pytest.mark.parametrize("name", MODELS)
def test_other_channels_are_driven_alike(name):
    check_stages(made(name, 2).eval())


@pytest.mark.parametrize("encoder", MODELS, indirect=True)
def test_what_is_predicted_depends_on_every_map(encoder):
    assert encoder.unread(torch.randn(1, 3, *CLIP)) == ()


MULTISCALE = ("mvit_v1_b", "mvit_v2_s")


@pytest.mark.parametrize("name", MULTISCALE)
def test_a_multiscale_transformer_passes_its_class_token_beside_the_maps(name, monkeypatch):
    from torchvision.models.video import mvit

    built = mvit.MViT
    size = {"spatial_size": (64, 64), "temporal_size": 4}
    monkeypatch.setattr(mvit, "MViT", lambda **options: built(**options | size))
    monkeypatch.setattr(MViT, "clip", (4, 64, 64))
    encoder = made(name).eval()
    x = torch.randn(1, 3, 4, 64, 64)
    maps, embedding = encoder(x)
    with torch.no_grad():
        assert torch.equal(embedding, own(encoder, x))
    assert unread(embedding, maps) == ()
    assert [feature.shape[1] for feature in maps] == list(encoder.channels)


@pytest.mark.parametrize("name", MULTISCALE)
def test_a_multiscale_transformer_halves_its_maps(name):
    with torch.device("meta"):
        maps, _ = made(name).eval()(torch.empty(1, 3, 16, 224, 224))
    assert [tuple(feature.shape[2:]) for feature in maps] == [(8, side, side) for side in (56, 28, 14, 7)]


def test_a_multiscale_transformer_refuses_other_clips():
    encoder = made("mvit_v2_s")
    assert encoder.channels == (96, 192, 384, 768)
    with pytest.raises(UsageError, match=r"built for clips of \(16, 224, 224\) and got \(8, 32, 32\)"):
        encoder(torch.randn(1, 3, *CLIP))


def test_every_video_model_of_torchvision_has_a_driver():
    from torchvision import models

    for name in models.list_models(module=models.video):
        assert issubclass(torchvision_encoder(name), tuple(KINDS.values()))


def test_a_name_is_one_class_that_says_what_it_eats_and_expects():
    found = registry("encoder").get("torchvision:r3d_18")
    assert found is registry("encoder").get("torchvision:r3d_18")
    assert part_of(found).declares == {"eats": "clip"}
    assert found.statistics == ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))


def test_a_misspelt_name_gets_the_near_ones():
    with pytest.raises(UsageError, match="torchvision has no video model 'r3d18'; did you mean 'r3d_18'") as caught:
        registry("encoder").get("torchvision:r3d18")
    assert "swin3d_b" in str(caught.value)
    with pytest.raises(UsageError, match="no video model 'resnet18'"):
        registry("encoder").get("torchvision:resnet18")


@pytest.mark.parametrize("encoder", ["mc3_18", "s3d"], indirect=True)
def test_loads_a_file_and_fits_its_first_kernel(encoder, tmp_path):
    path = tmp_path / "video.safetensors"
    name, three = encoder.model_name, encoder
    head = {"fc.weight": torch.zeros(400, 512)} if name == "mc3_18" else {"classifier.1.weight": torch.zeros(400, 1024)}
    save_file({**three.backbone.state_dict(), **head}, path)
    depth = made(name, 1, str(path)).eval()
    clip = torch.randn(1, 1, *CLIP)
    with torch.no_grad():
        theirs = three(clip.expand(-1, 3, -1, -1, -1))[1]
        torch.testing.assert_close(depth(clip)[1], theirs, rtol=1e-3, atol=1e-3)
    assert depth.pretrained.startswith("video.safetensors sha256:")


@pytest.mark.parametrize("encoder", ["mc3_18"], indirect=True)
def test_takes_pretrained_weights_from_the_hub_folder(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    given = encoder.backbone.state_dict()
    torch.save(
        {**given, "fc.weight": torch.zeros(400, 512), "fc.bias": torch.zeros(400)}, folder / "mc3_18-a90a0ba3.pth"
    )
    loaded = made("mc3_18", given="pretrained")
    assert all(torch.equal(value, given[key]) for key, value in loaded.backbone.state_dict().items())
    assert "Kinetics-400" in loaded.pretrained


def test_unreachable_weights_are_an_error_and_never_random_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "reachable", lambda _: False)
    with pytest.raises(UsageError) as caught:
        made("mc3_18", given="pretrained")
    assert "'torchvision:mc3_18' are neither cached nor reachable" in str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / "mc3_18-a90a0ba3.pth") in str(caught.value)
