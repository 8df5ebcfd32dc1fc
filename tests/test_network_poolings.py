"""Networks whose branches have poolings, few stages, or nothing in common."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import Pooling, pooling
from kdbench.engine.objective import Objective
from kdbench.errors import UsageError
from kdbench.network import Network, build_network, evaluating
from kdbench.poolings import BUILTIN
from kdbench.poolings.mean import Mean
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.terms import LossTerm
from kdbench.registry import registry
from kdbench.types import Batch, Context

ROWS, CLASSES = 6, 5
SOURCES = {"accelerometer": 3, "gyroscope": 3, "video": 1}
RAW, CONV = {"name": "raw"}, {"name": "conv1d", "widths": [8, 8, 16, 16]}
SHALLOW = {"name": "inception_time", "filters": 4, "kernel": 8, "norm": "group"}
UNLIKE = {
    "wrist": {
        "sees": "accelerometer",
        "representation": RAW,
        "encoder": SHALLOW,
        "pooling": {"name": "lstm", "hidden": 12},
    },
    "turn": {
        "sees": "gyroscope",
        "representation": RAW,
        "encoder": {"name": "deep_conv_lstm", "filters": 4, "lstm": 10},
    },
    "camera": {
        "sees": "video",
        "representation": {"name": "clip"},
        "encoder": {"name": "frames:conv2d", "widths": [4, 4, 8, 8], "segments": 4},
        "pooling": {"name": "relation", "frames": 4, "feature": 6, "hidden": 6},
    },
}
ALL = sorted(BUILTIN)


def spec(**parts: Any) -> NetworkSpec:
    training = {"losses": {"ce": {}}, "train": {"epochs": 1, "batch_size": 2, "lr": 1e-3}}
    short = {} if "branches" in parts else {"modality": "sensors", "representation": RAW, "encoder": CONV}
    return NetworkSpec.model_validate({**short, **training, **parts})


def build(**parts: Any) -> Network:
    torch.manual_seed(0)
    recipe = spec(**parts)
    sees = recipe.sees(("accelerometer", "gyroscope"))
    return build_network(
        recipe,
        sources={name: SOURCES[name] for name in sees},
        classes=CLASSES,
        semantic=None,
        role="teacher",
        view="depth",
    )


def message_of(**parts: Any) -> str:
    with pytest.raises(UsageError) as caught:
        build(**parts)
    return str(caught.value)


def batch() -> Batch:
    drawn = torch.Generator().manual_seed(1)
    label = torch.arange(ROWS) % CLASSES
    return Batch(
        sensors={
            name: torch.randn(ROWS, 3, 40, generator=drawn) + label[:, None, None]
            for name in ("accelerometer", "gyroscope")
        },
        video=torch.randint(0, 256, (ROWS, 1, 8, 32, 32), dtype=torch.uint8, generator=drawn),
        label=label,
        trial=tuple(f"a{row}_s1_t1" for row in range(ROWS)),
        index=torch.arange(ROWS),
    )


def value(network: Network) -> Tensor:
    features = network(network.represent(batch()))
    return torch.stack([nn.functional.cross_entropy(head.logits, batch().label) for head in features]).mean()


def falls(network: Network, steps: int = 20) -> None:
    """The loss of the training rows falls."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    with evaluating(network), torch.no_grad():
        before = float(value(network))
    for _ in range(steps):
        optimizer.zero_grad()
        value(network.train()).backward()
        optimizer.step()
    with evaluating(network), torch.no_grad():
        assert float(value(network)) < before - 0.05


@pytest.fixture
def with_norm():
    """A pooling with BatchNorm, which kdbench has none of."""

    @pooling("normed")
    class Normed(Mean):
        normalisation = "batch"

        def __init__(self, width: int) -> None:
            super().__init__(width)
            self.norm = nn.BatchNorm1d(width)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.norm(super().forward(tokens))

    registry("pooling").add(Normed)
    yield Normed
    registry("pooling")._added.pop("normed")


