"""Suites: what they say, what is refused, and that the shipped ones mean runs that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.data.card import load_card
from kdbench.data.splits import protocol_names
from kdbench.errors import UsageError
from kdbench.grid.plan import make_plan
from kdbench.grid.suite import Suite, asked_for, load_suite, shipped_suites
from kdbench.recipes.changes import assignments, parse_overrides
from kdbench.recipes.resolve import resolve


def test_the_promised_suites_are_shipped() -> None:
    leaderboard = {"leaderboard_cross_subject", "leaderboard_subject_specific"}
    tracks = {"transfer", "transfer_alone", "smartfallmm"}
    paper = {"ablation", "ablation_mmact", "table1", "table1_mmact", "systems"}
    assert set(shipped_suites()) == {"smoke", "losses", "oracle", "pose_supervision"} | paper | tracks | leaderboard


@pytest.mark.parametrize("name", shipped_suites())
def test_every_cell_of_a_shipped_suite_resolves(name: str) -> None:
    suite = load_suite(name)
    assert suite.summary
    for method in suite.pairs():
        for preset in ("paper", "small", "smoke") if suite.preset == "auto" else (suite.preset,):
            recipe = resolve(method.name, preset, {**suite.set, **method.set}, teacher=method.teacher)
            assert recipe.method == method.name
            assert method.teacher in (None, recipe.taught_by)
    for dataset in suite.datasets:
        assert set(suite.protocols) <= set(protocol_names(load_card(dataset)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "labels"), [("transfer", 1), ("transfer_alone", 0)])
def test_every_cell_of_the_suites_of_tracks_fits_its_teacher(name: str, labels: int, tmp_path: Path) -> None:
    suite = load_suite(name).model_copy(update={"datasets": ["motionsim"], "preset": "smoke", "seeds": 1})
    plan = make_plan(suite, {"out": tmp_path, "device": "cpu"}, [f"track.labels={labels}"], look_ahead=True)
    assert len(plan.runs) == len(suite.pairs())


def test_a_suite_of_few_labels_asks_how_few(tmp_path: Path) -> None:
    suite = load_suite("transfer").model_copy(update={"datasets": ["motionsim"], "preset": "smoke", "seeds": 1})
    with pytest.raises(UsageError, match="nothing says how many there are") as refused:
        make_plan(suite, {"out": tmp_path, "device": "cpu"}, look_ahead=True)
    assert refused.value.hint is not None
    assert "--labels 1" in refused.value.hint


def test_the_table_of_mmact_has_what_is_published_for_mmact() -> None:
    suite = load_suite("table1_mmact")
    rows = [each for each in suite.pairs() if each.name in ("trn", "sakdn_trn")]
    assert [each.teacher for each in rows] == [None, None, "sakdn"]
    for each in rows:
        student = resolve(each.name, "paper", {**suite.set, **each.set}, teacher=each.teacher).student
        assert student is not None
        assert student.encoder.params["segments"] == student.pooling.params["frames"] == 3
        assert (student.train.epochs, student.train.batch_size) == (60, 32)
        assert each.name == "trn" or student.losses["st"].weight == 0.1
    # The recipes keep the numbers for UTD-MHAD.
    student = resolve("sakdn_trn", "paper").student
    assert student is not None
    assert (student.losses["st"].weight, student.pooling.params["frames"]) == (0.01, 8)


def test_the_suite_of_losses_holds_every_loss_with_a_teacher() -> None:
    from kdbench.losses import BUILTIN
    from kdbench.registry import part_of, registry

    used = set()
    for method in load_suite("losses").methods:
        recipe = resolve(method.name, "small")
        used |= set(recipe.student.losses) if recipe.student else set()
    taught = {name for name in BUILTIN if part_of(registry("loss").get(name)).declares["teacher"]}
    # The student of comodo is a sensor, which stands in no table of video students, and semantic_hint is of sakdn_trn,
    # whose teacher has the feature that it compares with.
    assert taught - used == {"comodo", "semantic_hint"}


def test_both_controls_stand_in_the_suites_that_make_a_table() -> None:
    for name in (
        "losses",
        "transfer",
        "transfer_alone",
        "ablation",
        "ablation_mmact",
        "table1",
        "table1_mmact",
        "systems",
        "leaderboard_cross_subject",
        "leaderboard_subject_specific",
    ):
        controls = [resolve(each.name, "small", teacher=each.teacher).controls for each in load_suite(name).pairs()]
        assert {each for held in controls for each in held} == {"random_teacher", "wrong_trials"}


def test_a_suite_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [rkd, {name: sp, set: {precision: bf16}}]\ndatasets: [motionsim]\nseeds: [0, 4]\n")
    suite = load_suite(str(path))
    assert [method.name for method in suite.methods] == ["rkd", "sp"]
    assert suite.methods[1].set == {"precision": "bf16"}
    assert suite.seed_numbers == (0, 4)
    assert [method.set for method in suite.with_methods(["sp", "at"]).methods] == [{"precision": "bf16"}, {}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: [rkd]\ndatasets: [motionsim]\n", r"unknown key 'method'; did you mean 'methods'"),
        ("methods: [{name: rkd, sets: {}}]\ndatasets: [motionsim]\n", r"'sets' under methods.0; did you mean 'set'"),
        ("methods: []\ndatasets: [motionsim]\n", "methods"),
        ("methods: [rkd]\n", "datasets is missing"),
        ("methods: [rkd]\ndatasets: [motionsim]\nseeds: 0\n", "seeds = 0: at least one seed"),
        ("methods: [rkd]\ndatasets: [motionsim]\nseeds: [1, 1]\n", "different numbers"),
        ("methods: [rkd]\ndatasets: [motionsim]\npreset: tiny\n", "preset = 'tiny'"),
        ("- rkd\n", "expected a mapping"),
        ("methods: [rkd\n", "not valid YAML"),
    ],
)
def test_a_broken_suite_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_suite(str(path))


def test_an_unknown_suite_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'ablation'"):
        load_suite("ablations")
    with pytest.raises(UsageError, match="there is no suite file"):
        load_suite(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    "changes",
    [
        {"student": {"encoder": {"widths": [8, 16], "name": "conv2plus1d"}, "losses": {"st": None}}},
        {"student": {"train": {"lr": 1e-5, "epochs": 3}}, "compile": True},
        {"precision": "bf16", "data": {"options": {"sensors": "wrist, ankle: [both]", "noise": 0.5}}},
        {},
    ],
)
def test_changes_survive_the_command_line(changes: dict[str, Any]) -> None:
    assert parse_overrides(assignments(changes)) == changes


def test_methods_beside_a_suite_stand_in_place_of_its_own_and_it_is_said() -> None:
    notes: list[str] = []
    own = asked_for("run", "smoke", [], [], notes.append)
    assert not notes
    wanted = asked_for("run", "smoke", ["rkd"], [], notes.append)
    assert [each.name for each in wanted.methods] == ["rkd"]
    assert wanted.datasets == own.datasets
    assert notes == [f"--method stands in place of the {len(own.methods)} methods of the suite smoke"]


def test_a_suite_needs_no_defaults_of_its_own() -> None:
    suite = Suite.model_validate({"methods": ["rkd"], "datasets": ["motionsim"]})
    assert suite.seed_numbers == (0,)
    assert suite.preset == "auto"


def test_a_former_name_keeps_its_teacher(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [hinton_random_teacher_raw, sp]\nteachers: [gaf]\ndatasets: [motionsim]\n")
    pairs = [(method.name, method.teacher) for method in load_suite(str(path)).pairs()]
    assert pairs == [("kd", "raw_random"), ("sp", "gaf")]


@pytest.mark.parametrize(("text", "words"), [("without: [pskd]", "without"), ("losses: true\nwithout: [att]", "'at'")])
def test_what_is_left_out_of_nothing_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"methods: [kd]\ndatasets: [motionsim]\n{text}\n")
    with pytest.raises(UsageError, match=words):
        load_suite(str(path))


def test_files_beside_a_suite_are_named_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("extends: kd\n")
    (tmp_path / "t.yaml").write_text("extends: raw\n")
    (tmp_path / "mine.yaml").write_text("methods: [{name: own.yaml, teacher: t.yaml}]\ndatasets: [motionsim]\n")
    (method,) = load_suite(str(tmp_path / "mine.yaml")).methods
    recipe = resolve(method.name, "smoke", teacher=method.teacher)
    assert (recipe.method, recipe.taught_by) == ("own", "t")
