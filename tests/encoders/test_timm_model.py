from __future__ import annotations

import copy
from collections.abc import Iterable

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdbench.encoders import weights
from kdbench.encoders.chain import NotAChain, chain_of
from kdbench.encoders.timm_model import TimmEncoder
from kdbench.errors import UsageError
from kdbench.network import build_network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.registry import part_of, registry

SIZE = 64
MODELS = {
    "resnet10t": ("batch", "nchw"),
    "resnetv2_18": ("batch", "nchw"),
    "regnetx_002": ("batch", "nchw"),
    "convnext_atto": ("sample", "nchw"),
    "efficientnet_lite0": ("batch", "nchw"),
    "mobilenetv3_small_050": ("batch", "nchw"),
    "poolformer_s12": ("sample", "nchw"),
    "pvt_v2_b0": ("sample", "nchw"),
    "swin_tiny_patch4_window7_224": ("sample", "nhwc"),
    "vit_tiny_patch16_224": ("sample", "tokens"),
    "deit_tiny_distilled_patch16_224": ("sample", "tokens"),
    "mixer_s32_224": ("sample", "tokens"),
}
REFUSED = {
    "eva02_tiny_patch14_224": "its _pos_embed gives tuple instead of a tensor",
    "xcit_nano_12_p16_224": "its patch_embed gives tuple instead of a tensor",
    "hiera_tiny_224": "its reroll does not take what the module before it gives",
    "beit_base_patch16_224": "its own forward_features adds its class token between two modules",
}


def made(name: str, channels: int = 3, **parameters) -> TimmEncoder:
    torch.manual_seed(0)
    parameters = {"weights": "random", "image_size": SIZE, **parameters}
    return registry("encoder").get(f"timm:{name}")(channels, **parameters)


@pytest.fixture(scope="module")
def encoder(request: pytest.FixtureRequest) -> TimmEncoder:
    """A model in eval mode, shared by the tests of one name; not to be changed."""
    name = request.param
    return made(name, image_size=70 if "patch14" in name else SIZE).eval()


def of(names: Iterable[str]) -> pytest.MarkDecorator:
    """Runs a test with the shared encoder of each name."""
    return pytest.mark.parametrize("encoder", list(names), indirect=True)


def shaken(encoder: TimmEncoder) -> TimmEncoder:
    """With no parameter or statistic at the value that initialisation gave it: a zero or a one would hide a step."""
    with torch.no_grad():
        for value in encoder.state_dict().values():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand_like(value))
    return encoder.eval()


@of(MODELS)
@torch.no_grad()
def test_driven_by_stages_it_gives_exactly_the_models_own_features(encoder):
    encoder = shaken(copy.deepcopy(encoder))
    x = torch.randn(2, 3, SIZE, SIZE)
    features = encoder.backbone.forward_features(x)
    maps, embedding = encoder(x)
    assert torch.equal(embedding, encoder.backbone(x))
    last = encoder.stem(x)
    for index in range(4):
        last = encoder.stage(index, last)
    assert torch.equal(encoder.features(last), features)
    assert [feature.shape[1] for feature in maps] == list(encoder.channels)
    assert all(feature.dim() == 4 and len(feature) == 2 for feature in maps)
    assert embedding.shape == (2, encoder.width)
    normalisation, layout = MODELS[encoder.model_name]
    assert encoder.normalisation == normalisation
    assert encoder.chain.layouts[-1] == layout


# A class token, with distillation, without positions, beside registers, and the mean instead of one.
TRANSFORMERS = (
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_little_patch16_reg4_gap_256",
    "vit_small_patch14_reg4_dinov2",
    "test_vit",
    "test_vit2",
    "test_vit3",
)


@of(dict.fromkeys([*MODELS, *TRANSFORMERS]))
def test_what_is_predicted_depends_on_every_map(encoder):
    x = torch.randn(1, 3, encoder.image_size, encoder.image_size)
    assert encoder.unread(x) == ()
    with torch.no_grad():
        assert torch.equal(encoder(x)[1], encoder.backbone(x))


