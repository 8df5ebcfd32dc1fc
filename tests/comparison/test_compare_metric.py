"""What tables are ranked and tested by."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_study

from kdbench.comparison import compare
from kdbench.comparison.subjects import known_card


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
