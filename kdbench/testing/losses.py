"""Every check of a loss: of its values, then of its effects."""

from __future__ import annotations

from kdbench.testing import loss_effects as effects
from kdbench.testing import loss_values as values
from kdbench.testing.base import CheckSuite, checks_in
from kdbench.testing.loss_case import LossCase

SUITE = CheckSuite(
    LossCase,
    gates=(values.returns_a_scalar, values.is_finite),
    checks=(*checks_in(values.__name__), *checks_in(effects.__name__)),
)
