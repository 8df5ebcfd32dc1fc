"""Samplers, which propose trials, and pruners, which stop them early, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, BruteForceSampler, RandomSampler, TPESampler

from kdbench.errors import UsageError, unknown
from kdbench.recipes.search_space import Range
from kdbench.tuning.space import points
from kdbench.util.seeds import seed_for

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def _grid(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return BruteForceSampler(seed=seed % 2**32)


NO_PRUNER = "none"
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    # Of several workers each takes the trials that run for bad ones, so that they do not all try the same.
    "tpe": lambda seed: TPESampler(seed=seed % 2**32, constant_liar=True),
    "random": lambda seed: RandomSampler(seed=seed % 2**32),
    "grid": _grid,
}
"""Samplers, each made from a seed."""
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    NO_PRUNER: lambda _steps: NopPruner(),
    "median": lambda steps: MedianPruner(n_startup_trials=5, n_warmup_steps=steps // 5),
    "hyperband": lambda steps: HyperbandPruner(min_resource=1, max_resource=max(2, steps), reduction_factor=3),
}
"""Pruners, each made from the number of epochs of a whole trial."""


def check_choosers(sampler: str, pruner: str) -> None:
    """Checks the names.

    Raises:
        UsageError: An unknown name.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS, hint="Leave --sampler out for the usual one.")
    if pruner not in PRUNERS:
        raise unknown("pruner", pruner, PRUNERS, hint="Leave --pruner out for the usual one.")


def check_grid(sampler: str, space: Mapping[str, Range]) -> None:
    """Checks that a grid has points.

    Raises:
        UsageError: It is over a range without steps.
    """
    if sampler == "grid" and points(space) is None:
        endless = next(key for key, values in space.items() if values.count is None)
        raise UsageError(
            f"a grid needs values to go through, and {endless} is a range without steps",
            hint=f"Name its values, --space {endless}=A,B,C, or take --sampler random.",
        )


class SlotSampler(BaseSampler):
    """Draws each trial from a seed of its own, so that a search that was stopped proposes what it would have proposed.

    Args:
        name: A key of `SAMPLERS`.
        study_name: The study, which the seeds depend on.
        slot: Gives a trial's place among those that count.
    """

    def __init__(self, name: str, study_name: str, slot: Callable[[FrozenTrial], int]) -> None:
        self._make = SAMPLERS[name]
        self._study_name = study_name
        self._slot = slot
        self._inner = self._make(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Takes the trial's seed."""
        self._inner = self._make(seed_for("search", self._study_name, self._slot(trial)))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """As the named sampler."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """As the named sampler."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """As the named sampler."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: Any, values: Any) -> None:
        """As the named sampler."""
        self._inner.after_trial(study, trial, state, values)
