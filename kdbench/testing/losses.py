"""Every check of a loss: of its values, then of its effects."""

from __future__ import annotations

from kdbench.testing import loss_effects as effects
from kdbench.testing import loss_values as values
from kdbench.testing.base import Suite
from kdbench.testing.loss_case import LossCase

SUITE = Suite(
    LossCase,
    gates=(values.returns_a_scalar, values.is_finite),
    checks=(
        values.survives_degenerate_features,
        values.gradient_reaches_the_student,
        values.gradient_is_the_slope,
        values.gradient_stays_off_the_teacher,
        values.takes_a_batch_of_one,
        values.takes_one_class,
        values.labels_are_as_declared,
        values.takes_unlike_grids,
        values.holds_in_bf16,
        values.is_the_same_on_a_gpu,
        values.follows_its_declared_order,
        values.uses_the_teacher,
        values.three_steps_lower_it,
        values.equals_the_reference,
        effects.is_deterministic,
        effects.leaves_random_states_alone,
        effects.state_round_trips,
        effects.weight_zero_changes_nothing,
        effects.inputs_stay_as_they_are,
        effects.never_waits_for_the_device,
        effects.shapes_do_not_depend_on_values,
        effects.diagnostics_are_scalars,
    ),
)
