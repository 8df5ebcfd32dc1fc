"""Comparison of finished runs: groups of equal conditions, a table each, pairs, outputs and pictures."""

from kdbench.comparison.comparing import compare
from kdbench.comparison.comparison import Comparison
from kdbench.comparison.reference import Reference, references
from kdbench.comparison.table import Gain, GroupTable, Measure, Row

__all__ = ["Comparison", "Gain", "GroupTable", "Measure", "Reference", "Row", "compare", "references"]
