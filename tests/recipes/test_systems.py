"""The systems of the paper's Table 1 and of its related work: what they see, and that they learn."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import WORLD

from kdbench.recipes.resolve import layers, resolve
from kdbench.recipes.schema import PRESETS
from kdbench.runs.run import run

SENSORS = ("accelerometer", "gyroscope")
BOTH = (*SENSORS, "video")
SEES = {
    "hamlet": (None, BOTH),
    "keyless": (None, BOTH),
    "mmad_tsn": (SENSORS, ("video",)),
    "mmd_tsn": (SENSORS, ("video",)),
    "mumu": (None, BOTH),
    "lhar_style": (SENSORS, SENSORS),
    "pskd_style": ((*SENSORS[:1], "skeleton"), SENSORS[:1]),
    "sakdn_trn": (SENSORS, ("video",)),
    "smd": (SENSORS[:1], ("video",)),
    "trn": (None, ("video",)),
    "tsn": (None, ("video",)),
}
"""What a system's teacher and what its reported network see; None where nobody teaches it."""


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("system", SEES)
def test_a_system_sees_what_the_published_one_sees(system: str, preset: str) -> None:
    recipe = resolve(system, preset)
    taught, reported = SEES[system]
    assert recipe.reported.sees(SENSORS) == reported
    seen = {source for spec in recipe.all_teachers.values() for source in spec.sees(SENSORS)}
    assert set(taught or ()) == (set() if recipe.student is None else seen)


@pytest.mark.parametrize("system", SEES)
def test_a_system_says_what_is_not_as_published(system: str) -> None:
    said = layers(system)[-1]
    if "deviations" not in said.settings:
        said = layers(str(said.settings["teacher"]), "teacher")[-1]
    assert said.settings["source"]
    assert said.settings["equations"]
    assert said.settings["deviations"]


@pytest.mark.parametrize("system", SEES)
def test_a_system_learns(system: str, tmp_path: Path) -> None:
    recipe = resolve(system, "smoke")
    phases = [phase for phase in ("teacher", "student") if getattr(recipe, phase) is not None]
    changes = [f"{phase}.train.{key}" for phase in phases for key in ("batch_size=8", "epochs=16")]
    done = run(system, "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=[*WORLD, *changes])
    assert done.metrics["accuracy"] > 0.3, "a quarter is chance"
    assert set(done.result["conditions"]["test_modalities"]) == {
        "video:depth" if source == "video" else source for source in SEES[system][1]
    }
