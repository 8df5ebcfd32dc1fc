"""Statistics of paired results: estimates, intervals, tests, and what it would take to tell two methods apart.

Arrays and names in, frozen dataclasses out; nothing here knows of runs, folders or the command line. The usual way in
is `from_predictions` or `paired_scores`, then `compare_scores`; `compare_ranks` answers for many methods over many data
sets or folds, `rank_agreement` whether two tables order methods alike.
Every number is a share in [0, 1] (a difference in [-1, 1]); points are for whoever prints them.

What is offered, and to whom its statement applies, was decided by measured coverage: see
`benchmarks/interval_coverage.py`.
"""

from kdbench.statistics.agreement import MIN_METHODS, RankAgreement, rank_agreement
from kdbench.statistics.comparison import MethodSummary, PairSummary, ScoreComparison, Verdict, compare_scores
from kdbench.statistics.holm import holm
from kdbench.statistics.intervals import Interval
from kdbench.statistics.mcnemar import McNemar, SeedTable, mcnemar
from kdbench.statistics.power import Needed
from kdbench.statistics.ranks import MIN_BLOCKS, RankComparison, compare_ranks
from kdbench.statistics.scope import Scope, offered, statement
from kdbench.statistics.scores import (
    METRICS,
    Scores,
    average_precision_scores,
    contributions,
    from_predictions,
    paired_scores,
)

__all__ = [
    "METRICS",
    "MIN_BLOCKS",
    "MIN_METHODS",
    "Interval",
    "McNemar",
    "MethodSummary",
    "Needed",
    "PairSummary",
    "RankAgreement",
    "RankComparison",
    "Scope",
    "ScoreComparison",
    "Scores",
    "SeedTable",
    "Verdict",
    "average_precision_scores",
    "compare_ranks",
    "compare_scores",
    "contributions",
    "from_predictions",
    "holm",
    "mcnemar",
    "offered",
    "paired_scores",
    "rank_agreement",
    "statement",
]
