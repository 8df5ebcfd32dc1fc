"""What tables are ranked and tested by."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_run, make_study

from kdbench.comparison import compare
from kdbench.comparison.subjects import known_card
from kdbench.errors import UsageError
from kdbench.runs.condensed import scores_of
from kdbench.util.records import read_json, write_json


def test_the_card_names_the_metric_and_the_command_may_ask_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(tmp_path, {"student_only": 8, "kd": 12})
    assert compare(tmp_path).metric == "accuracy"
    monkeypatch.setattr(
        "kdbench.comparison.comparing.known_card",
        lambda name: known_card(name).model_copy(update={"metric": "macro_f1"}),  # type: ignore[union-attr]
    )
    (table,) = compare(tmp_path).tables
    assert table.metric == "macro_f1"
    assert table.comparison.metric == "macro_f1"  # type: ignore[union-attr]
    assert compare(tmp_path, metric="weighted_f1").tables[0].metric == "weighted_f1"


def test_by_map_tables_are_ranked_and_tested_and_old_runs_have_it_from_their_predictions(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 8, "kd": 12})
    for path in tmp_path.glob("*/run.json"):
        record = read_json(path)
        del record["metrics"]["map"]
        write_json(path, record)
    found = compare(tmp_path, metric="map")
    (table,) = found.tables
    assert (table.metric, table.metric_name) == ("map", "mAP")
    assert table.comparison is not None
    assert table.comparison.pairs[0].mcnemar is None
    for row in table.ranked:
        means = [scores_of([one], "map").mean() for one in table.results[row.method].values()]
        assert row.measures["map"].mean == pytest.approx(sum(means) / len(means))
    with pytest.raises(UsageError, match="the bootstrap compares accuracies, not map"):
        compare(tmp_path, metric="map", ci="bootstrap")


def test_a_claimed_map_that_the_predictions_do_not_give_is_set_aside(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 8, "kd": 12})
    folder = make_run(tmp_path, "rkd", 0)
    record = read_json(folder / "run.json")
    record["metrics"]["map"] = 0.123
    write_json(folder / "run.json", record)
    (row,) = [row for row in compare(tmp_path).tables[0].rows if row.method.startswith("rkd")]
    assert "run.json says map 0.123000" in " ".join(row.missing.values())
