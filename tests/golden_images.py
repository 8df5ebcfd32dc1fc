"""Lines of the golden table for Markov transition fields and recurrence plots."""

from __future__ import annotations

from collections.abc import Callable

from golden_kit import Differs, Match, Params

from kdbench.representations.mtf import markov_transition_field
from kdbench.representations.recurrence import recurrence_plot


def _mtf(params: Params) -> Match:
    options = {"bins" if key == "n_bins" else key: value for key, value in params.items()}
    return Match(lambda inputs: markov_transition_field(inputs["x"], **options))


def _recurrence(params: Params) -> Match:
    return Match(lambda inputs: recurrence_plot(inputs["x"], **params))


TABLE: tuple[tuple[str, str, Callable[[Params], Match | Differs]], ...] = (
    ("mtf", r"[qun]\d+.*", _mtf),
    ("rp", r"(none|point|dist|thr).*", _recurrence),
)
