"""The metric that results of a data set are judged by."""

from __future__ import annotations

from typing import get_args

from kdbench.data.card import Card, Metric
from kdbench.errors import unknown

METRICS: tuple[str, ...] = get_args(Metric)


def check_metric(asked: str | None) -> None:
    """Refuses a metric that does not exist.

    Args:
        asked: Its name; None for the data set's own.

    Raises:
        UsageError: There is no such metric.
    """
    if asked is not None and asked not in METRICS:
        raise unknown("metric", asked, METRICS, hint="Leave --metric out for the data set's own.")


def metric_of(card: Card | None, asked: str | None = None) -> str:
    """The metric that was asked for, else the data set's own; accuracy where its card is not there any more.

    Args:
        card: The data set's card.
        asked: Name of a metric, or None.

    Raises:
        UsageError: There is no such metric.
    """
    check_metric(asked)
    return asked or (card.metric if card is not None else METRICS[0])