@pytest.mark.parametrize("name", ALL)
def test_each_branch_has_a_pooling_of_its_own_and_its_width(name: str) -> None:
    network = build(pooling={"name": name}).eval()
    inputs = network.represent(batch())
    features = network(inputs)
    for number, (head, widths) in enumerate(zip(features, network.widths, strict=True)):
        made, encoder = network.poolings[number], network.encoders[number]
        assert isinstance(made, Pooling)
        assert head.embedding.shape == (ROWS, made.out_width) == (ROWS, widths.embedding)
        torch.testing.assert_close(head.embedding, made(encoder.tokens(head.stages[-1])))
    first, second = network.poolings
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}


@pytest.mark.parametrize("name", ALL)
def test_a_branch_with_a_pooling_trains(name: str) -> None:
    still = {"dropout": 0.0} if name == "relation" else {}
    network = build(pooling={"name": name, **still})
    value(network.train()).backward()
    for part in (*network.poolings.named_parameters(), *network.classifiers.named_parameters()):
        assert part[1].grad is not None, part[0]
        assert part[1].grad.isfinite().all(), part[0]
    falls(network)


@pytest.mark.parametrize(
    ("seen", "represented", "encoder", "length"),
    [
        ("accelerometer", RAW, {"name": "transformer1d"}, 2),
        ("accelerometer", {"name": "gaf", "image_size": 32}, {"name": "conv2d"}, 2),
        ("video", {"name": "clip"}, {"name": "conv2plus1d"}, 2),
        ("video", {"name": "clip"}, {"name": "frames:conv2d"}, 8),
    ],
)
def test_tokens_follow_time_whatever_the_encoder_takes(
    seen: str, represented: dict[str, Any], encoder: dict[str, Any], length: int
) -> None:
    branch = {"sees": seen, "representation": represented, "encoder": encoder, "pooling": {"name": "attention"}}
    network = build(branches={"one": branch}).eval()
    features = network(network.represent(batch()))[0]
    assert network.encoders[0].tokens(features.stages[-1]).shape[1] == length
    assert features.embedding.shape == (ROWS, 128)


def test_a_saved_network_with_poolings_answers_as_it_did() -> None:
    network = build(branches=UNLIKE, fusion={"name": "concat"}).eval()
    torch.manual_seed(9)
    other = build(branches=UNLIKE, fusion={"name": "concat"}).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(network.state_dict())
    inputs = network.represent(batch())
    assert torch.equal(network(inputs)[0].logits, other(inputs)[0].logits)


# Few stages ----------------------------------------------------------------------------------------------------------


def test_an_encoder_of_few_stages_is_refused_by_a_fusion_between_stages() -> None:
    message = message_of(encoder=SHALLOW, fusion={"name": "ft"})
    assert "teacher.fusion 'ft' acts between 4 stages" in message
    assert "the encoder of accelerometer and gyroscope has fewer" in message
    assert "Fusions after the last stage:" in message
    assert "concat" in message


@pytest.mark.parametrize("name", ["none", "concat", "multihead"])
def test_an_encoder_of_few_stages_goes_with_other_fusions(name: str) -> None:
    network = build(encoder=SHALLOW, fusion={"name": name}).eval()
    assert network.depth == 2
    assert all(len(head.stages) == 2 for head in network(network.represent(batch())))


@pytest.mark.parametrize("loss", ["at", "reviewkd"])
def test_a_loss_on_maps_takes_an_encoder_of_few_stages_where_it_names_what_both_have(
    loss: str,
) -> None:
    deep, shallow = build().eval(), build(encoder=SHALLOW).eval()

    def value(student: Network, teacher: Network, **params: Any) -> Tensor:
        context = Context(CLASSES, student.widths[0], tuple(teacher.widths))
        objective = Objective({loss: LossTerm(**params)}, context, owner="student", heads=student.widths)
        shown = batch()
        return objective(student(student.represent(shown)), teacher(teacher.represent(shown)), shown)[0]

    for student, teacher, said in (
        (shallow, deep, "the student has 2 stages and the teacher 4"),
        (deep, shallow, "the student has 4 stages and the teacher 2"),
    ):
        with pytest.raises(UsageError) as caught:
            value(student, teacher)
        assert f"student.losses.{loss}: {said}" in str(caught.value)
        assert f"--set 'student.losses.{loss}.stages=[-2,-1]'" in str(caught.value)
        assert value(student, teacher, stages=[-2, -1]).isfinite()
    assert value(shallow, shallow).isfinite()


