"""The simulation of a cluster ends, loses no run to failures, and tells what is in the way."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from cluster_scale import Cluster, Costs


def simulated(**changes: Any) -> Cluster:
    given: dict[str, Any] = {"cells": 60, "gpus": 20, "median_seconds": 60.0, "failure_hours": 1e9}
    given |= {"mirror": False, "as_it_was": False} | changes
    cluster = Cluster(argparse.Namespace(**given), Costs())
    cluster.run()
    return cluster


def test_every_run_is_made_once_and_failures_are_gone_on_with() -> None:
    whole = simulated()
    assert (whole.done, whole.failed, len(whole.cells)) == (60, 0, 60)
    broken = simulated(failure_hours=0.05)
    assert broken.done == 60
    assert broken.failed > 5
    assert broken.env.now > whole.env.now


@pytest.mark.parametrize("as_it_was", [False, True])
def test_a_slower_grid_and_disk_show_in_the_time(as_it_was: bool) -> None:
    cluster = simulated(cells=300, gpus=100, median_seconds=5.0, as_it_was=as_it_was)
    assert (cluster.grid.busy > 10) == as_it_was
    assert cluster.told().startswith("300 runs on 100 GPUs: ")
