"""Recipes: what is shipped resolves at every size, and a wrong key is answered with the right one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sweep import swept

from kdbench.errors import UsageError
from kdbench.recipes.assembly import teacher_at
from kdbench.recipes.changes import merge, parse_overrides
from kdbench.recipes.layers import layers
from kdbench.recipes.pairs import pair_of
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS
from kdbench.recipes.shipped import aliases, names, renamed
from kdbench.registry import registry

FUSED = ("mmad", "keyless_style", "hamlet_style", "mumu_style", "sakdn")
IMAGES = ("mtf", "recurrence", "spectrogram")
LATE = ("concat", "sum", "hadamard")
METHODS = {
    *(f"sgm_ft{change}" for change in ("", "_without_sgm", "_without_se", "_without_st", "_uncertainty", "_gradnorm")),
    *(f"kd{change}" for change in ("", "_warmup", "_wrong_trials", "_r2plus1d")),
    *(f"{name}_sensor" for name in ("student_only", "kd", "rkd")),
    *("student_only", "teacher_only", "untrained", "untrained_sensor", "torchdistill_pkt"),
    *("rkd", "sp", "at", "logits", "logit_standardisation", "dkd", "dist", "pkt", "cc", "crd", "crd_batch", "condrk"),
    *("hint", "nst", "fsp", "mars", "ickd", "vid", "factor", "gsdm", "mmd", "pskd_branches_style"),
    *("nkd", "ttm", "wttm", "ofa", "sdd", "mlld", "ctkd", "cat_kd", "wsld"),
    *("series", "kd_series", "pose_supervision"),
    *("radevski2023", "dmcl", "dml", "c2kd", "comodo", "modality_hallucination", "vskd", "born_again", "ensemble"),
    "actionmae",
    *("tsn", "trn", "smd", "mmd_tsn", "mmad_tsn", "sakdn_trn", "keyless", "hamlet", "mumu", "pskd_style", "lhar_style"),
    *("mmad_fusion", "posemap_style", "mcrl_style", "pskd_stages_style"),
    *("cwd", "pkd", "ab", "ofd", "vkd", "kdsvd", "mgd", "reviewkd", "semckd", "srrl", "diffkd", "simkd"),
}
TEACHERS = {
    *("gaf_native", "gaf_ft_native", "video_relation"),
    *("gaf", "gaf_ft", "gaf_ft_random", "gaf_resnet", "raw", "raw_ft", "raw_random", "raw_transformer1d"),
    *(f"{kind}_{fusion}" for kind in ("gaf", "raw") for fusion in LATE),
    *(f"{image}_ft" for image in IMAGES),
    *("skeleton", "imu", "imu_skeleton", "imu_depth"),
    "video",
    *("keyless", "hamlet", "mumu", "wrist_skeleton", "raw_accelerometer", "posemap_style"),
    *("mcrl_style", "sakdn_vgg"),
    *FUSED,
}
FORMER = {
    "actionmae_style": ("actionmae", None),
    "hinton": ("kd", "gaf_ft"),
    "hinton_raw": ("kd", "raw"),
    "hinton_random_teacher": ("kd", "gaf_ft_random"),
    "hinton_random_teacher_raw": ("kd", "raw_random"),
    "hinton_wrong_trials": ("kd_wrong_trials", "gaf_ft"),
    "hinton_wrong_trials_raw": ("kd_wrong_trials", "raw"),
    "hinton_warmup": ("kd_warmup", "gaf_ft"),
    "hinton_r2plus1d": ("kd_r2plus1d", "gaf_ft"),
    "hinton_sensor": ("kd_sensor", "raw"),
    "hinton_transformer1d": ("kd", "raw_transformer1d"),
    "sgm_ft_without_ft": ("sgm_ft", "gaf"),
    "sgm_ft_resnet": ("sgm_ft", "gaf_resnet"),
    "teacher_only_raw": ("teacher_only", "raw"),
    **{f"{name}_raw": (name, "raw_ft") for name in ("sgm_ft", "gsdm")},
    "pskd": ("pskd_branches_style", "gaf_ft"),
    "pskd_raw": ("pskd_branches_style", "raw_ft"),
    **{f"{name}_raw": (name, "raw") for name in ("rkd", "sp", "at", "logits", "logit_standardisation", "dkd", "dist")},
    **{f"{name}_raw": (name, "raw") for name in ("pkt", "cc", "crd", "crd_batch", "condrk", "hint", "nst", "fsp")},
    **{f"{name}_raw": (name, "raw") for name in ("mars", "ickd", "vid", "factor", "mmd")},
    **{f"hinton_{fusion}": ("kd", f"gaf_{fusion}") for fusion in LATE},
    **{f"hinton_{fusion}_raw": ("kd", f"raw_{fusion}") for fusion in LATE},
    **{f"{method}_{image}": (method, f"{image}_ft") for image in IMAGES for method in ("sgm_ft", "teacher_only")},
    **{name: ("gsdm" if name == "sakdn" else "kd", name) for name in FUSED},
    **{f"teacher_only_{name}": ("teacher_only", name) for name in FUSED},
}


def test_every_promised_method_teacher_and_former_name_is_there() -> None:
    assert set(names()) >= METHODS
    assert set(registry("teacher").names()) >= TEACHERS
    assert {name: tuple(pair) for name, pair in aliases().items()} == FORMER


@swept("preset", PRESETS)
@swept("method", names())
def test_every_method_resolves_at_every_preset(method: str, preset: str) -> None:
    recipe = resolve(method, preset)
    assert recipe.method == method
    assert recipe.summary


@pytest.mark.parametrize("preset", PRESETS)
def test_a_former_name_is_a_method_with_a_teacher(preset: str) -> None:
    for former, (method, teacher) in FORMER.items():
        recipe = resolve(former, preset)
        assert recipe == resolve(method, preset, teacher=teacher)
        # What another method has replaced was another one: its runs keep its name, and those of today have today's.
        name = method if teacher is None else former
        assert (recipe.name, recipe.method, recipe.taught_by) == (name, method, teacher)


def test_a_renamed_method_keeps_the_names_of_its_runs() -> None:
    for former, today in renamed().items():
        assert former not in names()
        assert resolve(today, "smoke").name == former
        assert resolve(today, "smoke", teacher="raw").name == f"{former}+raw"
        assert resolve(former, "smoke", teacher="raw") == resolve(today, "smoke", teacher="raw")
        # What was run under the former name is a run of the method.
        assert pair_of({"method": former, "taught_by": "raw"}) == (today, "raw")
        assert pair_of({"method": former}) == aliases()[former]


def test_every_method_that_has_a_teacher_takes_every_other(tmp_path: Path) -> None:
    several = {method for method in names() if resolve(method, "smoke").teachers}
    taught = [method for method in names() if resolve(method, "smoke").taught_by and method not in several]
    alone = {"student_only", "student_only_sensor", "untrained", "untrained_sensor", "tsn", "trn"}
    alone |= {"student_only_skeleton", "untrained_skeleton", "actionmae"}
    alone |= {"series", "series_sensor", "series_skeleton", "pose_supervision", "pose_supervision_wrong_trials"}
    assert several == {"pskd_style", "pskd_stages_style", "radevski2023"}
    assert set(names()) - set(taught) == alone | several
    for teacher in registry("teacher").names():
        spec = teacher_at(teacher, "smoke")
        for method in taught:
            plain = resolve(method, "smoke")
            assert plain.teacher is not None
            # What cannot be of several seeds, or train along, is a teacher that is not trained at all.
            if (plain.student is None or plain.teacher.seeds or plain.teacher.joint) and teacher.endswith("_random"):
                continue
            recipe = resolve(method, "smoke", teacher=teacher)
            assert recipe.taught_by == teacher
            assert recipe.student == resolve(method, "smoke").student
            assert recipe.teacher is not None
            if "branches" in spec:
                assert list(recipe.teacher.branches or ()) == list(spec["branches"])
            else:
                assert recipe.teacher.representation.name == spec["representation"]["name"]
    assert resolve("rkd", "smoke", teacher="raw_sum").name == "rkd+raw_sum"
    own = tmp_path / "mine.yaml"
    own.write_text("extends: raw\nencoder: {dropout: 0.25}\n")
    recipe = resolve("rkd", "smoke", teacher=str(own))
    assert recipe.name == "rkd+mine"
    assert recipe.teacher is not None
    assert recipe.teacher.encoder.params["dropout"] == 0.25


def test_what_a_method_changes_of_its_teacher_it_changes_of_another() -> None:
    teacher = resolve("sgm_ft_without_se", "small", teacher="raw_ft").teacher
    assert teacher is not None
    assert teacher.representation.name == "raw"
    assert set(teacher.losses) == {"ce"}


def test_teachers_are_named_in_one_s_own_recipes_too(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("extends: hinton_raw\nstudent: {losses: {st: {weight: 2.0}}}\n")
    recipe = resolve(str(own), "small")
    assert (recipe.name, recipe.method, recipe.taught_by) == ("mine", "mine", "raw")
    own.write_text("extends: kd\nteacher: raw_sum\n")
    assert resolve(str(own), "small").teacher == resolve("kd", "small", teacher="raw_sum").teacher
    (tmp_path / "net.yaml").write_text("extends: raw\ntrain: {epochs: 5}\n")
    own.write_text("extends: kd\nteacher: net.yaml\n")
    taught = resolve(str(own), "small").teacher
    assert taught is not None
    assert taught.train.epochs == 5


@pytest.mark.parametrize(
    ("method", "teacher", "said"),
    [
        ("kd", "rwa", "unknown teacher 'rwa'; did you mean 'raw'"),
        ("student_only", "raw", "the method 'student_only' has no teacher, so --teacher raw changes nothing"),
        ("kd", "nowhere/mine.yaml", "there is no recipe file nowhere/mine.yaml"),
    ],
)
def test_a_teacher_that_is_not_there_is_named(method: str, teacher: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        resolve(method, "small", teacher=teacher)


@pytest.mark.parametrize("method", ["hinton", "rkd", "sp", "at", "sgm_ft_without_sgm", "sgm_ft_without_st"])
def test_methods_that_differ_in_the_student_share_the_teacher(method: str) -> None:
    for preset in PRESETS:
        ours, reference = resolve(method, preset), resolve("sgm_ft", preset)
        assert ours.teacher == reference.teacher
        assert ours.semantics == reference.semantics


def test_the_paper_preset_holds_the_papers_numbers() -> None:
    recipe = resolve("sgm_ft", "paper")
    assert recipe.teacher is not None
    assert recipe.student is not None
    assert (recipe.teacher.train.lr, recipe.teacher.train.batch_size) == (1e-4, 32)
    assert (recipe.student.train.lr, recipe.student.train.batch_size) == (5e-5, 16)
    assert {name: term.weight for name, term in recipe.student.losses.items()} == {
        "ce": 1,
        "st": 0.1,
        "sgm": 1,
        "se": 1,
    }
    assert {name: term.weight for name, term in recipe.teacher.losses.items()} == {"ce": 0.5, "se": 0.5}
    assert (recipe.data.frames, recipe.data.frame_size) == (32, 224)
    assert recipe.student.losses["st"].params == {"temperature": 4.0, "scale": "none"}


def test_without_se_the_teacher_loses_it_too() -> None:
    recipe = resolve("sgm_ft_without_se", "small")
    assert recipe.teacher is not None
    assert recipe.student is not None
    assert {name: term.weight for name, term in recipe.teacher.losses.items()} == {"ce": 1.0}
    assert "se" not in recipe.student.losses


def test_an_override_adds_a_loss_and_removes_one() -> None:
    student = resolve("hinton", "small", ["student.losses.at.weight=5", "student.losses.st=null"]).student
    assert student is not None
    assert set(student.losses) == {"ce", "at"}
    assert student.losses["at"].weight == 5


def test_another_part_drops_the_parameters_of_the_one_before() -> None:
    teacher = resolve("sgm_ft", "small", ["teacher.representation.name=raw", "teacher.encoder.name=conv1d"]).teacher
    assert teacher is not None
    assert teacher.representation.params == {}


def test_a_parameter_may_be_given_before_the_name_of_its_part() -> None:
    changes = ["teacher.fusion.hidden=8", "teacher.fusion.name=multihead"]
    for given in (changes, changes[::-1]):
        teacher = resolve("sgm_ft", "small", given).teacher
        assert teacher is not None
        assert (teacher.fusion.name, teacher.fusion.params) == ("multihead", {"hidden": 8})


def test_a_small_number_in_scientific_notation_is_a_number() -> None:
    assert parse_overrides(["student.train.lr=1e-4"]) == {"student": {"train": {"lr": 1e-4}}}


def test_merge_keeps_what_the_change_does_not_name() -> None:
    assert merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.train.lrr=1", "did you mean 'lr'"),
        ("studnet.train.lr=1", "did you mean 'student'"),
        ("student.losses.ce.weight=heavy", "student.losses.ce.weight = 'heavy'"),
        ("student.losses.ce.weight=.nan", "student.losses.ce.weight"),
        ("student.train.batch_size=0", "student.train.batch_size = 0"),
        ("student.train.epochs", "--set a.b.c=value"),
        ("precision=fp8", "'fp32' or 'bf16'"),
        ("student.losses=null", "student.losses"),
        ("student=null", "a recipe needs a teacher, a student, or both"),
    ],
)
def test_a_wrong_override_is_answered(override: str, said: str) -> None:
    changes = [override, "teacher=null"] if override == "student=null" else [override]
    with pytest.raises(UsageError) as caught:
        resolve("sgm_ft", "small", changes)
    assert said in str(caught.value)


def test_unknown_methods_and_presets_name_the_near_misses() -> None:
    with pytest.raises(UsageError, match="did you mean 'hinton'"):
        resolve("hintn", "small")
    with pytest.raises(UsageError, match="did you mean 'small'"):
        resolve("hinton", "smal")


def test_a_recipe_of_ones_own_extends_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: hinton\nstudent: {losses: {st: {weight: 3}}}\n")
    recipe = resolve(str(path), "small")
    assert recipe.name == "mine"
    assert recipe.student is not None
    assert recipe.student.losses["st"].weight == 3


def test_a_path_in_extends_is_looked_up_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "base.yaml").write_text("extends: hinton\nstudent: {losses: {st: {weight: 7}}}\n")
    (tmp_path / "deep" / "kid.yaml").write_text("extends: base.yaml\n")
    monkeypatch.chdir(tmp_path)
    recipe = resolve("deep/kid.yaml", "smoke")
    assert recipe.student is not None
    assert recipe.student.losses["st"].weight == 7


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(f"extends: {second}\n")
    second.write_text(f"extends: {first}\n")
    with pytest.raises(UsageError, match="extends itself: first → second → first"):
        layers(str(first))


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "!!python/object/apply:os.system ['true']\n"])
def test_what_is_not_a_mapping_of_plain_values_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"broken\.yaml"):
        resolve(str(path), "small")


def test_an_installed_distribution_brings_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "wearable_kd-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: wearable-kd\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[kdbench.methods]\nmine = wearable_kd\nkd = wearable_kd\n")
    (tmp_path / "wearable_kd.py").write_text("raise ImportError('a recipe needs no import')\n")
    (tmp_path / "mine.yaml").write_text("extends: kd\nstudent: {losses: {st: {weight: 7}}}\n")
    (tmp_path / "kd.yaml").write_text("extends: sp\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "mine" in names()
    student = resolve("mine", "small").student
    assert student is not None
    assert student.losses["st"].weight == 7
    assert "st" in resolve("kd", "small").student.losses  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "overrides",
    [
        ["student.train.epochs=3", "student.losses.st.weight=2"],
        {"student.train.epochs": 3, "student.losses.st.weight": 2},
        {"student.train": {"epochs": 3}, "student": {"losses": {"st": {"weight": 2}}}},
        {"student": {"train": {"epochs": 3}, "losses": {"st": {"weight": 2}}}},
    ],
)
def test_changes_are_the_same_in_every_form(overrides: Any) -> None:
    recipe = resolve("hinton_raw", "smoke", overrides)
    assert recipe.student is not None
    assert recipe.student.train.epochs == 3
    assert recipe.student.losses["st"].weight == 2
    assert recipe.student.train.lr == resolve("hinton_raw", "smoke").student.train.lr  # type: ignore[union-attr]


def test_one_change_may_be_plain_text() -> None:
    assert resolve("hinton_raw", "smoke", "precision=bf16").precision == "bf16"


@pytest.mark.parametrize("key", ["", "student..train", ".precision", 5])
def test_odd_keys_of_changes_are_named(key: Any) -> None:
    with pytest.raises(UsageError, match="cannot read the key"):
        resolve("hinton_raw", "smoke", {key: 1})


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ("st.weight=1", "student.losses.st"),
        ("train.epochs=3", "student.train"),
        ("losses.st.weight=1", "student.losses"),
        ("lr=0.1", "student.train.lr"),
        ("frames=4", "data.frames"),
        ("labels=1", "track.labels"),
    ],
)
def test_a_setting_as_tables_write_it_is_answered_with_its_whole_key(change: str, whole: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {whole}\\?"):
        resolve("sgm_ft", "small", [change])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("student.train.epochs=true", "student.train.epochs = true"),
        ("student.train.epochs='3'", "student.train.epochs = '3'"),
        ("student.losses.st.weight=yes", "student.losses.st.weight = true"),
        ("student.losses.st.weight={schedule: linear, to: true}", "student.losses.st.weight.to = true"),
        ("data.frames='8'", "data.frames = '8'"),
    ],
)
def test_a_truth_or_a_text_is_no_number(change: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("hinton", "small", [change])
    assert f"{found}: expected a number" in caught.value.message


@pytest.mark.parametrize("key", ["taught_by=gaf_ft", "method=sgm_ft", "name=mine"])
def test_what_resolving_adds_is_no_setting(key: str) -> None:
    with pytest.raises(UsageError, match=key.partition("=")[0]):
        resolve("kd", "smoke", [key])


def test_a_teacher_that_a_file_names_is_changed_as_one_of_the_command_line(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    asked = resolve("sgm_ft_without_se", "small", teacher="raw_ft")
    for named in ("raw_ft", "{name: raw_ft}"):
        own.write_text(f"extends: sgm_ft_without_se\nteacher: {named}\n")
        assert resolve(str(own), "small").teacher == asked.teacher
    own.write_text("extends: sgm_ft_without_se\nteacher: {name: raw_ft, train: {epochs: 3}}\n")
    assert resolve(str(own), "small").teacher == asked.teacher.model_copy(  # type: ignore[union-attr]
        update={"train": asked.teacher.train.model_copy(update={"epochs": 3})}  # type: ignore[union-attr]
    )


def test_two_teachers_are_refused_and_none_is_no_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name two teachers"):
        resolve("kd", "smoke", ["teacher=gaf"], teacher="raw")
    assert resolve("kd", "smoke", ["teacher=gaf"]).taught_by == "gaf"
    assert resolve("kd", "smoke", ["teacher=null", "student.losses.st=null"]).taught_by is None
    with pytest.raises(UsageError, match="former name of kd with the teacher raw"):
        resolve("kd", "smoke", teacher="hinton_raw")
    with pytest.raises(UsageError, match=r"teacher.name = 3: expected a name"):
        resolve("kd", "smoke", {"teacher": {"name": 3}})
    (tmp_path / "rkd.yaml").write_text("extends: kd\nteacher: raw\n")
    assert resolve(str(tmp_path / "rkd.yaml"), "smoke").name == "rkd"


def test_messages_call_a_recipe_as_the_user_does() -> None:
    with pytest.raises(UsageError, match="recipe 'kd'"):
        resolve("kd", "smoke", ["bogus=1"])
    with pytest.raises(UsageError, match=r"recipe 'kd \+ raw'"):
        resolve("hinton_raw", "smoke", ["bogus=1"])
