from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.engine.augment import Augmenter
from kdbench.errors import UsageError
from kdbench.network import build_network
from kdbench.recipes.network_spec import Augment, NetworkSpec
from kdbench.types import Batch, JointGraph

ROWS = 64
TRAIN: dict[str, Any] = {"train": {"epochs": 1, "batch_size": 2, "lr": 0.1}, "losses": {"ce": {"weight": 1}}}
CONV: dict[str, Any] = {"encoder": {"name": "conv1d"}}


def changed(x: Tensor, seed: int = 0, *, skeleton: bool = False, **amounts: float) -> Tensor:
    """A series `(B, C, n)` under the name `body`, as training shows it."""
    batch = Batch({"body": x}, None, torch.zeros(len(x)), tuple(map(str, range(len(x)))), torch.arange(len(x)))
    augment = Augmenter(Augment(**amounts), {"body": torch.ones(x.shape[1])}, skeletons=["body"] if skeleton else [])
    return augment(batch, seed).sensors["body"]


def ramp(n: int = 100) -> Tensor:
    """Rows whose values are the times of their samples, as shares of the trial."""
    return ((torch.arange(n) + 0.5) / n).expand(ROWS, 2, n).clone()


def test_a_turn_keeps_heights_and_distances_and_turns_all_joints_of_a_trial_alike():
    x = torch.randn(ROWS, 6, 10)
    before, after = (series.unflatten(1, (2, 3)) for series in (x, changed(x, skeleton=True, turn_deg=30)))
    assert torch.equal(before[:, :, 1], after[:, :, 1])
    torch.testing.assert_close(before.norm(dim=2), after.norm(dim=2))
    angles = [torch.atan2(joints[:, :, 2], joints[:, :, 0]) for joints in (before, after)]
    turned = (angles[1] - angles[0] + math.pi) % (2 * math.pi) - math.pi
    torch.testing.assert_close(turned, turned[:, :1, :1].expand_as(turned), atol=1e-3, rtol=0)
    largest = turned.abs().max().rad2deg()
    assert 25 < largest < 30.1
    assert turned.min() < 0 < turned.max()


def test_a_sensor_is_not_turned():
    x = torch.randn(ROWS, 6, 10)
    assert changed(x, turn_deg=30) is x


def test_time_scale_shows_a_part_of_its_length_at_a_random_place():
    x = changed(ramp(), time_scale=0.2)
    assert x.shape == (ROWS, 2, 100)
    assert torch.equal(x[:, 0], x[:, 1])
    slower = x[(x[:, 0, 0] > 0.005 + 1e-4) | (x[:, 0, -1] < 0.995 - 1e-4)][:, 0]
    faster = x[(x[:, 0, 1] - x[:, 0, 0] == 0) | (x[:, 0, -1] - x[:, 0, -2] == 0)][:, 0]
    assert len(slower) > 15
    assert len(faster) > 15
    # A speed for the whole trial, within the bounds.
    speed = 100 * (slower[:, 60] - slower[:, 40]) / 20
    assert (speed >= 0.8 - 1e-3).all()
    assert (speed < 1).all()
    assert (100 * (faster[:, 60] - faster[:, 40]) / 20 <= 1.2 + 1e-3).all()
    assert (x.diff(dim=-1) >= 0).all()
    assert slower[:, 0].std() > 0.01


def test_time_shift_moves_by_at_most_its_share_and_holds_the_ends():
    x = changed(ramp(), time_shift=0.1)[:, 0]
    moved = x[:, 50] - ramp()[:, 0, 50]
    assert 0.08 < moved.abs().max() <= 0.1 + 1e-6
    torch.testing.assert_close(x[:, 40:60].diff(dim=-1), torch.full((ROWS, 19), 0.01), atol=1e-5, rtol=0)
    assert x.min() >= 0.005
    assert x.max() <= 0.995


def test_a_single_sample_survives_every_change():
    x = torch.ones(3, 6, 1)
    out = changed(x, skeleton=True, turn_deg=10, time_scale=0.5, time_shift=0.5)
    assert out.shape == x.shape
    assert out.isfinite().all()


def test_other_changes_draw_what_they_drew_without_those_of_time():
    x = torch.randn(2, 3, 8)
    noisy = changed(x, noise=0.5, scale=0.2)
    generator = torch.Generator().manual_seed(0)
    gain = 1 + 0.2 * (2 * torch.rand((2, 1, 1), generator=generator) - 1)
    torch.testing.assert_close(noisy, x * gain + 0.5 * torch.randn(x.shape, generator=generator))
    assert torch.equal(changed(x, 5, time_scale=0.3), changed(x, 5, time_scale=0.3))
    assert not torch.equal(changed(x, 5, time_scale=0.3), changed(x, 6, time_scale=0.3))


