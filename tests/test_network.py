from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from kdbench.errors import UsageError
from kdbench.fusions import BUILTIN
from kdbench.network import Network, build_network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.types import Batch

ROWS, CLASSES = 5, 7
SENSORS = {"accelerometer": 3, "gyroscope": 3}
RAW = {"representation": {"name": "raw"}, "encoder": {"name": "conv1d", "widths": [8, 8, 16, 16]}}
GAF = {
    "representation": {"name": "gaf", "image_size": 16},
    "encoder": {"name": "conv2d", "widths": [8, 8, 16, 16]},
}
CLIP = {
    "representation": {"name": "clip", "channels": "difference"},
    "encoder": {"name": "conv2plus1d", "widths": [8, 8, 16, 16]},
}
FT = {"fusion": {"name": "ft"}}
FUSION_NAMES = sorted(BUILTIN)


def spec(modality: str = "sensors", **parts: Any) -> NetworkSpec:
    training = {"losses": {"ce": {}}, "train": {"epochs": 1, "batch_size": 2, "lr": 1e-3}}
    return NetworkSpec.model_validate({"modality": modality, **RAW, **training, **parts})


def build(
    modality: str = "sensors",
    *,
    sources: dict[str, int] | None = None,
    semantic: int | None = 6,
    groups: int | None = None,
    **parts: Any,
) -> Network:
    torch.manual_seed(0)
    chosen = sources or (SENSORS if modality == "sensors" else {"video": 1})
    return build_network(
        spec(modality, **parts),
        sources=chosen,
        classes=CLASSES,
        semantic=semantic,
        groups=groups,
        role="teacher",
        view="depth",
    )


def batch(rows: int = ROWS) -> Batch:
    drawn = torch.Generator().manual_seed(1)
    return Batch(
        sensors={name: torch.randn(rows, axes, 40, generator=drawn) for name, axes in SENSORS.items()},
        video=torch.randint(0, 256, (rows, 1, 4, 32, 32), dtype=torch.uint8, generator=drawn),
        label=torch.arange(rows) % CLASSES,
        trial=tuple(f"a{i}_s1_t1" for i in range(rows)),
        index=torch.arange(rows),
    )


def message_of(**arguments: Any) -> str:
    with pytest.raises(UsageError) as caught:
        build(**arguments)
    return str(caught.value)


@pytest.mark.parametrize("parts", [RAW, GAF, {**RAW, **FT}, {**GAF, **FT}])
def test_a_network_of_sensors_has_a_branch_a_sensor(parts):
    network = build(**parts)
    features = network(network.represent(batch()))
    assert network.heads == network.branches == ("accelerometer", "gyroscope")
    assert len(features) == len(network.widths) == 2
    for branch, widths in zip(features, network.widths, strict=True):
        assert branch.logits.shape == (ROWS, widths.logits) == (ROWS, CLASSES)
        assert tuple(m.shape[1] for m in branch.stages) == widths.stages == (8, 8, 16, 16)
        assert branch.embedding.shape == (ROWS, widths.embedding)
        assert branch.semantic.shape == (ROWS, widths.semantic) == (ROWS, 6)
        assert branch.ablated_logits is None
        assert {m.dim() - 2 for m in branch.stages} == {widths.axes}


def test_a_network_of_video_has_one_branch():
    network = build("video", **CLIP)
    (features,) = network(network.represent(batch()))
    assert network.branches == ("depth",)
    assert features.logits.shape == (ROWS, CLASSES)
    assert [m.dim() for m in features.stages] == [5] * 4
    assert network.widths[0].axes == 3


def test_a_joint_fusion_leaves_one_branch_with_the_joined_widths():
    network = build(fusion={"name": "concat"})
    (features,) = network(network.represent(batch()))
    (widths,) = network.widths
    assert network.heads == ("accelerometer+gyroscope",)
    assert tuple(m.shape[1] for m in features.stages) == widths.stages == (16, 16, 32, 32)
    assert features.embedding.shape[1] == widths.embedding == 32


