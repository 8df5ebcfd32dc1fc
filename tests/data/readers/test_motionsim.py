"""The generated data set as a data set: its knobs, its trials, its protocols, and what can be learnt from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from kdbench.data.card import load_card
from kdbench.data.readers.base import check
from kdbench.data.readers.motionsim.actions import ACTIONS
from kdbench.data.readers.motionsim.reader import MotionSim
from kdbench.data.readers.timeline import resample
from kdbench.data.splits import protocol_names, split
from kdbench.data.store.open import open_dataset
from kdbench.errors import UsageError

SMALL = {"actions": 3, "subjects": 4, "trials": 2}
FRAMES = 8


@pytest.fixture(scope="module")
def card():
    return load_card("motionsim")


def trial_of(reader, name):
    return next(trial for trial in reader.trials() if trial.id == name)


def equal(first, second):
    return np.array_equal(first.clip, second.clip) and all(
        np.array_equal(series, second.series[name]) for name, series in first.series.items()
    )


def test_the_card_and_the_code_agree(card):
    reader = MotionSim(card)
    assert card.class_names == tuple(action.name for action in ACTIONS)
    assert reader.card == card
    assert [trial.id for trial in reader.trials()][:2] == ["a1_s1_t1", "a1_s1_t2"]
    assert len(reader.trials()) == 16 * 8 * 4


def test_recordings_are_what_the_card_says(card):
    reader = MotionSim(card)
    for trial in reader.trials()[::100]:
        recording = reader.read(trial, "depth", FRAMES)
        check(recording, card, trial.id, "depth", FRAMES)
        person = (recording.clip > 0).mean(axis=(1, 2, 3))
        assert (person > 0.02).all()
        assert (person < 0.5).all()
        assert recording.clip.max() == 255
        seconds = len(recording.series["accelerometer"]) / 50
        assert 1 < seconds < 8


def test_a_trial_depends_on_its_name_the_seed_and_the_noise_alone(card):
    large, small = MotionSim(card), MotionSim(card, None, SMALL)
    late = small.read(trial_of(small, "a3_s4_t2"), "depth", FRAMES)
    for trial in large.trials()[:3]:
        large.read(trial, None, 0)
    assert equal(late, large.read(trial_of(large, "a3_s4_t2"), "depth", FRAMES))
    assert not equal(late, small.read(trial_of(small, "a3_s4_t1"), "depth", FRAMES))
    for change in ({"seed": 1}, {"noise": 0.5}):
        other = MotionSim(card, None, SMALL | change)
        assert not equal(late, other.read(trial_of(other, "a3_s4_t2"), "depth", FRAMES)), change


def test_sensors_do_not_depend_on_the_video_that_is_asked_for(card):
    reader = MotionSim(card, None, SMALL)
    trial = reader.trials()[0]
    alone, few, many = reader.read(trial, None, 0), reader.read(trial, "depth", 4), reader.read(trial, "depth", 16)
    assert alone.clip is None
    for name, series in alone.series.items():
        assert np.array_equal(series, few.series[name])
        assert np.array_equal(series, many.series[name])


def test_noise_is_added_to_an_unchanged_movement(card):
    clean, noisy = (MotionSim(card, None, SMALL | {"noise": noise}) for noise in (0, 1.0))
    for trial in clean.trials()[::7]:
        exact, measured = (reader.read(trial, "depth", FRAMES) for reader in (clean, noisy))
        for name, size in (("accelerometer", 0.05), ("gyroscope", 5.0)):
            error = measured.series[name] - exact.series[name]
            assert error.std(axis=0).mean() == pytest.approx(size, rel=0.3)
        changed = (exact.clip > 0) & (measured.clip == 0)
        assert 0.02 < changed.sum() / (exact.clip > 0).sum() < 0.06
        assert not ((exact.clip == 0) & (measured.clip > 0)).any()


def test_subjects_and_repetitions_differ_in_movement_not_in_noise_alone(card):
    reader = MotionSim(card, None, {"noise": 0})
    first, repeated, other = (
        resample(reader.read(trial_of(reader, name), None, 0).series["gyroscope"], 100)
        for name in ("a3_s1_t1", "a3_s1_t2", "a3_s2_t1")
    )
    assert np.abs(first - repeated).mean() > 5
    assert np.abs(first - other).mean() > np.abs(first - repeated).mean()


def test_protocols_follow_the_size(card):
    sized = MotionSim(card, None, {"actions": 5, "subjects": 5, "trials": 3}).card
    assert len(sized.classes) == 5
    cross, specific = sized.protocols["cross_subject"], sized.protocols["subject_specific"]
    assert (cross.train, cross.test) == ({"subject": (1, 3, 5)}, {"subject": (2, 4)})
    assert cross.validation.where == {"subject": (5,)}
    assert (specific.train, specific.test) == ({"repetition": (1, 2)}, {"repetition": (3,)})
    assert protocol_names(sized)[-1] == "loso_5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actions": 17}, "'actions'.*17.*from 2 to 16"),
        ({"subjects": 1}, "'subjects'.*1.*at least 2"),
        ({"trials": 2.5}, "'trials'.*2.5.*whole number"),
        ({"trials": True}, "'trials'.*True.*whole number"),
        ({"noise": -1}, "'noise'.*-1.*at least 0"),
        ({"noise": float("nan")}, "'noise'.*nan"),
        ({"noise": "much"}, "'noise'.*'much'"),
        ({"nose": 1.0}, "nose.*did you mean 'noise'"),
        ({"cameras": 5}, "'cameras'.*5.*from 1 to 4"),
        ({"occlusion": 1}, "'occlusion'.*1.*below 1"),
        ({"sensors": "wirst"}, "wirst.*did you mean 'wrist'"),
    ],
)
def test_a_bad_option_is_named(card, options, message):
    with pytest.raises(UsageError, match=message):
        MotionSim(card, None, options)


def test_with_phone_and_watch_it_has_the_sensors_of_mmact(card):
    reader = MotionSim(card, None, SMALL | {"sensors": "phone_and_watch"})
    trial = trial_of(reader, "a2_s1_t1")
    recording = reader.read(trial, "depth", FRAMES)
    check(recording, reader.card, trial.id, "depth", FRAMES)
    assert list(recording.series) == ["acc_phone", "acc_watch", "gyro", "orientation"]
    seconds = {name: len(recording.series[name]) / sensor.rate_hz for name, sensor in reader.card.sensors.items()}
    assert np.ptp(list(seconds.values())) < 0.03
    wrist = MotionSim(card, None, SMALL).read(trial, "depth", FRAMES)
    assert np.array_equal(recording.clip, wrist.clip)
    watch = resample(recording.series["acc_watch"], 100) - resample(wrist.series["accelerometer"], 100)
    assert np.abs(watch).mean() < 0.15  # one movement, other errors


def test_cameras_share_the_sensors_of_a_performance(card):
    alone, several = MotionSim(card, None, SMALL), MotionSim(card, None, SMALL | {"cameras": 3})
    assert len(several.trials()) == 3 * len(alone.trials())
    views = [several.read(trial_of(several, f"a1_s2_t1_c{number}"), "depth", FRAMES) for number in (1, 2, 3)]
    for view in views[1:]:
        assert all(np.array_equal(view.series[name], series) for name, series in views[0].series.items())
        assert not np.array_equal(view.clip, views[0].clip)
    first = alone.read(trial_of(alone, "a1_s2_t1"), "depth", FRAMES)
    assert all(np.array_equal(views[0].series[name], series) for name, series in first.series.items())


@pytest.mark.parametrize("protocol", ["cross_view", "subject_specific"])
def test_a_validation_part_takes_a_performance_with_all_its_cameras(card, protocol):
    reader = MotionSim(card, None, SMALL | {"cameras": 3, "trials": 4})
    index = pd.DataFrame([{"trial": t.id, "label": t.label, **t.columns} for t in reader.trials()])
    parts = split(reader.card, index, protocol, validation=True, seed=0)
    performances = {part: {trial.partition("_c")[0] for trial in trials} for part, trials in parts.parts().items()}
    assert performances["validation"]
    assert performances["train"].isdisjoint(performances["validation"])
    assert ("c3" in {trial[-2:] for trial in parts.train}) == (protocol == "subject_specific")


def test_occlusion_hides_a_part_of_the_same_picture(card):
    clear, hidden = (MotionSim(card, None, SMALL | {"noise": 0, "occlusion": share}) for share in (0, 0.4))
    for trial in clear.trials()[::9]:
        whole, part = (reader.read(trial, "depth", FRAMES).clip for reader in (clear, hidden))
        left = part > 0
        assert np.array_equal(part[left], whole[left])
        assert left.sum() < (whole > 0).sum()


def test_it_opens_as_a_prepared_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    request = {"frame_size": 32, "frames": FRAMES, "progress": False}
    data = open_dataset("motionsim", options=SMALL, **request)
    assert len(data) == 3 * 4 * 2
    assert len(data.card.classes) == 3
    assert data.clip("a2_s3_t1").shape == (1, FRAMES, 32, 32)
    again = open_dataset("motionsim", options=SMALL, jobs=1, **request)
    assert again.fingerprint == data.fingerprint
    for change in ({"noise": 2.0}, {"seed": 5}, {"trials": 1}, {"actions": 2}):
        assert open_dataset("motionsim", options=SMALL | change, **request).fingerprint != data.fingerprint, change


@dataclass(frozen=True)
class Views:
    """Both views of some trials: series `(N, 6, n)` and video as 20 principal movements of the pixels `(N, 20, T)`."""

    sensors: np.ndarray
    video: np.ndarray
    label: np.ndarray
    train: np.ndarray

    def of(self, *names):
        """The trials of some actions."""
        chosen = np.isin(self.label, [[action.name for action in ACTIONS].index(name) for name in names])
        return Views(self.sensors[chosen], self.video[chosen], self.label[chosen], self.train[chosen])

    def accuracy(self, view):
        """Cross-subject accuracy of a ridge classifier on random convolutions (Dempster et al., 2020) of one view."""
        import torch
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        values, train = torch.from_numpy(getattr(self, view)).float(), self.train
        values = (values - values[train].mean((0, 2), keepdim=True)) / values[train].std((0, 2), keepdim=True)
        generator = torch.Generator().manual_seed(0)
        channels, features = values.shape[1], []
        for dilation in (1, 2, 4, 8) if values.shape[2] > 64 else (1,):
            kernels = torch.randn(100, channels, 9, generator=generator)
            kernels -= kernels.mean(2, keepdim=True)
            kernels *= torch.rand(100, channels, 1, generator=generator) < 0.4
            response = torch.conv1d(values, kernels, torch.randn(100, generator=generator), dilation=dilation)
            features += [response.amax(2), (response > 0).float().mean(2)]
        table = torch.cat(features, 1).numpy()
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-1, 6, 8)))
        return model.fit(table[train], self.label[train]).score(table[~train], self.label[~train])


@pytest.fixture(scope="module")
def views(card):
    """Half of the default data set, at a resolution that is quick to draw."""
    coarse = {"depth": card.views["depth"].model_copy(update={"height": 32, "width": 32})}
    reader = MotionSim(card.model_copy(update={"views": coarse}), None, {"trials": 2})
    trials = reader.trials()
    with ThreadPoolExecutor(2) as pool:
        recordings = list(pool.map(lambda trial: reader.read(trial, "depth", 16), trials))
    series = np.stack([np.concatenate([resample(s, 160) for s in r.series.values()]) for r in recordings])
    frames = np.stack([r.clip[..., 0] for r in recordings])
    train = np.array([trial.columns["subject"] for trial in trials]) % 2 == 1

    pixels = frames.reshape(-1, 16, 16, 2, 16, 2).mean((3, 5)).reshape(-1, 16, 256)
    moving = pixels - pixels.mean(axis=1, keepdims=True)
    known = moving[train].reshape(-1, 256)
    axes = np.linalg.eigh(known.T @ known)[1][:, -20:]
    video = np.ascontiguousarray((moving @ axes).swapaxes(1, 2))
    return Views(series, video, np.array([trial.label for trial in trials]), train)


@pytest.mark.slow
def test_either_view_alone_is_far_above_chance_and_far_from_perfect(views):
    chance = 1 / len(ACTIONS)
    assert 11 * chance < views.accuracy("sensors") < 0.97
    assert 6 * chance < views.accuracy("video") < 0.95


def test_each_view_knows_a_pair_that_the_other_confuses(views):
    """A kick reaches the wrist as sway alone; a key turned in a lock is a few pixels of the picture."""
    kicks = views.of("kick with the left leg", "kick with the right leg")
    assert kicks.accuracy("video") > 0.75 > kicks.accuracy("sensors")
    at_door = views.of("right hand knock on door", "right hand turn a key")
    assert at_door.accuracy("sensors") > 0.9 > 0.75 > at_door.accuracy("video")