def test_what_is_zero_is_not_written():
    assert set(Augment().model_dump()) == {"noise", "scale", "rotate_deg", "shift"}
    written = Augment(turn_deg=5, time_shift=0.1).model_dump()
    assert written["turn_deg"] == 5
    assert "time_scale" not in written
    assert Augment(**written) == Augment(turn_deg=5, time_shift=0.1)


def branch(sees: str, representation: str, **more: Any) -> dict[str, Any]:
    encoder = "conv2plus1d" if representation == "clip" else "conv1d"
    return {"sees": sees, "representation": {"name": representation}, "encoder": {"name": encoder}, **more}


def build(spec: NetworkSpec) -> frozenset[str]:
    skeleton = JointGraph(("head", "hip"), ((1, 0),))
    sources = {name: 6 if name == "body" else 3 for name in spec.sees(["wrist"])}
    return build_network(spec, sources=sources, classes=2, semantic=None, skeletons={"body": skeleton}).skeletons


def test_a_network_knows_which_of_its_sources_are_skeletons():
    branches = {"a": branch("wrist", "raw"), "b": branch("body", "joints")}
    assert build(NetworkSpec(branches=branches, augment={"turn_deg": 10}, **TRAIN)) == {"body"}
    assert build(NetworkSpec(branches={"a": branch("wrist", "raw")}, **TRAIN)) == frozenset()


def test_turning_what_has_no_joints_is_refused():
    turned: dict[str, Any] = {"augment": {"turn_deg": 10}}
    branches = {"a": branch("wrist", "raw", **turned), "b": branch("body", "joints")}
    with pytest.raises(
        UsageError, match=r"branches\.a\.augment\.turn_deg = 10 turns the joints .* seen there is wrist"
    ):
        build(NetworkSpec(branches=branches, **TRAIN))
    with pytest.raises(UsageError, match=r"augment\.turn_deg = 10 turns the joints .* seen there is wrist"):
        build(NetworkSpec(modality="sensors", representation={"name": "raw"}, **CONV, **turned, **TRAIN))


def test_turning_joints_is_refused_where_video_alone_is_seen():
    video = branch("video", "clip", augment={"turn_deg": 5})
    with pytest.raises(ValueError, match=r"branches\.a\.augment\.turn_deg has no effect"):
        NetworkSpec(branches={"a": video, "b": branch("wrist", "raw")}, **TRAIN)
    with pytest.raises(ValueError, match=r"augment\.turn_deg has no effect"):
        NetworkSpec(branches={"a": branch("video", "clip")}, augment={"turn_deg": 5}, **TRAIN)


def shown(frames: int, seed: int = 0, **amounts: float) -> Tensor:
    """Numbers of the frames `(ROWS, frames)` that a clip's training shows."""
    clip = torch.arange(frames, dtype=torch.uint8).reshape(1, 1, -1, 1, 1).expand(ROWS, 2, frames, 3, 3)
    batch = Batch({}, clip, torch.zeros(ROWS), tuple(map(str, range(ROWS))), torch.arange(ROWS))
    video = Augmenter(Augment(**amounts), {})(batch, seed).video
    assert video is not None
    assert video.dtype == torch.uint8
    # A frame is shown whole, in every channel and pixel.
    assert torch.equal(video, video[:, :1, :, :1, :1].expand_as(video))
    return video[:, 0, :, 0, 0].long()


def test_a_clip_is_shown_slower_and_faster_by_whole_frames():
    numbers = shown(40, time_scale=0.25)
    assert (numbers.diff(dim=1) >= 0).all()
    # 30 to 50 frames' time is shown in 40; the ends of a trial that is shown faster are held.
    span = numbers[:, 30] - numbers[:, 10]
    assert 14 <= span.min() <= 16
    assert 24 <= span.max() <= 26
    assert numbers.min() == 0
    assert numbers.max() == 39
    assert torch.equal(shown(40, seed=3, time_scale=0.25), shown(40, seed=3, time_scale=0.25))


def test_a_clip_is_shifted_by_at_most_its_share():
    moved = shown(40, time_shift=0.1) - torch.arange(40)
    assert 3 <= moved[:, 20].abs().max() <= 4
    assert (moved[:, 20] > 0).any()
    assert (moved[:, 20] < 0).any()


def test_a_clip_moves_in_space_and_time_at_once():
    clip = torch.arange(10, dtype=torch.uint8).reshape(1, 1, -1, 1, 1).expand(4, 1, 10, 8, 8)
    batch = Batch({}, clip, torch.zeros(4), tuple("abcd"), torch.arange(4))
    video = Augmenter(Augment(shift=0.1, time_shift=0.5), {})(batch, 0).video
    assert video is not None
    # The middle of a frame of one grey value stays that grey, moved or not.
    middle = (video[:, 0, :, 4, 4] * 255).round().long()
    assert (middle != torch.arange(10)).any()
    assert (middle.diff(dim=1) >= 0).all()


