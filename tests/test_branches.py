"""Networks over any sources: branches with parts of their own, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from kdbench.engine.objective import Objective
from kdbench.errors import UsageError
from kdbench.network import Network, build_network
from kdbench.network.scores import class_scores
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.terms import LossTerm
from kdbench.types import Batch, Context, JointGraph

ROWS, CLASSES = 4, 5
SOURCES = {"accelerometer": 3, "gyroscope": 2, "skeleton": 9, "video": 1}
RAW = {"representation": {"name": "raw"}, "encoder": {"name": "conv1d", "widths": [4, 8, 8, 12]}}
CLIP = {"representation": {"name": "clip"}, "encoder": {"name": "conv2plus1d", "widths": [4, 8, 8, 16]}}
JOINTS = {"representation": {"name": "joints"}, "encoder": {"name": "conv1d", "widths": [4, 8, 8, 8]}}
GRAPH = JointGraph(("hip", "neck", "hand"), ((0, 1), (1, 2)))
WRIST, CAMERA, BODY = {"sees": "accelerometer", **RAW}, {"sees": "video:depth", **CLIP}, {"sees": "skeleton", **JOINTS}
REST = {"losses": {"ce": {}}, "train": {"epochs": 1, "batch_size": 2, "lr": 1e-3}}


def spec(branches: Mapping[str, Any], **more: Any) -> NetworkSpec:
    return NetworkSpec.model_validate({"branches": branches, **REST, **more})


def build(given: NetworkSpec, **more: Any) -> Network:
    torch.manual_seed(0)
    channels = {**SOURCES, "video:depth": 1}
    sources = {name: channels[name] for name in given.sees(("accelerometer", "gyroscope"))}
    return build_network(
        given,
        sources=sources,
        classes=CLASSES,
        semantic=more.pop("semantic", None),
        role="teacher",
        view="depth",
        skeletons={"skeleton": GRAPH},
        **more,
    ).eval()


def batch() -> Batch:
    drawn = torch.Generator().manual_seed(1)
    series = {name: count for name, count in SOURCES.items() if name != "video"}
    return Batch(
        sensors={name: torch.randn(ROWS, axes, 40, generator=drawn) for name, axes in series.items()},
        video=torch.randint(0, 256, (ROWS, 1, 4, 32, 32), dtype=torch.uint8, generator=drawn),
        label=torch.arange(ROWS) % CLASSES,
        trial=tuple(f"t{row}" for row in range(ROWS)),
        index=torch.arange(ROWS),
    )


def message_of(given: NetworkSpec) -> str:
    with pytest.raises(UsageError) as caught:
        build(given)
    return f"{caught.value}\n{caught.value.hint}"


def test_the_shorthand_stands_for_branches_of_one_kind() -> None:
    short = NetworkSpec.model_validate({"modality": "sensors", **RAW, **REST, "fusion": {"name": "ft"}})
    long = spec(
        {name: {"sees": name, **RAW} for name in ("accelerometer", "gyroscope")},
        fusion={"name": "ft"},
    )
    first, second = (build(given) for given in (short, long))
    assert first.branches == second.branches == first.heads
    ours, theirs = (network(network.represent(batch())) for network in (first, second))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.logits, other.logits)


def test_branches_see_unlike_sources_under_one_head() -> None:
    network = build(spec({"wrist": WRIST, "camera": CAMERA, "body": BODY}, fusion={"name": "concat"}), semantic=6)
    assert network.branches == ("wrist", "camera", "body")
    assert network.sees == {"wrist": "accelerometer", "camera": "video", "body": "skeleton"}
    assert network.heads == ("wrist+camera+body",)
    (features,) = network(network.represent(batch()))
    assert features.embedding.shape == (ROWS, 12 + 16 + 8)
    assert features.stages == ()
    assert features.semantic is not None
    assert features.semantic.shape == (ROWS, 6)
    assert network.widths[0].stages == ()


def test_the_maps_of_one_branch_are_handed_out_where_it_is_named() -> None:
    network = build(spec({"wrist": WRIST, "camera": CAMERA}, fusion={"name": "concat", "maps_of": "camera"}))
    (features,) = network(network.represent(batch()))
    assert [stage.shape[1] for stage in features.stages] == list(network.widths[0].stages) == [4, 8, 8, 16]
    assert features.stages[0].dim() == 5
    with pytest.raises(UsageError, match="maps_of has no branch 'camrea'; did you mean 'camera'"):
        build(spec({"wrist": WRIST, "camera": CAMERA}, fusion={"name": "concat", "maps_of": "camrea"}))


@pytest.mark.parametrize("name", ["multihead", "guided"])
def test_fusions_that_bring_branches_to_one_width_take_any(name: str) -> None:
    network = build(spec({"wrist": WRIST, "camera": CAMERA}, fusion={"name": name}))
    (features,) = network(network.represent(batch()))
    assert features.embedding.shape == (ROWS, 128)


def test_heads_of_unlike_branches_have_losses_of_their_own() -> None:
    network = build(spec({"wrist": WRIST, "camera": CAMERA}))
    assert [width.embedding for width in network.widths] == [12, 16]
    teacher = build(spec({"body": BODY}))
    context = Context(CLASSES, network.widths[0], tuple(teacher.widths))
    objective = Objective(
        {"hint": LossTerm(stages=[1]), "ce": LossTerm()}, context, owner="student", heads=network.widths
    )
    given = batch()
    value, values = objective(network(network.represent(given)), teacher(teacher.represent(given)), given)
    assert values.shape == (2,)
    assert value.isfinite()


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ("ft", "joins branches of one architecture, and these are unlike (wrist: series, channels [4, 8, 8, 12]"),
        ("sum", "joins embeddings of one width, and those of the branches have wrist 12, camera 16"),
    ],
)
def test_a_fusion_refuses_branches_that_it_does_not_join(fusion: str, words: str) -> None:
    message = message_of(spec({"wrist": WRIST, "camera": CAMERA}, fusion={"name": fusion}))
    assert f"teacher.fusion '{fusion}' {words}" in message
    assert "branches: concat, guided, masked, multihead, none" in message


def test_what_a_branch_cannot_see_names_its_place() -> None:
    message = message_of(spec({"camera": {**CAMERA, **RAW}}))
    assert "teacher.branches.camera.representation 'raw' is for sensors" in message
    assert "'joints' is for the joints of a skeleton" in message_of(spec({"wrist": {**WRIST, **JOINTS}}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"branches": {}}, "branches is empty"),
        ({"branches": {"wrist": WRIST}, "modality": "sensors"}, "branches stand beside modality"),
        ({"branches": {"a b": WRIST}}, "'a b' is no name"),
        ({"modality": "sensors", **{key: RAW[key] for key in ("encoder",)}}, "representation is missing"),
        ({"branches": {"a": WRIST, "b": {**WRIST, "augment": {"noise": 1}}}}, "another branch sees accelerometer"),
    ],
)
def test_a_network_says_in_one_way_what_it_sees(given: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        NetworkSpec.model_validate({**given, **REST})


def test_a_source_that_is_missing_leaves_the_other_heads() -> None:
    network = build(spec({"wrist": WRIST, "camera": CAMERA}))
    inputs = network.represent(batch())
    lacking = network.lacking(inputs, {"video"})
    assert torch.equal(lacking[0], inputs[0])
    assert not lacking[1].any()
    assert inputs[1].any()
    features = network(lacking)
    assert torch.equal(class_scores(network, network.speaking(features, {"video"})), features[0].logits)
    joint = build(spec({"wrist": WRIST, "camera": CAMERA}, fusion={"name": "concat"}))
    assert len(joint.speaking(joint(joint.represent(batch())), {"video"})) == 1
