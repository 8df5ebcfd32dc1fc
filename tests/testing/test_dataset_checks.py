"""Each error in a data set is caught by the check that is meant for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import known
from recordings import TRIALS, depth_of, inertial_of, save, write_card, write_trial

from kdbench.data.card import Card, load_card
from kdbench.data.protocol import ProtocolRule
from kdbench.data.readers.base import Recording, Trial
from kdbench.data.readers.motionsim.reader import MotionSim
from kdbench.registry import dataset
from kdbench.testing import check
from kdbench.testing.base import Failed
from kdbench.testing.datasets import SUITE, DatasetCase, parts_share_no_recording, trials_are_paired_in_time

SPLIT = {
    "title": "",
    "train": {"subject": [1, 3]},
    "test": {"subject": [2, 4]},
    "validation": {"where": {"subject": [3]}},
}
READING = {"recordings_can_be_read", "parts_share_no_recording", "trials_are_paired_in_time"}


@pytest.fixture(autouse=True)
def no_other_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for trial in TRIALS:
        write_trial(folder / "utd_mhad", trial)
    return folder


@pytest.fixture
def recordings(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def card(folder: Path, **changes: Any) -> str:
    """A card of the small recordings, with one protocol unless others are given."""
    (folder / "card").mkdir(exist_ok=True)
    changes = {"protocols": {"cross_subject": SPLIT}, "label_vectors": None, **changes}
    return str(write_card(folder / "card", **changes))


def failed(name: str, recordings: Path, **options: Any) -> set[str]:
    report = check("dataset", name, data_dir=recordings, **options)
    return set(report.failed)


def test_whole_recordings_pass(recordings: Path, tmp_path: Path) -> None:
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert report.passed, str(report)
    assert {r.name for r in report.results if r.outcome == "skipped"} == {"label_vectors_cover_the_classes"}


def test_a_subject_in_two_parts_is_a_leak_though_the_card_does_not_say_so(recordings: Path, tmp_path: Path) -> None:
    rule = SPLIT | {
        "train": {"subject": [1, 2, 3], "repetition": [1]},
        "test": {"subject": [2, 4], "repetition": [2]},
    }
    name = card(tmp_path, protocols={"cross_subject": rule})
    report = check("dataset", name, data_dir=recordings)
    assert report.failed == ("protocols_do_not_leak",)
    assert (
        report.result("protocols_do_not_leak").message == "protocol 'cross_subject': subject 2 is in train and in test"
    )


def test_a_trial_in_two_parts_is_a_leak(recordings: Path, tmp_path: Path) -> None:
    rule = SPLIT | {"train": {"subject": [1, 2, 3]}, "test": {"subject": [2, 4]}}
    report = check("dataset", card(tmp_path, protocols={"other": rule}), data_dir=recordings)
    assert "leaks: trial a1_s2_t1" in report.result("protocols_do_not_leak").message


def test_a_part_without_a_class_is_found(recordings: Path, tmp_path: Path) -> None:
    rule = SPLIT | {"test": {"subject": [2, 4], "action": [1, 2]}}
    assert failed(card(tmp_path, protocols={"cross_subject": rule}), recordings) == {"parts_know_every_class"}


@pytest.mark.parametrize("absent", ["{name}", "{short}", 2])
def test_a_class_that_is_declared_absent_may_lack_in_the_test_part(
    absent: str | int, recordings: Path, tmp_path: Path
) -> None:
    third = load_card(card(tmp_path)).classes[2]
    named = absent.format(name=third.name, short=third.short) if isinstance(absent, str) else absent
    rule = SPLIT | {"test": {"subject": [2, 4], "action": [1, 2]}, "absent": [named]}
    assert failed(card(tmp_path, protocols={"cross_subject": rule}), recordings) == set()


def test_a_class_that_is_declared_absent_and_is_there_is_found(recordings: Path, tmp_path: Path) -> None:
    name = card(tmp_path, protocols={"cross_subject": SPLIT | {"absent": [0]}})
    report = check("dataset", name, data_dir=recordings)
    assert report.failed == ("parts_know_every_class",)
    message = report.result("parts_know_every_class").message
    assert message == f"protocol 'cross_subject': its test part shows {load_card(name).class_names[0]}, which it " + (
        "declares absent"
    )


def test_a_class_that_is_absent_from_training_is_found_though_it_is_declared(recordings: Path, tmp_path: Path) -> None:
    rule = SPLIT | {"train": {"subject": [1, 3], "action": [1, 2]}, "absent": [2]}
    rule |= {"test": {"subject": [2, 4], "action": [1, 2]}}
    assert failed(card(tmp_path, protocols={"cross_subject": rule}), recordings) == {"parts_know_every_class"}


def test_training_may_hold_out_what_the_protocol_keeps_apart_from_its_test_alone(
    recordings: Path, tmp_path: Path
) -> None:
    rule = SPLIT | {"validation": {"share": 0.25}}
    assert failed(card(tmp_path, protocols={"cross_subject": rule}), recordings) == set()
    declared = check("dataset", card(tmp_path, protocols={"cross_subject": rule | {"disjoint": ["subject"]}}))
    assert "leaks: subject" in declared.result("protocols_do_not_leak").message


@pytest.mark.parametrize(("leak", "expected"), [(True, set()), (False, {"parts_share_no_recording"})])
def test_sensors_of_performances_that_train_may_test_only_where_that_is_declared(
    leak: bool, expected: set[str], tmp_path: Path
) -> None:
    whole = {"share": 0.25, "whole": "performance"}
    rule = {"test": {"camera": [2]}, "validation": whole, "sensors_leak": leak}
    options = {"actions": 3, "subjects": 4, "trials": 2, "cameras": 2}
    shipped = load_card("motionsim")

    @dataset("two_cameras")
    class TwoCameras(MotionSim):
        """Generated motion, whose card has its own rule for the cameras."""

        def __init__(self, card: Card, root: Path | None = None, options: Any = None) -> None:
            super().__init__(card, root, options)
            self.card = self.card.model_copy(update={"protocols": {"views": ProtocolRule.model_validate(rule)}})

    changes = {"name: motionsim": "name: two_cameras", "reader: motionsim": "reader: two_cameras"}
    text = (shipped.folder / "card.yaml").read_text()
    for old, new in {**changes, "label_vectors": "# label_vectors"}.items():
        text = text.replace(old, new)
    (tmp_path / "card.yaml").write_text(text)
    with known(TwoCameras):
        report = check("dataset", str(tmp_path / "card.yaml"), options=options, trials=4)
    assert set(report.failed) == expected, str(report)


def test_a_validation_part_must_not_share_recordings_though_the_test_part_may(tmp_path: Path) -> None:
    rule = {"test": {"camera": [3]}, "validation": {"where": {"camera": [2]}}, "sensors_leak": True}
    case = DatasetCase("motionsim", options={"actions": 2, "subjects": 2, "trials": 2, "cameras": 3})
    case.card = case.card.model_copy(update={"protocols": {"views": ProtocolRule.model_validate(rule)}})
    with pytest.raises(Failed, match="_c1, a1_s1_t1_c2 are one recording, and are in train and in validation"):
        parts_share_no_recording(case)


def test_generated_recordings_of_several_cameras_hold_what_they_promise() -> None:
    options = {"actions": 3, "subjects": 4, "trials": 2, "cameras": 2}
    report = check("dataset", "motionsim", options=options, trials=4)
    assert report.passed, str(report)


def test_label_vectors_that_lack_a_class_are_found(recordings: Path, tmp_path: Path) -> None:
    name = card(tmp_path, label_vectors="words")
    (tmp_path / "card" / "label_vectors_words.csv").write_text("class,v0\nright hand wave,1\n")
    report = check("dataset", name, data_dir=recordings)
    assert report.failed == ("label_vectors_cover_the_classes",)
    assert "right arm swipe to the left" in report.result("label_vectors_cover_the_classes").message


def test_a_file_that_is_not_the_manifests_is_found(recordings: Path, tmp_path: Path) -> None:
    name = card(tmp_path, manifest="hashes.txt")
    (tmp_path / "card" / "hashes.txt").write_text(f"{'0' * 64}  Inertial/a1_s1_t1_inertial.mat\n")
    assert failed(name, recordings) == {"files_are_sound"}


def test_a_missing_file_is_found(recordings: Path, tmp_path: Path) -> None:
    (recordings / "utd_mhad/Depth/a2_s2_t1_depth.mat").unlink()
    # The other trials are whole, and are looked at without it.
    assert failed(card(tmp_path), recordings) == {"files_are_sound"}


def test_a_file_that_cannot_be_read_is_found(recordings: Path, tmp_path: Path) -> None:
    path = recordings / "utd_mhad/Inertial/a2_s2_t1_inertial.mat"
    path.write_bytes(path.read_bytes()[:-50])
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert report.failed == ("recordings_can_be_read",)
    assert "a2_s2_t1" in report.result("recordings_can_be_read").message


def test_one_recording_under_two_names_is_found(recordings: Path, tmp_path: Path) -> None:
    folder = recordings / "utd_mhad/Inertial"
    shutil.copy(folder / "a1_s1_t1_inertial.mat", folder / "a1_s2_t1_inertial.mat")
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert report.failed == ("parts_share_no_recording",)
    assert "a1_s1_t1, a1_s2_t1 are one recording" in report.result("parts_share_no_recording").message


def test_a_video_that_is_much_longer_than_its_sensors_is_found(recordings: Path, tmp_path: Path) -> None:
    save(
        recordings / "utd_mhad/Depth/a3_s1_t2_depth.mat",
        d_depth=depth_of("a3_s1_t2", frames=34)[:, :, [0] * 80 + list(range(34))],
    )
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert report.failed == ("trials_are_paired_in_time",)
    assert report.result("trials_are_paired_in_time").message.startswith("trial a3_s1_t2: the accelerometer lasts")


def test_videos_of_other_trials_are_found(recordings: Path, tmp_path: Path) -> None:
    """Each stream is whole, and its length has nothing to do with the other's."""
    for number, trial in enumerate(TRIALS):
        frames = depth_of(trial)[:, :, np.arange(25 + 7 * number % 20) % 34]
        save(recordings / f"utd_mhad/Depth/{trial}_depth.mat", d_depth=frames)
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert report.failed == ("trials_are_paired_in_time",)
    assert "unlike performances" in report.result("trials_are_paired_in_time").message


