"""SmartFallMM as it was recorded, by its shipped card."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.data.card import load_card
from kdbench.data.readers.files.reader import FilesReader
from kdbench.data.roster import roster
from kdbench.data.store import source
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError
from kdbench.testing import check

pytestmark = [pytest.mark.data, pytest.mark.slow]

SPOILT = ("S30A02T01", "S30A06T03", "S35A11T02", "S37A08T04")
"""Trials of which a file of the watch's gyroscope, or of the phone's accelerometer, holds a handful of rows."""


@pytest.fixture(scope="session")
def fallen(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the unpacked archive."""
    archive = data_dir / "smartfallmm/young_core.tar.xz"
    folder = tmp_path_factory.mktemp("fallen")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "smartfallmm", filter="data")
    return folder


@pytest.fixture
def reader(fallen: Path) -> FilesReader:
    found = source.find(load_card("smartfallmm"), fallen)
    assert found is not None
    assert isinstance(found.reader, FilesReader)
    return found.reader


def test_who_has_what(reader: FilesReader, fallen: Path) -> None:
    counts = roster(source.Source(reader, fallen / "smartfallmm", ()))
    assert counts.total.trials == 507
    assert counts.total.having == {
        "accelerometer": 507, "gyroscope": 413, "accelerometer_phone": 507, "gyroscope_phone": 411, "skeleton": 507
    }  # fmt: skip
    assert [row.name for row in counts.rows if row.whole == 0] == ["32", "35"]


def test_streams_are_aligned_by_time_where_they_can_be(reader: FilesReader) -> None:
    trials = {trial.id: trial for trial in reader.trials()}
    together = reader.read(trials["S30A03T01"], None, 1).series
    lengths = {name: len(values) / reader.card.sensors[name].rate_hz for name, values in together.items()}
    assert np.ptp(list(lengths.values())) < 0.05
    assert reader.remarks() == [] or not any("by their share" in line for line in reader.remarks())
    # The watch's gyroscope of this trial pauses for seconds.
    reader.read(trials["S31A05T01"], None, 1)
    assert np.median(np.linalg.norm(together["accelerometer"], axis=1)) == pytest.approx(9.8, abs=1.5)


def test_joints_are_relative_to_the_body(reader: FilesReader) -> None:
    trial = next(trial for trial in reader.trials() if trial.id == "S29A03T02")
    joints = reader.read_skeleton(trial, "skeleton").series["skeleton"].reshape(560, 32, 3)
    pelvis, neck, head = (reader.card.skeletons["skeleton"].joints.index(name) for name in ("pelvis", "neck", "head"))
    assert np.median(np.linalg.norm(joints[:, pelvis] - joints[:, neck], axis=1)) == pytest.approx(1, abs=1e-5)
    # y points down: who stands has the head above the pelvis.
    assert np.median(joints[:, head, 1]) < np.median(joints[:, pelvis, 1]) - 0.8


@pytest.fixture
def few(fallen: Path, tmp_path: Path) -> Path:
    """A data folder with the recordings of three people alone, those of every spoilt file among them."""
    for path in (fallen / "smartfallmm/young").rglob("S3[057]*.csv"):
        link = tmp_path / path.relative_to(fallen)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(path)
    return tmp_path


def test_spoilt_files_are_named_and_left_out_on_request_alone(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(few / "cache"))
    options: dict[str, Any] = {"data_dir": few, "video": None, "progress": False}
    with pytest.raises(DataError) as caught:
        open_dataset("smartfallmm", **options)
    assert all(trial in caught.value.message for trial in SPOILT)
    data = open_dataset("smartfallmm", exclude_broken=True, beside=["skeleton"], **options)
    assert sorted(data.excluded) == sorted(SPOILT)
    assert len(data) == 35 + 34 + 35 - len(SPOILT)
    assert data.unverified == {}
    assert {data.lacks(trial) for trial in data.index["trial"] if trial.startswith("S35")} == {
        frozenset({"gyroscope", "gyroscope_phone"})
    }


def test_it_is_what_every_data_set_promises(fallen: Path) -> None:
    quick = ("labels_every_trial", "protocols_do_not_leak", "parts_know_every_class", "files_are_sound")
    report = check("dataset", "smartfallmm", data_dir=fallen, only=quick)
    assert report.passed, [result.message for result in report.results if result.outcome == "failed"]
    assert {result.name for result in report.results if result.outcome == "passed"} >= set(quick)
