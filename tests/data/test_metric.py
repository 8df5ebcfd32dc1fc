"""The metric that results of a data set are judged by."""

from __future__ import annotations

import pytest

from kdbench.data.card import load_card
from kdbench.data.metric import METRICS, metric_of
from kdbench.errors import UsageError
from kdbench.statistics import METRICS as COMPARED


def test_a_card_names_the_metric_and_a_command_may_ask_for_another() -> None:
    assert metric_of(load_card("mmact")) == "macro_f1"
    assert metric_of(load_card("utd_mhad")) == "accuracy"
    assert metric_of(load_card("mmact"), "weighted_f1") == "weighted_f1"
    assert metric_of(None) == "accuracy"
    with pytest.raises(UsageError, match="did you mean 'macro_f1'"):
        metric_of(None, "macro-f1")


def test_every_metric_is_one_that_comparisons_know() -> None:
    assert METRICS == COMPARED