def native_batch(x: Tensor) -> Batch:
    return Batch({"native:body": x}, None, torch.zeros(len(x)), tuple(map(str, range(len(x)))), torch.arange(len(x)))


@pytest.mark.parametrize(
    "amounts", [{"noise": 0.1}, {"scale": 0.3}, {"turn_deg": 30}, {"time_scale": 0.3, "time_shift": 0.2}]
)
def test_series_of_native_length_are_changed_up_to_their_ends(amounts: dict[str, float]):
    augment = Augmenter(Augment(**amounts), {"native:body": torch.ones(6)}, skeletons=["body"])
    x = torch.randn(ROWS, 6, 50)
    whole = changed(x, seed=3, skeleton=True, **amounts)
    torch.testing.assert_close(augment(native_batch(x), 3).sensors["native:body"], whole, rtol=1e-3, atol=2e-4)
    x[5, :, 20:] = torch.nan
    padded = augment(native_batch(x), 3).sensors["native:body"]
    assert torch.equal(padded.isnan(), x.isnan())
    assert (padded[5, :, :20] != x[5, :, :20]).any()
    others = [row for row in range(ROWS) if row != 5]
    torch.testing.assert_close(padded[others], whole[others], rtol=1e-3, atol=2e-4)


def test_a_shorter_series_is_shown_in_its_own_time():
    x = torch.full((ROWS, 2, 100), torch.nan)
    x[:, :, :40] = ramp(40)
    augment = Augmenter(Augment(time_scale=0.2), {"native:body": torch.ones(2)})
    short = augment(native_batch(x), 0).sensors["native:body"][:, 0, :40]
    speed = 40 * (short[:, 25] - short[:, 15]) / 10
    assert 0.79 < speed.min() < 0.9
    assert 1.1 < speed.max() < 1.21
    assert 0 < short.min() < short.max() < 1
    assert (short.diff() > -1e-6).all()


def test_a_series_of_native_length_has_the_changes_of_its_branch():
    changes = {"body": Augment(noise=0.5)}
    augment = Augmenter(Augment(), {"native:body": torch.ones(3)}, changes=changes)
    x = torch.randn(4, 3, 10)
    assert not torch.equal(augment(native_batch(x), 0).sensors["native:body"], x)


def test_the_amplitude_of_each_axis_changes_on_its_own() -> None:
    x = torch.randn(ROWS, 3, 20)
    gain = changed(x, axis_scale=0.3) / x
    torch.testing.assert_close(gain, gain[:, :, :1].expand_as(gain))
    assert (gain[:, 0, 0] != gain[:, 1, 0]).all()
    assert 0.7 <= gain.min() < 0.75
    assert 1.25 < gain.max() <= 1.3


def test_a_dropped_axis_is_flat_at_its_mean_and_one_axis_stays() -> None:
    x = torch.randn(1000, 3, 20)
    after = changed(x, axis_drop=0.4)
    flat = (after == after[:, :, :1]).all(2)
    torch.testing.assert_close(after[flat], x.mean(2, keepdim=True).expand_as(x)[flat])
    assert torch.equal(after[~flat], x[~flat])
    # All three would be dropped in 0.4 ** 3 of the trials; of these one axis is left.
    assert flat.float().mean().item() == pytest.approx(0.4 - 0.4**3 / 3, abs=0.02)
    assert not changed(x, axis_drop=0.99).eq(x.mean(2, keepdim=True)).all((1, 2)).any()


def test_what_is_behind_the_end_of_a_native_series_stays_nan() -> None:
    x = torch.randn(ROWS, 3, 20)
    x[:, :, 12:] = torch.nan
    after = changed(x, axis_drop=0.9)
    assert torch.equal(after.isnan(), x.isnan())
    flat = (after[:, :, :12] == after[:, :, :1]).all(2)
    torch.testing.assert_close(after[:, :, 0][flat], x[:, :, :12].mean(2)[flat])


@pytest.mark.parametrize("key", ["axis_scale", "axis_drop"])
def test_axes_are_changed_where_series_are_seen(key: str) -> None:
    seen = {"modality": "sensors", "representation": {"name": "raw"}, **CONV, **TRAIN}
    assert getattr(NetworkSpec.model_validate(seen | {"augment": {key: 0.1}}).augment, key) == 0.1
    video = {"modality": "video", "representation": {"name": "clip"}, "encoder": {"name": "conv2plus1d"}, **TRAIN}
    with pytest.raises(ValueError, match=rf"augment\.{key} has no effect: it changes axes of series"):
        NetworkSpec.model_validate(video | {"augment": {key: 0.1}})
