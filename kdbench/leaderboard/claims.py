"""What a submission claims beyond its predictions: it cannot be proven, but it can contradict the recipe or itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.schema import SeedResult
from kdbench.recipes.schema import Recipe

_FIXED = ("parameters", "flops")
"""Costs that the network alone decides, so that every seed has the same."""


def check_claims(entry: BoardEntry) -> Iterator[str]:
    """Claims that cannot be true, as problems."""
    recipe = entry.recipe
    networks = {"teacher": recipe.teacher, "student": recipe.student}
    epochs = {phase: spec.train.epochs for phase, spec in networks.items() if spec is not None}
    for trained in entry.result.seeds:
        for problem in (
            *_teacher(trained, recipe),
            *_curves(trained, epochs),
            *_best(entry, trained),
        ):
            yield f"seed {trained.seed}: {problem}"
    for name in _FIXED:
        costs = (trained.claims.cost.get(name) for trained in entry.result.seeds)
        claimed = sorted({cost for cost in costs if cost is not None})
        if len(claimed) > 1:
            yield f"its seeds claim {claimed[0]:g} and {claimed[1]:g} {name}, and they have one network"


def _teacher(trained: SeedResult, recipe: Recipe) -> Iterator[str]:
    claims, taught = trained.claims, recipe.teacher is not None
    if taught and claims.teacher is None:
        yield "it says nothing of its teacher, and the recipe has one"
    if not taught and claims.teacher is not None:
        yield f"it claims a teacher ({claims.teacher.identity}), and the recipe has none"
    if unlike := sorted(set(claims.teachers) ^ set(recipe.teachers)):
        name = unlike[0]
        has = "and says nothing of it" if name in recipe.teachers else "which it speaks of"
        yield f"the recipe has {'the' if name in recipe.teachers else 'no'} teacher '{name}', {has}"
    if not recipe.all_teachers and claims.cost.get("teacher_seconds"):
        yield "it claims the time of a teacher, and the recipe has none"


def _curves(trained: SeedResult, epochs: dict[str, int]) -> Iterator[str]:
    for phase in ("teacher", "student"):
        own = [epoch.epoch for epoch in trained.claims.curves if epoch.phase == phase]
        if own and phase not in epochs:
            yield f"it claims the learning curve of a {phase}, and the recipe has none"
        elif own and own[-1] > epochs[phase]:
            yield f"its {phase} is said to have learnt for {own[-1]} epochs, and the recipe says {epochs[phase]}"
        elif any(later <= earlier for earlier, later in pairwise(own)):
            yield f"the epochs of its {phase}'s learning curve are out of order"


def _best(entry: BoardEntry, trained: SeedResult) -> Iterator[str]:
    best, recipe = trained.claims.best_epoch, entry.recipe
    if best is None:
        return
    if recipe.selection.rule == "last":
        yield f"it reports epoch {best}, and its rule is to report the last one"
    elif not 0 <= best <= recipe.reported.train.epochs:
        yield f"it reports epoch {best} of {recipe.reported.train.epochs}"
