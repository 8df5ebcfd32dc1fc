"""A second process does what it is told, and ends with the block."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kdbench.util.beside import beside


def test_the_other_process_has_ended_when_the_block_has(tmp_path: Path) -> None:
    path = tmp_path / "made"
    with beside("os:mkdir", str(path)):
        pass
    assert path.is_dir()


def test_one_that_fails_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with beside("nowhere:nothing", "x" * 1_000_000):
        pass
    assert capfd.readouterr() == ("", "")


def test_where_the_block_raises_the_other_process_is_killed() -> None:
    start = time.monotonic()
    with pytest.raises(KeyError), beside("time:sleep", 60):
        raise KeyError
    assert time.monotonic() - start < 30
