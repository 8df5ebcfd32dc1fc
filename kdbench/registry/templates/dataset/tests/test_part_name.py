"""The data set `part_name`: what is read, what is refused, and the checks of kdbench."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kdbench.data.card import load_card
from kdbench.errors import DataError
from kdbench.testing import check

import kdbench_part_name
from kdbench_part_name.example import write
from kdbench_part_name.reader import PartName

CARD = Path(kdbench_part_name.__file__).with_name("card.yaml")


@pytest.fixture
def reader(tmp_path: Path) -> PartName:
    """A reader of a few generated recordings."""
    return PartName(load_card(CARD), write(tmp_path))


def test_conformance(tmp_path: Path) -> None:
    """Parts that do not leak, labels, files that can be read, and so on."""
    write(tmp_path)
    report = check("dataset", str(CARD), data_dir=tmp_path)
    assert report.passed, report


def test_a_trial_is_read(reader: PartName) -> None:
    """Both sensors, in the order of the card's columns."""
    first = reader.trials()[0]
    recording = reader.read(first, None, 0)
    assert first.id == "a1_s1_t1"
    written = np.loadtxt(reader.root / "recordings" / "a1_s1_t1.csv", delimiter=",", skiprows=1, dtype=np.float32)
    assert np.array_equal(recording.series["accelerometer"], written[:, :3])
    assert np.array_equal(recording.series["gyroscope"], written[:, 3:])
    assert list(recording.hashes) == ["recordings/a1_s1_t1.csv"]


def test_a_column_of_text_is_passed_over(reader: PartName) -> None:
    """Times and names may stand beside the numbers."""
    path = reader.root / "recordings" / "a1_s1_t1.csv"
    before = reader.read(reader.trials()[0], None, 0).series
    path.write_text("".join(f"{line},12:30:01.5\n" for line in path.read_text().splitlines()))
    after = reader.read(reader.trials()[0], None, 0).series
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("content", "message"),
    [("acc_x,acc_y\n1,2\n", "has 2 columns, expected 3"), ("acc_x\n1;2\n", "expected numbers between commas")],
)
def test_a_broken_file_is_named(content: str, message: str, reader: PartName) -> None:
    """The message names the trial and the file."""
    (reader.root / "recordings" / "a1_s1_t1.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        reader.read(reader.trials()[0], None, 0)
    assert "trial a1_s1_t1: recordings/a1_s1_t1.csv" in str(caught.value)
