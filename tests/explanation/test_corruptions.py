"""Damage to inputs: what it does, that it is repeatable, and that its first severity is no damage."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Generator, Tensor

from kdbench.explanation import corruptions as c
from kdbench.types import SENSORS, VIDEO, Batch

KINDS = [(modality, name) for modality, kinds in c.CORRUPTIONS.items() for name in kinds]


def draw(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def counted(frames: int = 16, size: int = 20) -> Tensor:
    """A clip whose frame t is t + 1 everywhere."""
    return torch.arange(1, frames + 1, dtype=torch.uint8).view(1, frames, 1, 1).expand(1, frames, size, size).clone()


@pytest.fixture
def batch() -> Batch:
    generator = draw(7)
    return Batch(
        sensors={name: torch.randn(4, 3, 60, generator=generator) for name in ("a", "b")},
        video=torch.randint(0, 256, (4, 1, 16, 16, 16), generator=generator, dtype=torch.uint8),
        label=torch.arange(4),
        trial=("t0", "t1", "t2", "t3"),
        index=torch.arange(4),
    )


def parts(batch: Batch, modality: str) -> list[Tensor]:
    if modality == SENSORS:
        return list(batch.sensors.values())
    assert batch.video is not None
    return [batch.video]


def taken(batch: Batch, rows: list[int]) -> Batch:
    assert batch.video is not None
    return dataclasses.replace(
        batch,
        sensors={name: values[rows] for name, values in batch.sensors.items()},
        video=batch.video[rows],
        trial=tuple(batch.trial[row] for row in rows),
    )


@pytest.mark.parametrize(("modality", "name"), KINDS)
def test_the_first_severity_leaves_everything_as_it_is(batch: Batch, modality: str, name: str) -> None:
    first = c.CORRUPTIONS[modality][name].severities[0]
    assert c.corrupted(batch, modality, name, first, 0) is batch


@pytest.mark.parametrize(("modality", "name"), KINDS)
def test_a_trial_is_damaged_alike_whatever_its_batch_is(batch: Batch, modality: str, name: str) -> None:
    severity = c.CORRUPTIONS[modality][name].severities[2]
    whole = c.corrupted(batch, modality, name, severity, 1)
    apart = c.corrupted(taken(batch, [3, 1]), modality, name, severity, 1)
    for all_rows, some in zip(parts(whole, modality), parts(apart, modality), strict=True):
        assert torch.equal(all_rows[[3, 1]], some)


@pytest.mark.parametrize("name", c.CORRUPTIONS[SENSORS])
def test_a_series_of_native_length_is_damaged_up_to_its_end(batch: Batch, name: str) -> None:
    severity = c.CORRUPTIONS[SENSORS][name].severities[2]
    series = batch.sensors["a"].clone()
    series[1, :, 40:] = torch.nan
    alone = dataclasses.replace(batch, sensors={"native:a": series[1:2, :, :40]}, trial=batch.trial[1:2])
    padded = dataclasses.replace(batch, sensors={"native:a": series})
    damaged = c.corrupted(padded, SENSORS, name, severity, 0).sensors["native:a"]
    assert torch.equal(damaged[1:2, :, :40], c.corrupted(alone, SENSORS, name, severity, 0).sensors["native:a"])
    assert damaged[1, :, 40:].isnan().all()
    assert damaged.isnan().sum() == 3 * 20


@pytest.mark.parametrize(("modality", "name"), KINDS)
def test_every_severity_changes_the_input_and_keeps_its_kind(batch: Batch, modality: str, name: str) -> None:
    for severity in c.CORRUPTIONS[modality][name].severities[1:]:
        changed = c.corrupted(batch, modality, name, severity, 0)
        for before, after in zip(parts(batch, modality), parts(changed, modality), strict=True):
            assert after.shape == before.shape
            assert after.dtype == before.dtype
            assert not torch.equal(after, before)
    assert changed.trial == batch.trial


@pytest.mark.parametrize(("modality", "name"), KINDS)
def test_draws_differ(batch: Batch, modality: str, name: str) -> None:
    severity = c.CORRUPTIONS[modality][name].severities[-1]
    first, second = (parts(c.corrupted(batch, modality, name, severity, number), modality)[0] for number in (0, 1))
    assert not torch.equal(first, second)


def test_only_what_the_network_sees_is_damaged(batch: Batch) -> None:
    assert c.corrupted(batch, VIDEO, "noise", 0.1, 0).sensors is batch.sensors
    assert c.corrupted(batch, SENSORS, "noise", 1, 0).video is batch.video


def test_the_sensors_of_a_trial_are_damaged_apart(batch: Batch) -> None:
    same = dataclasses.replace(batch, sensors={"a": batch.sensors["a"], "b": batch.sensors["a"]})
    changed = c.corrupted(same, SENSORS, "drop-out", 0.2, 0).sensors
    assert not torch.equal(changed["a"], changed["b"])


@pytest.mark.parametrize(("share", "left"), [(0.25, 12), (0.5, 8), (0.9, 2), (1.0, 1)])
def test_lost_frames_show_the_last_that_came_through(share: float, left: int) -> None:
    shown = c.lose(counted(), share, draw())[0, :, 0, 0].tolist()
    assert len(set(shown)) == left
    assert shown == sorted(shown)
    assert all(value <= moment + 1 or value == shown[0] for moment, value in enumerate(shown))
    assert all(shown[value - 1] == value for value in shown)


@pytest.mark.parametrize("step", [2, 4, 8])
def test_a_lower_rate_holds_every_frame_for_so_long(step: int) -> None:
    shown = c.slow(counted(), step, draw(3))[0, :, 0, 0].tolist()
    assert {late - early for early, late in itertools.pairwise(shown)} <= {0, step}
    assert len(set(shown)) == 16 // step


def test_a_rate_below_one_frame_a_clip_is_one_frame() -> None:
    assert len(c.slow(counted(4), 99, draw()).unique()) == 1


@pytest.mark.parametrize("share", [0.05, 0.1, 0.4])
def test_a_square_is_black_in_all_frames(share: float) -> None:
    covered = c.cover(torch.full((3, 5, 100, 100), 9, dtype=torch.uint8), share, draw())
    assert (covered == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert (covered == covered[:1, :1]).all()


def test_noise_has_the_deviation_that_it_says() -> None:
    clip = torch.full((1, 8, 40, 40), 128, dtype=torch.uint8)
    assert (c.pixel_noise(clip, 0.1, draw()).float() - 128).std().item() == pytest.approx(25.5, rel=0.03)
    floats = torch.full((1, 8, 40, 40), 0.5)
    assert (c.pixel_noise(floats, 0.1, draw()) - 0.5).std().item() == pytest.approx(0.1, rel=0.03)
    series = torch.stack([torch.sin(torch.arange(5000.0)), 50 * torch.cos(torch.arange(5000.0))])
    added = (c.series_noise(series, 0.5, draw()) - series).std(1) / series.std(1)
    torch.testing.assert_close(added, torch.tensor([0.5, 0.5]), rtol=0.05, atol=0)


def test_noise_stays_in_range() -> None:
    clip = torch.randint(0, 256, (1, 4, 8, 8), generator=draw()).float() / 255
    noisy = c.pixel_noise(clip, 0.8, draw())
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_a_drop_out_is_one_stretch_of_zeros() -> None:
    gone = (c.drop_out(torch.ones(2, 50), 0.2, draw()) == 0).all(0)
    assert gone.sum() == 10
    assert (gone[1:] != gone[:-1]).sum() <= 2


def test_no_global_random_state_is_touched(batch: Batch) -> None:
    before = torch.get_rng_state()
    for modality, name in KINDS:
        c.corrupted(batch, modality, name, c.CORRUPTIONS[modality][name].severities[1], 0)
    assert torch.equal(torch.get_rng_state(), before)