def test_the_last_map_of_a_class_token_is_what_its_last_block_takes():
    encoder = made("vit_tiny_patch16_224").eval()
    seen = []
    encoder.backbone.blocks[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        maps, _ = encoder(torch.randn(1, 3, SIZE, SIZE))
    assert torch.equal(maps[3].flatten(2).mT, seen[-1][:, 1:])
    # What is read evenly keeps its last map.
    assert made("vit_little_patch16_reg4_gap_256").chain.stages[3][-1] == "blocks.13"


@of(["resnet10t", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"])
def test_a_map_that_is_replaced_between_stages_changes_the_outcome(encoder):
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = encoder(x)[1]
        for at in range(4):
            maps = encoder.stem(x)
            for index in range(4):
                maps = encoder.stage(index, maps)
                if index == at:
                    maps = maps + torch.randn_like(maps)
            assert not torch.allclose(encoder.pool(maps), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused_with_the_reason_and_what_can_be_had(name):
    with pytest.raises(UsageError) as caught:
        made(name)
    message = str(caught.value)
    assert f"'timm:{name}' cannot be driven in four stages" in message
    assert REFUSED[name] in message
    assert "resnet" in message
    assert "timm.list_models()" in message


def test_a_misspelt_name_gets_the_near_ones():
    with pytest.raises(UsageError, match="timm has no model 'resnt18'; did you mean 'resnet18'"):
        registry("encoder").get("timm:resnt18")
    with pytest.raises(UsageError, match=r"no set of weights 'resnet18\.a9_in1k'; did you mean .*'resnet18\.a1_in1k'"):
        registry("encoder").get("timm:resnet18.a9_in1k")


def test_a_name_is_one_class_that_says_what_it_eats_and_expects():
    found = registry("encoder").get("timm:resnet10t")
    assert found is registry("encoder").get("timm:resnet10t")
    assert part_of(found).declares == {"eats": "image"}
    assert part_of(found).name == "timm:resnet10t"
    assert found.statistics == weights.IMAGENET_STATISTICS
    assert registry("encoder").get("timm:vit_tiny_patch16_224").statistics == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("channels", [1, 6])
def test_other_channels_enter_and_fit_the_first_kernel(channels, tmp_path):
    path = tmp_path / "mine.safetensors"
    three = shaken(made("resnet10t"))
    save_file({key: value.contiguous() for key, value in three.backbone.state_dict().items()}, path)
    other = made("resnet10t", channels, weights=str(path)).eval()
    grey = torch.randn(2, 1, SIZE, SIZE)
    with torch.no_grad():
        ours, theirs = other(grey.expand(-1, channels, -1, -1))[1], three(grey.expand(-1, 3, -1, -1))[1]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert other.pretrained.startswith("mine.safetensors sha256:")


@of(["resnet10t", "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_file_with_a_head_is_loaded_without_it(encoder, tmp_path):
    path = tmp_path / "mine.safetensors"
    name, given = encoder.model_name, shaken(copy.deepcopy(encoder))
    head = "fc" if name == "resnet10t" else "head.fc" if name.startswith(("convnext", "swin")) else "head"
    state = {key: value.contiguous() for key, value in given.backbone.state_dict().items()}
    save_file({**state, f"{head}.weight": torch.zeros(1000, given.width), f"{head}.bias": torch.zeros(1000)}, path)
    loaded = made(name, weights=str(path)).eval()
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(loaded(x)[1], given(x)[1])


def test_a_file_of_another_model_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(made("regnetx_002").backbone.state_dict(), path)
    with pytest.raises(UsageError, match="is not of this encoder"):
        made("resnet10t", weights=str(path))


def test_pretrained_weights_come_from_the_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    given = shaken(made("resnet10t"))
    repository = tmp_path / "models--timm--resnet10t.c3_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    save_file(given.backbone.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    loaded = made("resnet10t", weights="pretrained")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), given.parameters(), strict=True))
    assert loaded.pretrained == "timm/resnet10t.c3_in1k (timm)"


def test_unreachable_weights_are_an_error_and_never_random_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "reachable", lambda _: False)
    with pytest.raises(UsageError) as caught:
        made("resnet10t", weights="pretrained")
    assert "'timm:resnet10t' are neither cached nor reachable" in str(caught.value)
    assert "weights: random" in str(caught.value)


def test_a_model_without_pretrained_weights_says_so():
    with pytest.raises(UsageError, match="timm has no pretrained weights for 'timm:resnetblur18'"):
        made("resnetblur18", weights="pretrained")


def test_a_model_of_fixed_size_refuses_another():
    encoder = made("vit_tiny_patch16_224")
    with pytest.raises(UsageError, match="built for images of 64² pixels and got 32 × 32"):
        encoder(torch.randn(1, 3, 32, 32))
    assert made("resnet10t").eval()(torch.randn(1, 3, 96, 96))[0][0].shape[-1] == 24


def test_construction_draws_what_the_model_draws_and_no_more():
    import timm

    made("resnet10t")
    after = torch.rand(3)
    torch.manual_seed(0)
    timm.create_model("resnet10t", num_classes=0)
    assert torch.equal(torch.rand(3), after)
    assert made("resnet10t").backbone.training


def test_statistics_of_its_batch_norm_are_untouched_by_the_trial():
    encoder = made("resnet10t")
    assert all((m.num_batches_tracked == 0) for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))


def test_its_class_token_is_not_kept_and_the_encoder_can_be_copied():
    encoder = made("vit_tiny_patch16_224")
    encoder(torch.randn(2, 3, SIZE, SIZE))[1].sum().backward()
    other = copy.deepcopy(encoder).eval()
    x = torch.randn(1, 3, SIZE, SIZE)
    assert torch.equal(other(x)[1], encoder.eval()(x)[1])


def test_a_batch_norm_under_a_fusion_that_couples_the_batch_is_refused():
    spec = NetworkSpec.model_validate(
        {
            "modality": "sensors",
            "representation": {"name": "gaf", "image_size": SIZE},
            "encoder": {"name": "timm:resnet10t", "weights": "random", "image_size": SIZE},
            "fusion": {"name": "ft"},
            "losses": {"ce": {"weight": 1.0}},
            "train": {"epochs": 1, "batch_size": 2, "lr": 1e-3},
        }
    )
    with pytest.raises(UsageError, match="'timm:resnet10t' normalises by BatchNorm"):
        build_network(spec, sources={"a": 3, "b": 3}, classes=4, semantic=None)


STAGES = [{"module": f"layer{i}", "num_chs": 3, "reduction": 2**i} for i in range(1, 5)]


class Detour(nn.Module):
    """Four stages and features that are not their chain."""

    def __init__(self, feature_info: list[dict[str, object]] = STAGES) -> None:
        super().__init__()
        self.stem = nn.Identity()
        for i in range(1, 5):
            self.add_module(f"layer{i}", nn.AvgPool2d(2))
        self.feature_info = feature_info

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return 1 + self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "run as a chain of its modules it gives other features"),
        ({"feature_info": STAGES[:3]}, "timm names 3 resolutions of it, and four are needed"),
        ({"feature_info": [{**e, "num_chs": 8} for e in STAGES]}, "gives 3 channels, and timm names 8"),
        ({"feature_info": STAGES[::-1]}, "its stages do not follow one another"),
        ({"feature_info": [{**e, "module": f"deep.{e['module']}"} for e in STAGES]}, "is not a module of"),
    ],
)
def test_a_chain_is_only_taken_where_it_is_proven(changes, message):
    with pytest.raises(NotAChain, match=message):
        chain_of(Detour(**changes), torch.randn(1, 3, 32, 32))


def test_stochastic_depth_is_what_is_asked_for():
    from timm.layers import DropPath

    def rates(encoder: TimmEncoder) -> set[float]:
        return {part.drop_prob for part in encoder.modules() if isinstance(part, DropPath)}

    assert rates(made("swin_tiny_patch4_window7_224")) == set()
    assert max(rates(made("swin_tiny_patch4_window7_224", drop_path=0.3))) == pytest.approx(0.3)
    with pytest.raises(UsageError, match=r"cannot build it with .*'drop_path_rate': 0.1"):
        made("densenet121", drop_path=0.1)


def test_says_where_all_stages_have_one_grid():
    assert made("vit_tiny_patch16_224").isotropic
    assert not made("resnet10t").isotropic