def test_a_loss_on_scores_takes_an_encoder_of_few_stages() -> None:
    deep, shallow = build().widths, build(encoder=SHALLOW).widths
    Objective({"st": LossTerm()}, Context(CLASSES, shallow[0], tuple(deep)), owner="student", heads=shallow)


# Unlike branches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "width"), [("concat", 12 + 10 + 18), ("multihead", 128), ("guided", 128)])
def test_unlike_branches_meet_under_one_head(name: str, width: int) -> None:
    network = build(branches=UNLIKE, fusion={"name": name}).eval()
    (features,) = network(network.represent(batch()))
    assert network.heads == ("wrist+turn+camera",)
    assert features.embedding.shape == (ROWS, width) == (ROWS, network.widths[0].embedding)
    assert features.stages == () == network.widths[0].stages


def test_unlike_branches_train_together() -> None:
    network = build(branches=UNLIKE, fusion={"name": "concat"})
    value(network.train()).backward()
    assert all(any(p.grad is not None and p.grad.any() for p in part.parameters()) for part in network.encoders)
    falls(network)


def test_the_maps_of_a_named_branch_are_handed_out() -> None:
    network = build(branches=UNLIKE, fusion={"name": "concat", "maps_of": "camera"}).eval()
    (features,) = network(network.represent(batch()))
    assert [tuple(m.shape[1:3]) for m in features.stages] == [(4, 4), (4, 4), (8, 4), (8, 4)]


def test_a_fusion_of_one_width_refuses_poolings_of_unlike_widths() -> None:
    message = message_of(branches=UNLIKE, fusion={"name": "sum"})
    assert "teacher.fusion 'sum' joins embeddings of one width" in message
    assert "wrist 12, turn 10, camera 18" in message


# Parts that do not fit -----------------------------------------------------------------------------------------------


def test_a_fusion_that_couples_the_batch_refuses_a_pooling_with_batchnorm(with_norm: type[Pooling]) -> None:
    message = message_of(pooling={"name": "normed"}, fusion={"name": "ft"})
    assert "teacher.fusion 'ft' couples the batch and teacher.pooling 'normed' normalises by BatchNorm" in message
    assert "kdbench list poolings" in message
    assert build(pooling={"name": "normed"}, fusion={"name": "concat"}).poolings[0].normalisation == "batch"


def test_the_branch_with_batchnorm_is_named() -> None:
    branches = {
        name: {"sees": name, "representation": RAW, "encoder": {**CONV, "norm": norm}}
        for name, norm in (("accelerometer", "group"), ("gyroscope", "batch"))
    }
    message = message_of(branches=branches, fusion={"name": "ft"})
    assert "teacher.branches.gyroscope.encoder 'conv1d' normalises by BatchNorm" in message
    assert "--set teacher.branches.gyroscope.encoder.norm=group" in message


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"name": "keyles"}, "unknown pooling 'keyles'; did you mean 'keyless'"),
        (
            {"name": "lstm", "hiden": 3},
            "unknown recipe key 'teacher.pooling.hiden'; did you mean 'teacher.pooling.hidden'",
        ),
        ({"name": "lstm", "width": 3}, "unknown recipe key 'teacher.pooling.width'"),
        ({"name": "lstm", "hidden": "many"}, "teacher.pooling 'lstm': hidden = 'many', expected a whole number"),
        (
            {"name": "consensus", "dropout": "much"},
            "teacher.pooling.dropout = 'much', expected a number\nFor example: --set teacher.pooling.dropout=0.5",
        ),
    ],
)
def test_a_wrong_pooling_names_its_key_and_the_near_miss(chosen: dict[str, Any], said: str) -> None:
    assert said in message_of(pooling=chosen)
