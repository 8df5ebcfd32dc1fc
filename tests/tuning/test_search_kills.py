"""A search, killed at its file operations: nothing is lost, and repeating its command ends the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from killing import lost_by_kills

SEARCH = """
from pathlib import Path
from kdbench.tuning.searching import search

search(
    "student_only",
    "motionsim",
    trials=2,
    seeds=1,
    sampler="random",
    space=["student.train.lr=0.001..0.01:log"],
    overrides={"student": {"train": {"epochs": 1}}, "data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}},
    preset="smoke",
    device="cpu",
    heartbeat_seconds=1,
    out=Path(OUT),
)
"""
FEW = 3


def search(out: Path) -> list[str]:
    return ["-c", SEARCH.replace("OUT", repr(str(out)))]


def ended(out: Path) -> dict[str, Any]:
    """What a search has come to, whatever the way there."""
    (path,) = out.glob("searches/*/search.json")
    told = json.loads(path.read_text())
    finished = [trial for trial in told["trials"] if trial["state"] == "finished"]
    return {
        "best": told["best"]["value"],
        "settings": told["best"]["settings"],
        "finished": sorted((trial["value"], sorted(trial["settings"].items())) for trial in finished),
        "spread": told["spread"]["over_seeds"],
    }


@pytest.mark.slow
def test_what_is_killed_at_a_file_operation_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    assert lost_by_kills(search, ended, tmp_path, few=FEW) == []