def test_the_stages_are_the_fusions_output():
    torch.manual_seed(0)
    apart, fused = build(), build(**FT)
    inputs = apart.represent(batch())
    fused.encoders.load_state_dict(apart.encoders.state_dict())
    plain = [branch.stages[0] for branch in apart(inputs)]
    expected = fused.fusion.between(0, plain)
    for branch, tuned in zip(fused(inputs), expected, strict=True):
        torch.testing.assert_close(branch.stages[0], tuned)


@pytest.mark.parametrize(("semantic", "kind"), [(16, nn.Identity), (6, nn.Linear)])
def test_the_semantic_feature_is_the_embedding_where_the_widths_agree(semantic, kind):
    network = build(semantic=semantic)
    features = network(network.represent(batch()))[0]
    assert isinstance(network.projections[0], kind)
    assert torch.equal(features.semantic, features.embedding) is (kind is nn.Identity)


def test_without_label_vectors_there_is_no_semantic_feature():
    network = build(semantic=None)
    assert network.widths[0].semantic is None
    assert network(network.represent(batch()))[0].semantic is None


@pytest.mark.parametrize("fusion", FUSION_NAMES)
def test_a_group_head_stands_beside_each_branchs_classifier(fusion):
    plain, grouped = build(fusion={"name": fusion}).eval(), build(fusion={"name": fusion}, groups=3).eval()
    inputs = plain.represent(batch())
    for without, branch, widths in zip(plain(inputs), grouped(inputs), grouped.widths, strict=True):
        assert without.group_logits is None
        assert branch.group_logits.shape == (ROWS, widths.group_logits) == (ROWS, 3)
        assert torch.equal(branch.logits, without.logits)


def test_the_group_head_of_a_guided_fusion_sees_what_guides_it():
    network = build(fusion={"name": "guided"}, groups=3).eval()
    inputs = network.represent(batch())
    before = network(inputs)[0]
    with torch.no_grad():
        network.fusion.output.weight.add_(1.0)
    target_moved = network(inputs)[0]
    assert torch.equal(target_moved.group_logits, before.group_logits)
    assert not torch.equal(target_moved.logits, before.logits)
    with torch.no_grad():
        network.fusion.guide[0].bias.add_(1.0)
    assert not torch.equal(network(inputs)[0].group_logits, before.group_logits)


def test_the_group_head_of_a_guided_fusion_may_be_one_layer():
    network = build(fusion={"name": "guided", "group_head": "linear"}, groups=3)
    assert isinstance(network.group_heads[0], torch.nn.Linear)
    assert network.group_heads[0].weight.shape == (3, 128)


def test_the_group_head_of_a_guided_fusion_does_not_run_it_again():
    network = build(fusion={"name": "guided"}, groups=3).train()
    network(network.represent(batch()))
    counted = [
        module.num_batches_tracked.item() for module in network.fusion.modules() if hasattr(module, "running_var")
    ]
    assert len(counted) > 1
    assert set(counted) == {1}


def test_a_fusion_may_change_the_last_maps_before_they_are_pooled():
    network = build(fusion={"name": "spamfm"}).eval()
    features = network(network.represent(batch()))
    for branch, encoder in zip(features, network.encoders, strict=True):
        torch.testing.assert_close(branch.embedding, encoder.pool(branch.stages[3]))
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.fusion.gates[3].concat[0][2].bias.add_(3.0)
    first, second = changed(changed.represent(batch()))
    assert torch.equal(first.stages[2], features[0].stages[2])
    assert not torch.equal(first.stages[3], features[0].stages[3])
    assert torch.equal(second.stages[3], features[1].stages[3])


def test_represents_with_what_it_learnt_from_the_training_part():
    network = build()
    values = {name: 5 + 3 * x for name, x in batch(50).sensors.items()}
    network.fit(values)
    inputs = network.represent(batch(50).replace(sensors=values))
    assert all(abs(x.mean()) < 1e-3 and abs(x.std() - 1) < 1e-2 for x in inputs)


