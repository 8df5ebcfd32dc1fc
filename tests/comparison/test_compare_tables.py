"""Tables of finished runs with known numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import CLASSES, LABELS, make_run, make_study, network

import kdbench
from kdbench.comparison.formats import render
from kdbench.comparison.table import each_accuracy
from kdbench.comparison.text_tables import text_tables
from kdbench.errors import DataError, UsageError
from kdbench.recipes.track import Track
from kdbench.runs.gain import gain_now
from kdbench.runs.store import stored_run
from kdbench.statistics.scores import weighted_f1_scores
from kdbench.util.records import read_json, write_json


def test_a_table_holds_the_known_numbers(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8})
    found = kdbench.compare(tmp_path)
    methods = found.methods.set_index("method")
    assert list(methods.index) == ["kd", "student_only"]
    # 8, 9 and 10 of 80 trials are wrong; 20, 21 and 22.
    assert methods.loc["kd", "accuracy"] == pytest.approx(1 - 9 / 80)
    assert methods.loc["kd", "accuracy_sd"] == pytest.approx(np.std([8 / 80, 9 / 80, 10 / 80], ddof=1))
    assert methods.loc["kd", "gain"] == pytest.approx(12 / 80)
    assert methods.loc["kd", "gain_over"] == "student_only"
    assert methods.loc["kd", "gain_low"] < 12 / 80 < methods.loc["kd", "gain_high"]
    assert methods.loc["kd", "accuracy_low"] < 1 - 9 / 80 < methods.loc["kd", "accuracy_high"]
    assert methods.loc["kd", "teacher_accuracy"] == 0.75
    assert methods.loc["kd", "peak_memory_bytes"] == 3 * 2**30
    assert methods.loc["kd", "seconds_per_epoch"] == 9
    assert methods.loc["kd", "test_modalities"] == "video:depth"
    assert methods.loc["kd", "tuning"] == "defaults"
    (pair,) = found.pairs.to_dict("records")
    assert (pair["first"], pair["second"], pair["difference"]) == ("kd", "student_only", pytest.approx(12 / 80))
    assert set(found.methods["population"]) == {"these-subjects"}
    gains = found.per_class[found.per_class["method"] == "kd"]
    assert gains["gain"].mean() == pytest.approx(12 / 80)


def test_metrics_of_stored_predictions_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    predicted = np.where(generator.random((3, 80)) < 0.6, LABELS, generator.integers(0, 4, (3, 80)))
    means = weighted_f1_scores(predicted, LABELS).mean(axis=1)
    assert means == pytest.approx([f1_score(LABELS, row, average="weighted") for row in predicted])


def test_the_interval_of_weighted_f1_follows_from_its_influence() -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(1)
    predicted = np.where(generator.random(80) < 0.7, LABELS, generator.integers(0, 4, 80))
    values = weighted_f1_scores(predicted[None], LABELS)[0]
    whole = f1_score(LABELS, predicted, average="weighted")
    for trial in (0, 17, 55):
        rest = np.delete(np.arange(80), trial)
        # Leaving one trial out moves the metric by its influence over N − 1, to first order.
        moved = whole - f1_score(LABELS[rest], predicted[rest], average="weighted")
        assert moved == pytest.approx((values[trial] - whole) / 79, abs=2e-3)


def test_a_missing_cell_is_shown_and_never_averaged_away(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8, "rkd": 10})
    (tmp_path / next(p.name for p in tmp_path.glob("rkd-s2-*")) / "run.json").unlink()
    make_run(tmp_path, "rkd", 2, status="running", folder="rkd-s2-killed")
    found = kdbench.compare(tmp_path)
    methods = found.methods.set_index("method")
    assert methods.loc["rkd", ["accuracy", "gain", "rank"]].isna().all()
    assert methods.loc["rkd", "missing_seeds"] == 1
    cells = found.seeds.set_index(["method", "seed"])
    assert cells.loc[("rkd", 2), "state"] == "running"
    assert cells.loc[("rkd", 1), "accuracy"] == pytest.approx(1 - 11 / 80)
    assert "rkd" not in set(found.pairs["first"]) | set(found.pairs["second"])
    notes = " ".join(text_tables(found)[0].notes)
    assert "rkd: seed 2 running" in notes
    assert "to rank all rows at the seeds that they have in common: --seed 0 --seed 1" in notes
    fewer = kdbench.compare(tmp_path, seeds=[0, 1]).methods.set_index("method")
    assert fewer.loc["rkd", "accuracy"] == pytest.approx(1 - 10.5 / 80)


def test_unlike_conditions_make_two_tables_with_the_difference_named(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8})
    make_study(tmp_path, {"rkd": 8}, train__epochs=60)
    found = kdbench.compare(tmp_path)
    assert [len(table.rows) for table in found.tables] == [2, 1]
    assert [str(one) for one in found.apart(found.tables[1])] == ["train.epochs (30 against 60)"]
    with pytest.raises(UsageError, match=r"'rkd' was not run under.*train\.epochs \(30 against 60\)") as caught:
        kdbench.compare(tmp_path, methods=["kd", "rkd"])
    assert "--allow-different train" in str(caught.value.hint)


def test_across_ranks_unlike_conditions_and_says_so(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8})
    make_study(tmp_path, {"rkd": 4}, train__epochs=60)
    found = kdbench.compare(tmp_path, allow_different=["train"])
    methods = found.methods.set_index("method")
    assert list(methods["rank"]) == [1, 2, 3]
    assert methods.loc["rkd", "condition:train.epochs"] == "60"
    # The student alone was not run for 60 epochs, so there is nothing to gain over.
    assert np.isnan(methods.loc["rkd", "gain"])
    assert any(
        "ranked across unlike conditions" in note and "train.epochs" in note for note in text_tables(found)[0].notes
    )


def test_one_method_under_two_crossed_conditions_is_two_rows(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8})
    make_study(tmp_path, {"student_only": 20, "kd": 10}, precision="bf16")
    methods = kdbench.compare(tmp_path, allow_different=["precision"]).methods.set_index("method")
    assert methods.loc["kd (precision=bf16)", "gain"] == pytest.approx(10 / 80)
    assert methods.loc["kd (precision=bf16)", "gain_over"] == "student_only (precision=bf16)"


@pytest.mark.parametrize("key", ["tuning", "protocol", "split"])
def test_no_ranking_goes_across_other_trials_or_another_budget(tmp_path: Path, key: str) -> None:
    make_study(tmp_path, {"student_only": 20})
    with pytest.raises(UsageError, match=f"no ranking goes across {key}"):
        kdbench.compare(tmp_path, allow_different=[key])


def test_unequal_budgets_are_refused(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 8}, tuning={"trials": 30, "sampler": "tpe"})
    make_study(tmp_path, {"rkd": 8}, tuning={"trials": 10, "sampler": "tpe"})
    with pytest.raises(UsageError, match=r"tuning\.trials \(30 against 10\)") as caught:
        kdbench.compare(tmp_path, methods=["kd", "rkd"])
    assert "--allow-different" not in str(caught.value.hint)
    assert set(kdbench.compare(tmp_path).methods["tuning"]) == {"tuned: 30 trials", "tuned: 10 trials"}


def test_an_unknown_condition_names_the_near_ones(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20})
    with pytest.raises(UsageError, match=r"unknown condition 'precison'; did you mean 'precision'"):
        kdbench.compare(tmp_path, allow_different=["precison"])


def test_a_split_that_is_drawn_by_the_seed_parts_nothing(tmp_path: Path) -> None:
    for method in ("student_only", "kd"):
        for seed in range(3):
            make_run(tmp_path, method, seed, split=f"drawn-{seed}")
    assert len(kdbench.compare(tmp_path).tables) == 1
    make_run(tmp_path, "rkd", 0, split="another")
    assert len(kdbench.compare(tmp_path).tables) > 1


def test_an_unfinished_run_beside_a_finished_one_claims_nothing(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20})
    make_run(tmp_path, "student_only", 0, status="failed", folder="student_only-s0-failed")
    assert kdbench.compare(tmp_path).methods["missing_seeds"].tolist() == [0]


def test_one_seed_says_that_nothing_is_known_of_others(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 9, "kd": 8}, seeds=1)
    found = kdbench.compare(tmp_path)
    assert found.methods["accuracy_sd"].isna().all()
    assert any("one seed was run" in note for note in text_tables(found)[0].notes)
    (tests,) = text_tables(found, {"tests"})
    assert [row[5] for row in tests.rows] == ["one seed cannot say"]


def test_a_single_method_is_a_table_without_pairs(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 8})
    found = kdbench.compare(tmp_path)
    assert len(found.methods) == 1
    assert found.pairs.empty


def test_broken_results_are_shown_in_their_cells(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8})
    make_study(tmp_path, {"edited": 8, "lost": 8, "torn": 8}, seeds=1)
    path = next(tmp_path.glob("edited-*")) / "run.json"
    result = json.loads(path.read_text())
    result["metrics"]["macro_f1"] = 0.99
    path.write_text(json.dumps(result))
    (next(tmp_path.glob("lost-*")) / "predictions.parquet").unlink()
    path = next(tmp_path.glob("torn-*")) / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:200])
    cells = kdbench.compare(tmp_path).seeds.set_index(["method", "seed"])["state"]
    assert "macro_f1 0.99" in cells["edited", 0]
    assert "predictions give" in cells["edited", 0]
    assert "predictions.parquet cannot be read" in cells["lost", 0]
    assert "predictions.parquet cannot be read" in cells["torn", 0]
    assert cells["kd", 0] == "finished"


def test_half_written_runs_and_other_versions_are_left_out_with_the_reason(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "run.json").write_text('{"schema_version": 1, "status"')
    make_run(tmp_path, "old", folder="old", change={"schema_version": 0})
    found = kdbench.compare(tmp_path)
    why = {one.folder.name: one.why for one in found.left_out}
    assert "valid JSON" in why["half"]
    assert "schema version 0" in why["old"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "zero"),
        ("teacher.accuracy", "0.9"),
        ("cost.train_seconds", [1]),
        ("environment", "cpu"),
        ("conditions.test_modalities", None),
        ("conditions.protocol", 3),
        ("recipe.teacher.fusion", {}),
        ("metrics.per_class_recall", None),
        ("metrics.accuracy", float("nan")),
    ],
)
def test_an_edited_result_is_left_out_with_the_key(tmp_path: Path, key: str, value: object) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=1)
    path = next(tmp_path.glob("kd-*")) / "run.json"
    result = json.loads(path.read_text())
    *above, last = key.split(".")
    place = result
    for name in above:
        place = place[name]
    place[last] = value
    path.write_text(json.dumps(result))
    found = kdbench.compare(tmp_path)
    assert found.methods["method"].tolist() == ["student_only"]
    (left,) = found.left_out
    assert left.why.startswith(f"run.json: {key}")


@pytest.mark.parametrize("labels", [-1, 0.5, "wave"])
def test_labels_that_are_none_set_a_run_aside(tmp_path: Path, labels: object) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=1)
    path = next(tmp_path.glob("kd-*")) / "predictions.parquet"
    pd.read_parquet(path).assign(label=labels).to_parquet(path)
    cells = kdbench.compare(tmp_path).seeds.set_index("method")["state"]
    assert cells["kd"] == "unusable: predictions.parquet has labels that are no class indices"


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_logit_that_is_missing_or_infinite_sets_a_run_aside(tmp_path: Path, logit: float) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=1)
    path = next(tmp_path.glob("kd-*")) / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "logit_1"] = logit
    table.to_parquet(path)
    cells = kdbench.compare(tmp_path).seeds.set_index("method")["state"]
    assert cells["kd"] == "unusable: predictions.parquet has logits that are not finite"


def test_other_trials_are_refused(tmp_path: Path) -> None:
    from made_runs import TRIALS

    make_study(tmp_path, {"student_only": 20}, seeds=1)
    make_run(tmp_path, "kd", 0, trials=TRIALS[:-1])
    with pytest.raises(UsageError, match=r"other trials: 1 are in one of them alone, such as a4_s8_t5"):
        kdbench.compare(tmp_path)


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run to compare"):
        kdbench.compare(tmp_path)
    with pytest.raises(DataError, match="no folder of runs"):
        kdbench.compare(tmp_path / "nowhere")
    make_run(tmp_path, "kd", status="interrupted", folder="begun")
    with pytest.raises(DataError, match=r"no finished run.*begun \(interrupted\)"):
        kdbench.compare(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"dataset": "utd_mhda"}, "did you mean 'utd_mhad'"),
        ({"protocol": "cross_scene"}, "unknown protocol"),
        ({"methods": ["hintn"]}, "did you mean 'hinton'"),
        ({"seeds": [7]}, "no run has seed 7"),
        ({"population": "subjects"}, "known: new-subjects, these-subjects"),
        ({"metric": "f1"}, "unknown metric"),
    ],
)
def test_names_that_do_not_exist_are_refused_with_the_near_ones(
    tmp_path: Path, wanted: dict[str, str], message: str
) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, seeds=1)
    with pytest.raises(UsageError, match=message):
        kdbench.compare(tmp_path, **wanted)


def test_new_subjects_widen_the_intervals_and_are_named(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8, "rkd": 12})
    new = kdbench.compare(tmp_path, population="new-subjects")
    assert "new subjects like these 4" in text_tables(new)[0].caption
    assert set(new.pairs["interval"]) == {"t"}
    assert set(kdbench.compare(tmp_path).pairs["interval"]) == {"t"}
    assert set(kdbench.compare(tmp_path, ci="bootstrap").pairs["interval"]) == {"bootstrap"}
    these = kdbench.compare(tmp_path).methods
    assert (new.methods["gain_high"] - new.methods["gain_low"] >= these["gain_high"] - these["gain_low"] - 1e-12)[
        :2
    ].all()


def test_macro_f1_is_compared_by_t_as_the_bootstrap_covers_it_too_often(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8, "rkd": 12})
    assert set(kdbench.compare(tmp_path, metric="macro_f1").pairs["interval"]) == {"t"}
    with pytest.raises(UsageError, match="compares accuracies, not macro_f1"):
        kdbench.compare(tmp_path, metric="macro_f1", ci="bootstrap")


def test_nothing_is_said_of_new_subjects_where_subjects_are_not_told_apart(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 8}, dataset="basic_motions")
    with pytest.raises(UsageError, match="does not tell its subjects apart"):
        kdbench.compare(tmp_path, population="new-subjects")
    assert len(kdbench.compare(tmp_path).methods) == 1


def test_one_way_is_asked_of_all_tables_and_the_one_that_cannot_have_it_is_named(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8, "rkd": 12})
    make_study(tmp_path, {"teacher_only": 8}, view=None)
    assert set(kdbench.compare(tmp_path, ci="bootstrap").pairs["interval"]) == {"bootstrap"}
    make_study(tmp_path, {"student_only": 20, "kd": 8}, protocol="subject_specific")
    with pytest.raises(
        UsageError, match="utd_mhad · subject_specific · small: the bootstrap compares 3 methods"
    ) as caught:
        kdbench.compare(tmp_path, ci="bootstrap")
    assert "--protocol" in str(caught.value.hint)


def test_new_subjects_under_a_protocol_that_trains_on_them_are_said_to_train(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 8}, protocol="subject_specific")
    line = "the subjects that test also train here: new subjects are ones that would train as well"
    assert line in text_tables(kdbench.compare(tmp_path, population="new-subjects"))[0].notes
    assert line not in text_tables(kdbench.compare(tmp_path))[0].notes
    make_study(tmp_path / "apart", {"student_only": 20, "kd": 8})
    assert line not in text_tables(kdbench.compare(tmp_path / "apart", population="new-subjects"))[0].notes


def test_a_student_alone_of_other_losses_is_no_student_alone(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 8})
    for seed in range(3):
        changed = network({"ce": {"weight": 1.0}, "rkd": {"weight": 1.0}})
        make_run(tmp_path, "student_only", seed, wrong=20, student=changed)
    assert kdbench.compare(tmp_path).methods["gain"].isna().all()


def test_shuffles_of_a_coupled_network_are_averaged(tmp_path: Path) -> None:
    make_run(tmp_path, "teacher_only", shuffles=5, wrong=8)
    assert kdbench.compare(tmp_path).methods["accuracy"].tolist() == [pytest.approx(0.9)]
    assert len(CLASSES) == 4


def test_selection_on_the_test_part_is_marked_at_its_row(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20}, selection="best-test")
    make_study(tmp_path, {"kd": 8})
    found = kdbench.compare(tmp_path, allow_different=["selection"])
    assert dict(zip(found.methods["method"], found.methods["selection"], strict=True)) == {
        "kd": "last",
        "student_only": "best-test (oracle)",
    }
    results = text_tables(found)[0]
    assert [row[0] for row in results.rows] == ["kd", "student_only (oracle)"]
    assert any(note.startswith("(oracle)") for note in results.notes)


def test_the_plan_of_a_pair_says_what_it_follows_from(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "kd": 19, "rkd": 18})
    (tests,) = text_tables(kdbench.compare(tmp_path), {"tests"})
    (note,) = [note for note in tests.notes if note.startswith("To tell apart")]
    assert "the seed variance of all 3 methods of this table" in note
    (pair,) = text_tables(kdbench.compare(tmp_path, methods=("student_only", "kd")), {"tests"})
    assert "To tell apart: a plan from this pair's own spread." in pair.notes


def test_each_of_several_teachers_is_told(tmp_path: Path) -> None:
    named = {name: {"accuracy": share, "macro_f1": share, "folder": name} for name, share in TEACHERS.items()}
    recipe = {"name": "kd", "teacher": None, "teachers": {name: network({}, "sensors") for name in named}}
    for seed in (0, 1):
        make_run(tmp_path, "student_only", seed)
        folder = make_run(tmp_path, "kd", seed)
        record = read_json(folder / "run.json")
        record |= {"teacher": None, "teachers": named, "recipe": record["recipe"] | recipe}
        write_json(folder / "run.json", record)
    found = kdbench.compare(tmp_path)
    (row,) = [row for _, row in found.methods.iterrows() if row["method"] != "student_only"]
    assert row["teacher_accuracies"] == "wrist=0.700000; skeleton=0.800000"
    assert row["teacher_accuracy"] is None or row["teacher_accuracy"] != row["teacher_accuracy"]
    assert row["teacher_parts"].startswith("wrist, skeleton [")
    assert "wrist 70.00, skeleton 80.00" in render(found, "md")


TEACHERS = {"wrist": 0.7, "skeleton": 0.8}


def test_of_many_teachers_the_mean_and_the_range_are_told() -> None:
    assert each_accuracy({"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8}) == "mean 65.00 of 4 (50.00 to 80.00)"
    assert each_accuracy({"a": 0.5}) == "a 50.00"
    assert each_accuracy({}) == ""


def test_the_student_alone_stands_with_teachers_of_few_labels_and_of_all(tmp_path: Path) -> None:
    few, same = (
        {"track": Track(labels=1, teacher_labels=labels).model_dump(), "split": "few"} for labels in ("all", "same")
    )
    make_study(tmp_path, {"student_only": 20, "kd": 8}, **few)
    make_study(tmp_path, {"rkd": 8}, **same)
    tables = kdbench.compare(tmp_path).tables
    assert sorted(table.group.rows for table in tables) == [("kd", "student_only"), ("rkd", "student_only")]
    assert all(table.rows[0].gain is not None for table in tables)
    titles = {table.group.rows[0]: table.group.title for table in tables}
    assert "teacher uses all labels" in titles["kd"]
    assert "teacher uses the same labels" in titles["rkd"]
    # Trained once more for the other, it is the same run.
    make_run(tmp_path, "student_only", 0, wrong=20, folder="again", **same)
    again = kdbench.compare(tmp_path).tables
    assert sorted(table.group.rows for table in again) == [("kd", "student_only"), ("rkd", "student_only")]
    taught = dict(stored_run(next(tmp_path.glob("rkd-s0-*"))).result)
    assert gain_now(tmp_path, taught).accuracy == pytest.approx(12 / 80)
