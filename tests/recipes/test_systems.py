"""The systems of the paper's Table 1 and of its related work: what they see, and that they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from forked import kdbench
from helpers import WORLD

from kdbench.errors import UsageError
from kdbench.grid.suite import load_suite
from kdbench.recipes.layers import layers
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS
from kdbench.recipes.shipped import aliases
from kdbench.registry import registry
from kdbench.runs.store import stored_runs
from kdbench.runs.training import records_of
from kdbench.util import paths

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


SYSTEMS = (
    *(
        "tsn",
        "trn",
        "smd",
        "mmd",
        "mmd_tsn",
        "mmad_tsn",
        "mmad_fusion",
        "keyless",
        "gsdm",
        "sakdn_trn",
        "hamlet",
        "mumu",
    ),
    *("mcrl_style", "posemap_style", "sgm_ft", "pskd_style", "pskd_stages_style", "lhar_style", "condrk", "mars"),
    *("vskd", "radevski2023", "comodo", "dmcl", "c2kd", "actionmae", "modality_hallucination"),
    *("born_again", "dml", "ensemble", "kd", "sdd", "wttm", "simkd", "pskd_branches_style"),
)
"""Methods that are a published system, or its losses, and not one loss that is described by its docstring alone."""
TEACHERS = (
    *(
        "gaf_ft",
        "gaf_ft_native",
        "mmad",
        "sakdn",
        "sakdn_vgg",
        "keyless",
        "hamlet",
        "mumu",
        "mcrl_style",
        "posemap_style",
    ),
    *("keyless_style", "hamlet_style", "mumu_style"),
)
"""Teachers that are a part of a published system."""


def lineage_of(name: str, kind: str = "method") -> dict[str, Any]:
    """What a recipe says of itself; of a method that is a teacher alone, what that teacher says."""
    said = layers(name, kind)[-1].settings
    is_alone = kind == "method" and "deviations" not in said and resolve(name, "paper").student is None
    return lineage_of(str(said["teacher"]), "teacher") if is_alone else dict(said)


@pytest.mark.parametrize(
    ("kind", "name"), [("method", name) for name in SYSTEMS] + [("teacher", name) for name in TEACHERS]
)
def test_a_system_says_what_is_not_as_published(kind: str, name: str) -> None:
    said = lineage_of(name, kind)
    for key in ("source", "equations", "deviations"):
        assert said[key], key


def test_every_system_of_a_suite_is_held_to_say_it() -> None:
    controls, variants = {"kd_wrong_trials"}, {"student_only", "student_only_sensor", "teacher_only", "series"}
    for suite in ("table1", "table1_mmact", "systems"):
        pairs = load_suite(suite).pairs()
        assert {pair.name for pair in pairs} <= {*SYSTEMS, *controls, *variants}


def test_what_a_recipe_says_of_itself_is_not_said_of_what_extends_it(tmp_path: Path) -> None:
    assert resolve("sgm_ft", "small").equations != resolve("kd", "small").equations
    assert resolve("rkd", "small").equations == resolve("rkd", "small").deviations == ()
    own = tmp_path / "mine.yaml"
    own.write_text("extends: mmd_tsn\n")
    assert resolve(str(own), "small").deviations == ()
    # One that a search has tuned is the same method with other numbers.
    tuning = "tuning: {budget: {trials: 1}, study: s, space: {}, best: {}}\n"
    own.write_text(f"extends: mmd_tsn\n{tuning}")
    assert resolve(str(own), "small").deviations == resolve("mmd_tsn", "small").deviations


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


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("mst_distill", "radevski2023"),
        ("temporal_segment_networks", "tsn"),
        ("deep_mutual_learning", "dml"),
        ("MultipleChoice_learning", "dmcl"),
        ("cross-modal hallucination", "modality_hallucination"),
    ],
)
def test_a_published_title_suggests_the_nearest_too(written: str, near: str) -> None:
    with pytest.raises(UsageError, match="unknown method") as caught:
        resolve(written, "smoke")
    assert near in f"{caught.value.message} {caught.value.hint}"
    assert "kdbench list methods" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("written", "near"),
    [("MST-Distill", "radevski2023"), ("fusion_gcn", "posemap_style"), ("CMC-CMKM", "crd_skeleton")],
)
def test_a_system_that_is_not_built_names_what_comes_nearest(written: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(written, "smoke")
    assert f"is not built; the nearest is {near}." in str(caught.value.hint)


def test_every_system_that_is_named_leads_to_a_method_that_is_there() -> None:
    listed = paths.read_mapping(paths.folder("methods") / "_systems.yaml", "list of systems")
    for name, entry in listed["built"].items():
        assert registry("method").has(name) or name in aliases() or registry("teacher").has(name)
        assert registry("method").has(entry["published"])
    for name, entry in listed["absent"].items():
        assert not registry("method").has(name)
        assert registry("method").has(entry["nearest"])


@pytest.mark.parametrize("written", ["rkdd", "x", "zzzzzz_qqqq", "x" * 100_000])
def test_a_name_without_a_word_of_a_title_suggests_none(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(written, "smoke")
    assert "By title" not in str(caught.value)