@pytest.mark.parametrize("fusion", FUSION_NAMES)
@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_work(rows, fusion):
    network = build(fusion={"name": fusion}).train()
    features = network(network.represent(batch(rows)))
    assert all(torch.isfinite(branch.logits).all() for branch in features)


# Ablation ------------------------------------------------------------------------------------------------------------


FUSIONS = [
    *({"name": name} for name in FUSION_NAMES),
    {"name": "ft", "norm": "row"},
    {"name": "spamfm", "norm": "frobenius"},
    {"name": "attention", "score": "linear"},
]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_zero_sample_stands_for_a_whole_zero_batch(fusion):
    network = build(fusion=fusion).eval()
    inputs = network.represent(batch())
    expected = [branch.logits for branch in network([torch.zeros_like(x) for x in inputs])]
    for ours, full in zip(network.ablated(inputs), expected, strict=True):
        assert ours.shape == (ROWS, CLASSES)
        torch.testing.assert_close(ours, full)


@pytest.mark.parametrize("mode", ["all", "channel"])
def test_ablating_leaves_no_trace(mode):
    network = build("video", representation=CLIP["representation"], encoder={**CLIP["encoder"], "norm": "batch"})
    network.train()
    network.classifiers[0].eval()
    inputs = network.represent(batch())
    given, state = [x.clone() for x in inputs], copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    logits = network.ablated(inputs, mode, torch.Generator())
    assert not logits[0].requires_grad
    assert modes == [module.training for module in network.modules()]
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert all(torch.equal(x, y) for x, y in zip(inputs, given, strict=True))


def test_channel_ablation_zeroes_one_channel_of_each_row():
    network = build().eval()
    inputs = network.represent(batch())
    seen: list[list[torch.Tensor]] = []
    whole = network.forward

    def watched(changed: list[torch.Tensor]) -> Any:
        seen.append(changed)
        return whole(changed)

    network.forward = watched
    network.ablated(inputs, "channel", torch.Generator().manual_seed(0))
    for x, changed in zip(inputs, seen[0], strict=True):
        zeroed = (changed == 0).all(2)
        assert zeroed.sum(1).tolist() == [1] * ROWS
        assert torch.equal(changed[~zeroed], x[~zeroed])


def test_channel_ablation_follows_its_generator():
    network = build().eval()
    inputs = network.represent(batch())
    runs = [network.ablated(inputs, "channel", torch.Generator().manual_seed(seed))[0] for seed in (3, 3, 4)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_an_unknown_ablation_names_the_near_miss():
    network = build()
    with pytest.raises(UsageError, match="did you mean 'channel'"):
        network.ablated(network.represent(batch()), "chanel")


# Building ------------------------------------------------------------------------------------------------------------


def test_the_mean_of_the_softmax_outputs_is_the_prediction():
    network = build()
    features = network(network.represent(batch()))
    expected = sum(branch.logits.softmax(1) for branch in features) / 2
    torch.testing.assert_close(network.probabilities(features), expected)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(["none", "concat", "ft", "guided"], 2)))
