"""Branches of a network: what stands for several of them."""

from __future__ import annotations

from typing import Any

import pytest

from kdbench.errors import UsageError
from kdbench.recipes.network_spec import NetworkSpec

SERIES: dict[str, Any] = {"representation": {"name": "raw"}, "encoder": {"name": "conv1d"}}
CLIP: dict[str, Any] = {"sees": "video", "representation": {"name": "clip"}, "encoder": {"name": "conv2plus1d"}}
SENSORS = ("watch", "phone")


def network(branches: dict[str, Any]) -> NetworkSpec:
    return NetworkSpec.model_validate(
        {
            "branches": branches,
            "fusion": {"name": "concat"},
            "losses": {"ce": {"weight": 1}},
            "train": {"epochs": 1, "batch_size": 2, "lr": 1e-3},
        }
    )


def test_sensors_stand_for_a_branch_for_each() -> None:
    own = {"noise": 0.3}
    spec = network({"wearables": {"sees": "sensors", **SERIES, "augment": own}, "camera": CLIP})
    assert {name: branch.sees for name, branch in spec.branches_for(SENSORS).items()} == {
        "watch": "watch",
        "phone": "phone",
        "camera": "video",
    }
    assert spec.sees(SENSORS) == ("watch", "phone", "video")
    # What a network is built from holds the video too.
    assert list(spec.branches_for((*SENSORS, "video"))) == ["watch", "phone", "camera"]
    assert set(spec.changes(SENSORS)) == set(SENSORS)
    assert spec.shows("sensors")
    assert not spec.sees_video_alone


def test_a_sensor_that_a_branch_names_is_not_seen_twice() -> None:
    spec = network({"wearables": {"sees": "sensors", **SERIES}, "wrist": {"sees": "watch", **SERIES}})
    assert spec.sees(SENSORS) == ("phone", "watch")


def test_a_branch_cannot_be_called_as_a_sensor_beside_it() -> None:
    spec = network({"wearables": {"sees": "sensors", **SERIES}, "phone": CLIP})
    with pytest.raises(UsageError, match="phone is the name of a branch and of a sensor"):
        spec.branches_for(SENSORS)
