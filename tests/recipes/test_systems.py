"""The systems of the paper's Table 1 and of its related work: what they see, and that they learn."""

from __future__ import annotations

from pathlib import Path

import pytest
from forked import kdbench
from helpers import WORLD

from kdbench.errors import UsageError
from kdbench.recipes.layers import layers
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS
from kdbench.runs.store import stored_runs
from kdbench.runs.training import records_of

SENSORS = ("accelerometer", "gyroscope")
BOTH = (*SENSORS, "video")
SEES = {
    "hamlet": (None, BOTH),
    "keyless": (None, BOTH),
    "mmad_fusion": (SENSORS, ("video", *SENSORS)),
    "mmad_tsn": (SENSORS, ("video",)),
    "mmd_tsn": (SENSORS, ("video",)),
    "mumu": (None, BOTH),
    "posemap_style": (None, ("skeleton",)),
    "lhar_style": (SENSORS, SENSORS),
    "pskd_style": ((*SENSORS[:1], "skeleton"), SENSORS[:1]),
    "pskd_stages_style": ((*SENSORS[:1], "skeleton"), SENSORS[:1]),
    "sakdn_trn": (SENSORS, ("video",)),
    "smd": (SENSORS[:1], ("video",)),
    "trn": (None, ("video",)),
    "tsn": (None, ("video",)),
}
"""What a system's teacher and what predicts at test see; None where nobody teaches it."""


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("system", SEES)
def test_a_system_sees_what_the_published_one_sees(system: str, preset: str) -> None:
    recipe = resolve(system, preset)
    taught, reported = SEES[system]
    assert recipe.shown(SENSORS) == reported
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


@pytest.mark.slow
@pytest.mark.parametrize("system", SEES)
def test_a_system_learns(system: str, tmp_path: Path) -> None:
    keys = resolve(system, "smoke").by_key
    changes = [f"{key}.train.batch_size=8" for key in keys]
    # With fewer, a teacher is still at chance level, which a run refuses.
    changes += [f"{key}.train.epochs={4 if key == 'student' else 16}" for key in keys]
    given = ["--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--out", tmp_path]
    ended = kdbench(
        "run", "--method", system, *given, *(word for change in (*WORLD, *changes) for word in ("--set", change))
    )
    assert ended.returncode == 0, ended.stderr
    (done,), _ = stored_runs(tmp_path)
    trained = {path.parent for path in tmp_path.rglob("metrics.jsonl")}
    assert trained
    for folder in trained:
        first, *later = [record["loss"] for record in records_of(folder)]
        assert min(later) < first
    assert set(done.result["conditions"]["test_modalities"]) == {
        "video:depth" if source == "video" else source for source in SEES[system][1]
    }


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hamlett", "hamlet"),
        ("MuMu", "mumu"),
        ("keyless_attention", "keyless"),
        ("TSN", "tsn"),
        ("lhar", "lhar_style"),
        ("PoseMap", "posemap_style"),
        ("mcrl", "mcrl_style"),
    ],
)
def test_a_published_name_that_is_not_there_suggests_the_nearest(written: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        resolve(written, "smoke")