def test_videos_of_the_same_trials_are_as_long_as_their_sensors(recordings: Path, tmp_path: Path) -> None:
    for trial in TRIALS:
        frames = depth_of(trial)[:, :, np.arange(len(inertial_of(trial)) // 4) % 34]
        save(recordings / f"utd_mhad/Depth/{trial}_depth.mat", d_depth=frames)
    assert check("dataset", card(tmp_path), data_dir=recordings).passed


@dataset("wrong_labels")
class WrongLabels(MotionSim):
    def trials(self) -> list[Trial]:
        return [Trial(trial.id, trial.label + 1, trial.columns) for trial in super().trials()]


@dataset("random_reader")
class RandomReader(MotionSim):
    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        held = super().read(trial, view, frames)
        return Recording({name: x + np.random.rand(1).astype(np.float32) for name, x in held.series.items()})  # noqa: NPY002


@pytest.mark.parametrize(
    ("reader", "check_name"), [(WrongLabels, "labels_every_trial"), (RandomReader, "reading_is_deterministic")]
)
def test_a_readers_error_is_found(reader: Any, check_name: str, tmp_path: Path) -> None:
    import yaml

    from kdbench.util import paths

    name = reader.__kdbench_part__.name
    content = yaml.safe_load((paths.folder("datasets") / "motionsim/card.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "card.yaml"
    kept = {key: value for key, value in content.items() if key not in {"label_vectors", "views"}}
    path.write_text(yaml.safe_dump(kept | {"reader": name}), encoding="utf-8")
    with known(reader):
        report = check("dataset", str(path), options={"actions": 3, "subjects": 4, "trials": 2})
    assert report.failed == (check_name,), str(report)


def test_without_recordings_what_the_card_says_is_checked_and_the_rest_says_what_to_do() -> None:
    report = check("dataset", "utd_mhad")
    assert report.passed
    assert report.result("protocols_do_not_leak").outcome == "passed"
    skipped = report.result("recordings_can_be_read")
    assert skipped.outcome == "skipped"
    assert "kdbench data download utd_mhad" in skipped.message


def test_the_checks_have_these_names() -> None:
    caught = READING | {"protocols_do_not_leak", "parts_know_every_class", "label_vectors_cover_the_classes"}
    caught |= {"files_are_sound", "labels_every_trial", "reading_is_deterministic"}
    assert set(SUITE.names) - caught == {"loads", "was_checked"}


@pytest.mark.slow
def test_the_real_recordings_hold_what_they_promise(data_dir: Path) -> None:
    report = check("dataset", "utd_mhad", data_dir=data_dir)
    assert report.passed, str(report)
    assert all(result.outcome == "passed" for result in report.results)


@pytest.mark.parametrize(
    "lost", [["Depth/a1_s1_t1_depth.mat"], ["Inertial/a1_s1_t1_inertial.mat", "Depth/a2_s1_t1_depth.mat"]]
)
def test_trials_that_lack_a_file_fail_one_check_and_the_others_are_tried(
    lost: list[str], recordings: Path, tmp_path: Path
) -> None:
    for path in lost:
        (recordings / "utd_mhad" / path).unlink()
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert report.failed == ("files_are_sound",)
    assert report.result("recordings_can_be_read").outcome == "passed"
    said = report.result("files_are_sound").message
    assert f"{len(lost)} trial{'s' * (len(lost) > 1)} of 24" in said
    assert all(f"1 in {path.partition('/')[0]}/" in said for path in lost)
    assert "--exclude-broken" in said
    assert check("dataset", card(tmp_path), data_dir=recordings, exclude_broken=True).passed


def test_broken_recordings_are_left_out_where_that_is_asked_for(recordings: Path, tmp_path: Path) -> None:
    path = recordings / "utd_mhad/Inertial/a2_s2_t1_inertial.mat"
    path.write_bytes(path.read_bytes()[:-50])
    assert check("dataset", card(tmp_path), data_dir=recordings, exclude_broken=True).passed


def test_what_is_left_is_held_to_the_protocols(recordings: Path, tmp_path: Path) -> None:
    for path in (recordings / "utd_mhad/Inertial").glob("a1_s[24]_*"):
        path.unlink()
    report = check("dataset", card(tmp_path), data_dir=recordings, exclude_broken=True)
    assert report.failed == ("parts_know_every_class",)
    assert "its test part never shows" in report.result("parts_know_every_class").message


def test_a_whole_trial_that_is_wrong_is_found_beside_those_that_lack_files(recordings: Path, tmp_path: Path) -> None:
    (recordings / "utd_mhad/Depth/a1_s1_t1_depth.mat").unlink()
    folder = recordings / "utd_mhad/Inertial"
    shutil.copy(folder / "a1_s1_t2_inertial.mat", folder / "a1_s2_t1_inertial.mat")
    report = check("dataset", card(tmp_path), data_dir=recordings)
    assert set(report.failed) == {"files_are_sound", "parts_share_no_recording"}


def test_a_clip_lasts_as_long_as_its_times_say(tmp_path: Path) -> None:
    """Of a rate that varies, the number of frames tells nothing."""
    case = DatasetCase(card(tmp_path))
    seconds = dict(zip(TRIALS, range(2, 26), strict=True))
    frames = np.random.default_rng(0).permutation(np.arange(20, 44))
    for timed in (True, False):
        case.recordings = {
            "depth": {
                trial: Recording(
                    {name: np.zeros((50 * lasts, 3), np.float32) for name in case.card.sensors},
                    recorded=int(shown),
                    seconds=lasts if timed else None,
                )
                for (trial, lasts), shown in zip(seconds.items(), frames, strict=True)
            }
        }
        if timed:
            trials_are_paired_in_time(case)
        else:
            with pytest.raises(Failed, match="lasts"):
                trials_are_paired_in_time(case)