def test_the_encoders_start_alike_whatever_joins_them(one, other):
    first, second = build(fusion={"name": one}), build(fusion={"name": other})
    for a, b in zip(first.encoders.parameters(), second.encoders.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_classifier_starts_alike_with_and_without_label_vectors():
    for a, b in zip(build(semantic=6).classifiers, build(semantic=None).classifiers, strict=True):
        assert torch.equal(a.weight, b.weight)


def test_a_saved_network_answers_as_it_did(tmp_path):
    network = build(**FT).eval()
    network.fit(batch(20).sensors)
    torch.manual_seed(9)
    other = build_network(spec(**FT), sources=SENSORS, classes=CLASSES, semantic=6).eval()
    other.load_state_dict(network.state_dict())
    for a, b in zip(network(network.represent(batch())), other(other.represent(batch())), strict=True):
        assert torch.equal(a.logits, b.logits)


def test_provenance_says_that_the_encoders_start_from_scratch():
    assert build().provenance == {"accelerometer": False, "gyroscope": False}


@pytest.mark.slow
def test_compiles_to_the_same_numbers():
    network = build(**FT).eval()
    inputs = network.represent(batch())
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    for a, b in zip(network(inputs), compiled(inputs), strict=True):
        torch.testing.assert_close(a.logits, b.logits)
        torch.testing.assert_close(a.stages[0], b.stages[0])


# Parts that do not fit -----------------------------------------------------------------------------------------------


def test_an_encoder_of_images_refuses_a_series():
    message = message_of(encoder={"name": "conv2d"})
    assert "teacher.encoder 'conv2d' takes image" in message
    assert "teacher.representation 'raw' makes series" in message
    assert "Encoders that take series: cnn1d, conv1d" in message
    assert "Representations that make image: gaf" in message


def test_a_representation_of_sensors_refuses_video():
    message = message_of(modality="video", representation={"name": "raw"})
    assert "'raw' is for sensors, and the network sees video there" in message
    assert "Representations of video: clip" in message


@pytest.mark.parametrize(
    ("part", "key", "near"),
    [
        ({"encoder": {"name": "conv1d", "widht": 3}}, "teacher.encoder.widht", "teacher.encoder.widths"),
        ({"representation": {"name": "raw", "statistics": 1}}, "teacher.representation.statistics", ""),
        ({"fusion": {"name": "ft", "nrom": "row"}}, "teacher.fusion.nrom", "teacher.fusion.norm"),
        ({"fusion": {"name": "ft", "channels": 3}}, "teacher.fusion.channels", ""),
    ],
)
def test_an_unknown_parameter_names_its_key_and_the_near_miss(part, key, near):
    message = message_of(**part)
    assert f"unknown recipe key '{key}'" in message
    assert near in message


def test_a_parameter_of_another_part_names_it():
    message = message_of(representation={"name": "raw", "length": "native"})
    assert "unknown recipe key 'teacher.representation.length'" in message
    assert "length is a parameter of gaf." in message


def test_a_branch_may_see_series_at_their_native_lengths():
    representation = GAF["representation"] | {"length": "native"}
    network = build(**GAF | {"representation": representation})
    assert network.reads == {name: f"native:{name}" for name in SENSORS}
    assert network.sees == {name: name for name in SENSORS}
    given = batch()
    padded = {f"native:{name}": torch.cat([x, x], 2) for name, x in given.sensors.items()}
    for x in padded.values():
        x[1, :, 20:] = torch.nan
    native = given.replace(sensors=padded)
    network.fit({name: x[:1] for name, x in padded.items()})
    assert all(x.isfinite().all() and x.shape[2:] == (16, 16) for x in network.represent(native))
    with pytest.raises(UsageError, match="native:accelerometer"):
        network.represent(given)


def test_a_bad_value_names_its_part():
    message = message_of(encoder={"name": "conv1d", "widths": "many"})
    assert "teacher.encoder.widths = 'many', expected a list of whole numbers" in message
    assert "--set 'teacher.encoder.widths=[32,64,96,128]'" in message


def test_an_unknown_part_names_the_near_miss():
    assert "unknown fusion 'fft'; did you mean 'ft'" in message_of(fusion={"name": "fft"})


def test_a_fusion_that_couples_the_batch_refuses_batchnorm():
    message = message_of(encoder={**RAW["encoder"], "norm": "batch"}, **FT)
    assert "teacher.fusion 'ft' couples the batch" in message
    assert "'conv1d' normalises by BatchNorm" in message
    assert "--set teacher.encoder.norm=group" in message


def test_a_missing_source_is_named():
    network = build(sources={"magnetometer": 3})
    with pytest.raises(UsageError, match="unknown source of the batch 'magnetometer'"):
        network.represent(batch())
    with pytest.raises(UsageError, match="unknown source of the batch 'video'"):
        build("video", **CLIP).represent(batch().replace(video=None))
