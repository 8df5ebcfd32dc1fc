"""`compare --pool`: the folds of a data set in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import CLASSES, TRIALS, make_run

import kdbench
from kdbench.cli import main
from kdbench.comparison.text_tables import text_tables
from kdbench.errors import DataError, UsageError
from kdbench.recipes.changes import merge, nested
from kdbench.recipes.pairs import pair_of
from kdbench.runs.overview import shipped_recipe
from kdbench.statistics import Scope
from kdbench.util.records import write_parquet

FOLDS = ("cross_subject", "cross_subject_swapped")
SWAPPED = [name.replace("_s", "_s1") for name in TRIALS]
"""The same trials by the subjects 12, 14, 16 and 18, and no more than half of them."""
OTHERS = SWAPPED[::2]


def fold(root: Path, method: str, seed: int, number: int, wrong: int, **changed: Any) -> Path:
    trials = (None, OTHERS)[number]
    place = {"protocol": FOLDS[number], "split": f"split-{number}"}
    return make_run(
        root, method, seed, wrong=wrong, trials=trials, folder=f"{method}-{number}-s{seed}", **place, **changed
    )


def both(root: Path, method: str, wrong: tuple[int, int], seeds: int = 3) -> None:
    for seed in range(seeds):
        for number in range(2):
            fold(root, method, seed, number, wrong[number] + seed)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    both(tmp_path, "student_only", (20, 12))
    both(tmp_path, "kd", (8, 4))
    return tmp_path


def test_a_pooled_table_counts_every_trial_of_both_folds_once(study: Path) -> None:
    found = kdbench.compare(study, pool=FOLDS)
    (table,) = found.tables
    assert table.group.title == "utd_mhad · pooled over cross_subject + cross_subject_swapped · small"
    assert table.comparison is not None
    assert (table.comparison.trials, len(table.comparison.subjects)) == (120, 8)
    methods = found.methods.set_index("method")
    # 8, 9 and 10 of 80 are wrong in one fold, and 4, 5 and 6 of 40 in the other.
    assert methods.loc["kd", "accuracy"] == pytest.approx(1 - 14 / 120)
    assert methods.loc["kd", "accuracy_sd"] == pytest.approx(np.std([12 / 120, 14 / 120, 16 / 120], ddof=1))
    assert methods.loc["kd", "gain"] == pytest.approx(20 / 120)
    assert methods.loc["kd", "train_seconds"] == 480
    assert methods.loc["kd", "teacher_accuracy"] == 0.75
    notes = next(sheet.notes for sheet in text_tables(found) if sheet.kind == "results")
    assert any(note.startswith("pooled: 120 trials of 8 subjects") for note in notes)


def test_macro_f1_is_that_of_all_trials_and_no_mean_of_folds(study: Path) -> None:
    from sklearn.metrics import f1_score

    (table,) = kdbench.compare(study, pool=FOLDS).tables
    for row in table.rows:
        for seed, values in row.seeds.items():
            one = table.results[row.method][seed]
            expected = f1_score(one.labels, one.predicted[0], average="macro")
            assert values["macro_f1"] == pytest.approx(expected)


def test_pairs_are_paired_by_trial_and_seed_over_both_folds(study: Path) -> None:
    apart = [kdbench.compare(study, protocol=name).tables[0].pairs[0] for name in FOLDS]
    (pair,) = kdbench.compare(study, pool=FOLDS).tables[0].pairs
    assert pair.difference == pytest.approx((80 * apart[0].difference + 40 * apart[1].difference) / 120)
    assert pair.interval.high - pair.interval.low < min(one.interval.high - one.interval.low for one in apart)
    about = kdbench.compare(study, pool=FOLDS, population=Scope.NEW_SUBJECTS).tables[0]
    assert about.comparison is not None
    assert "these 8" in about.comparison.about


def test_a_seed_that_lacks_a_fold_is_missing_and_named(study: Path) -> None:
    both(study, "rkd", (10, 5), seeds=2)
    fold(study, "rkd", 2, 0, 12)
    (table,) = kdbench.compare(study, pool=FOLDS).tables
    row = next(row for row in table.rows if row.method == "rkd")
    assert row.missing == {2: "not run under cross_subject_swapped"}
    assert not row.measures
    fold(study, "rkd", 2, 1, 6, status="interrupted")
    (table,) = kdbench.compare(study, pool=FOLDS).tables
    row = next(row for row in table.rows if row.method == "rkd")
    assert row.missing == {2: "interrupted under cross_subject_swapped"}


def test_a_damaged_fold_costs_its_cell_alone(study: Path) -> None:
    table = kdbench.compare(study, protocol=FOLDS[1]).tables[0]
    run = table.group.runs["kd"][1]
    held = run.predictions()
    write_parquet(run.folder / "predictions.parquet", held.assign(label=(held["label"] + 1) % len(CLASSES)))
    (pooled,) = kdbench.compare(study, pool=FOLDS).tables
    row = next(row for row in pooled.rows if row.method == "kd")
    assert list(row.missing) == [1]
    assert len(pooled.ranked) == 1


def test_folds_under_unlike_conditions_do_not_meet(tmp_path: Path) -> None:
    both(tmp_path, "student_only", (20, 12))
    for seed in range(3):
        fold(tmp_path, "kd", seed, 0, 8)
        fold(tmp_path, "kd", seed, 1, 4, train__epochs=5)
    (table,) = kdbench.compare(tmp_path, pool=FOLDS).tables
    rows = {row.method: row for row in table.rows}
    assert rows["kd"].missing == dict.fromkeys(range(3), "not run under cross_subject_swapped")


def tuned_fold(root: Path, number: int, *, budget: int = 20, weight: float = 3.0, study: str = "a") -> None:
    """Seeds of a fold whose settings a search of its own chose."""
    key = "student.losses.kd.weight"
    tuning = {
        "budget": {"trials": budget},
        "study": study,
        "space": {key: {"around": 1.0}},
        "best": {key: weight},
        "under": {"dataset": "utd_mhad", "protocol": FOLDS[number], "preset": "small"},
    }
    shipped = shipped_recipe(pair_of({"method": "kd"}), "small")
    assert shipped is not None
    recipe = merge(shipped, nested({key: weight})) | {"tuning": tuning}
    for seed in range(3):
        place = {"protocol": FOLDS[number], "split": f"split-{number}", "tuning": {"trials": budget}}
        make_run(
            root,
            "kd",
            seed,
            wrong=(8, 4)[number],
            trials=(None, OTHERS)[number],
            folder=f"tuned-{study}-{number}-s{seed}",
            change={"recipe": recipe, "tuning": tuning},
            **place,
        )


def test_folds_that_were_tuned_apart_under_one_budget_are_pooled(tmp_path: Path) -> None:
    tuned_fold(tmp_path, 0, weight=3.0)
    tuned_fold(tmp_path, 1, weight=0.5, study="b")
    (table,) = kdbench.compare(tmp_path, pool=FOLDS).tables
    (row,) = table.rows
    assert not row.missing
    assert row.measures["accuracy"].mean == pytest.approx(1 - 12 / 120)


def test_folds_that_were_tuned_under_unlike_budgets_do_not_meet(tmp_path: Path) -> None:
    tuned_fold(tmp_path, 0)
    tuned_fold(tmp_path, 1, budget=30, study="b")
    with pytest.raises(DataError, match=r"tuned-a-0-s0 [(]not run under cross_subject_swapped[)]"):
        kdbench.compare(tmp_path, pool=FOLDS)


def test_two_searches_of_a_fold_are_not_guessed_between(tmp_path: Path) -> None:
    for study in ("a", "b"):
        tuned_fold(tmp_path, 0, weight={"a": 3.0, "b": 2.0}[study], study=study)
    tuned_fold(tmp_path, 1, study="c")
    with pytest.raises(UsageError, match="two searches tuned 'kd' under 'cross_subject': 'a' and 'b'"):
        kdbench.compare(tmp_path, pool=FOLDS)


@pytest.mark.slow
def test_pictures_and_files_of_a_pooled_table(study: Path, tmp_path: Path) -> None:
    written = {path.name for path in kdbench.compare(study, pool=FOLDS).save(tmp_path / "saved")}
    assert any(name.endswith("learning_curves.png") for name in written)
    assert "pooled over" in (tmp_path / "saved" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (("cross_subject",), "one protocol is a table of its own"),
        (("cross_subject", "cross_subject"), "'cross_subject' twice: its trials would count twice"),
        (("cross_subject", "cross_subject_swaped"), "did you mean 'cross_subject_swapped'"),
    ],
)
def test_protocols_that_cannot_be_pooled(study: Path, pool: tuple[str, ...], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        kdbench.compare(study, pool=pool)


def test_protocols_that_test_common_trials_are_no_folds(study: Path) -> None:
    for seed in range(3):
        make_run(study, "kd", seed, trials=TRIALS[:40], protocol="half", split="x", folder=f"half-{seed}")
    with pytest.raises(UsageError, match="test 40 trials in common, such as a1_s2_t1"):
        kdbench.compare(study, pool=("cross_subject", "half"))


def test_one_protocol_and_several_exclude_each_other(study: Path) -> None:
    with pytest.raises(UsageError, match="--protocol and --pool exclude each other"):
        kdbench.compare(study, pool=FOLDS, protocol="cross_subject")


def test_a_fold_without_its_option_is_told_what_it_is(study: Path) -> None:
    with pytest.raises(UsageError, match="'cross_subject_swapped' is a protocol of these runs") as refused:
        kdbench.compare(study, runs=["cross_subject_swapped"], pool=["cross_subject"])
    assert "--pool A --pool B" in str(refused.value)


def test_the_command_pools(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["compare", "kd", "student_only", "--out", str(study), "--pool", FOLDS[0], "--pool", FOLDS[1]])
    assert not end.value.code
    assert "pooled over cross_subject + cross_subject_swapped" in " ".join(capsys.readouterr().out.split())
