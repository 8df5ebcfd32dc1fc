"""A search before its first trial: names resolved, data opened, and everything checked that can be without training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdbench.data.metric import check_metric, metric_of
from kdbench.errors import UsageError
from kdbench.launch.launcher import check as check_launcher
from kdbench.recipes.pairs import options_of, stem_of
from kdbench.recipes.schema import Recipe
from kdbench.recipes.terms import PartSpec
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.context import settled as chosen
from kdbench.runs.idle import refuse_idle
from kdbench.text.wording import counted, inflected
from kdbench.tuning.choosers import check_choosers, check_grid
from kdbench.tuning.database import check_address, storage_url
from kdbench.tuning.plan import SearchPlan
from kdbench.tuning.request import SearchRequest
from kdbench.tuning.space import Space, is_integer, own_values, parse, points, space_of, value_at
from kdbench.util.progress import Reporter

_NO_PART = "Leave --set selection.part=… out."


@dataclass(frozen=True)
class Settled:
    """A search that can begin.

    Attributes:
        plan: What every worker needs to know.
        context: A run of the recipe as it is, on the validation part.
        recipe: The method as resolved.
        url: Address of the database.
        jobs: Worker processes.
        launcher: How they are started; None for this process, or processes of this machine.
    """

    plan: SearchPlan
    context: RunContext
    recipe: Recipe
    url: str
    jobs: int
    launcher: PartSpec | None = None

    def ends(self, key: str) -> tuple[Any, Any]:
        """Both ends of a range."""
        values = self.plan.space[key]
        if values.choices is not None:
            return values.choices[0], values.choices[-1]
        low, high = values.low, values.high
        assert low is not None
        assert high is not None
        return (int(low), int(high)) if key in self.plan.integers else (low, high)


def settled(request: SearchRequest, reporter: Reporter | None = None, *, look_ahead: bool = False) -> Settled:
    """Settles a search; trains nothing, and makes no study.

    Args:
        request: What is asked for.
        reporter: Is told what was chosen.
        look_ahead: Prepare no data, for a search that is shown and not made.

    Raises:
        UsageError: A name, key or range that does not exist or does not fit.
        DataError: Data that are missing or broken.
    """
    reporter = reporter or Reporter()
    _check_numbers(request)
    check_metric(request.metric)
    check_choosers(request.sampler, request.pruner)
    parse(request.space)
    if request.launcher is not None:
        check_launcher(request.launcher)
    if "part" in (request.run.changes.get("selection") or {}):
        raise UsageError("a search reports the validation part by itself, and its winner the test part", hint=_NO_PART)
    run = dataclasses.replace(chosen(request.run, reporter), out=request.run.root)
    refuse_idle(run)
    on_validation = run.changed(_VALIDATING, seed=0)
    context = context_for(on_validation, reporter, look_ahead=look_ahead)
    run_spec, recipe = context.run_spec, on_validation.recipe
    _refuse_tuned(recipe)
    metric = metric_of(run_spec.dataset.card, request.metric)
    request = dataclasses.replace(request, metric=metric)
    space = space_of(recipe, request.space)
    check_grid(request.sampler, space)
    own = own_values(recipe, space)
    if beyond := [f"{key} = {value_at(recipe, key)}" for key in space if key not in own]:
        reporter.warn(f"the recipe's own values are not in this space, and so are not tried: {', '.join(beyond)}")
    identity = _identity(request, run_spec.folder, space)
    role = "student" if recipe.student is not None else "teacher"
    plan = SearchPlan(
        run=dataclasses.replace(run, protocol=run_spec.protocol),
        # The name of a run's folder, without its hash and its seed.
        study=request.study or f"{run_spec.folder.rpartition('-')[0].removesuffix('-s0')}-{_hash(identity)}",
        stem=stem_of(run_spec.recipe.method, run_spec.recipe.taught_by),
        space=space,
        own=own if len(own) == len(space) else None,
        integers=tuple(key for key, values in space.items() if is_integer(recipe, key, values)),
        trials=_trials(request, space, reporter),
        trial_seeds=tuple(range(request.trial_seeds)),
        sampler=request.sampler,
        pruner=request.pruner,
        metric=metric,
        role=role,
        steps=getattr(recipe, role).train.epochs * request.trial_seeds,
        heartbeat_seconds=request.heartbeat_seconds,
        identity=identity,
        under=run_spec.tuned_here(),
    )
    url = storage_url(plan.root, request.storage)
    check_address(url)
    search = Settled(plan, context, recipe, url, request.jobs, request.launcher)
    _check_ends(search)
    return search


def _refuse_tuned(recipe: Recipe) -> None:
    """A search that began with what another chose would hide that one's budget, and whose trials chose.

    Raises:
        UsageError: A search chose the recipe's settings.
    """
    if recipe.tuning is None:
        return
    trials = recipe.tuning.budget.get("trials", "?")
    raise UsageError(
        f"'{recipe.title}' is tuned already, by {trials} trials of the study '{recipe.tuning.study}': a search on top "
        "of it would count its own trials alone",
        hint="Search the method itself, with as many trials as it shall have: kdbench search "
        + options_of(recipe.method, recipe.taught_by),
    )


_VALIDATING = {"selection": {"part": "validation"}}


def _trials(request: SearchRequest, space: Space, reporter: Reporter) -> int:
    """The number of trials; a grid has no more than its points."""
    count = points(space) if request.sampler == "grid" else None
    if count is None or count >= request.trials:
        return request.trials
    reporter.message(
        f"the grid has {counted(count, 'point')}, so there {inflected(count, 'is')} {counted(count, 'trial')}"
    )
    return count


def _check_ends(search: Settled) -> None:
    """Resolves the recipe at both ends of every range, so that a value that cannot be is told before any trial."""
    for end in (0, 1):
        values = {key: search.ends(key)[end] for key in search.plan.space}
        # To read the recipe is to resolve it.
        _ = search.plan.request(values, 0, validation=True).recipe


def _identity(request: SearchRequest, run: str, space: Space) -> dict[str, Any]:
    return {
        "run": run,
        "space": {key: values.plain() for key, values in space.items()},
        "sampler": request.sampler,
        "pruner": request.pruner,
        "metric": request.metric,
        "trial_seeds": request.trial_seeds,
    }


def _hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def _check_numbers(request: SearchRequest) -> None:
    for name in ("trials", "trial_seeds", "jobs", "heartbeat_seconds"):
        if (number := getattr(request, name)) < 1:
            option = name.replace("_", "-")
            raise UsageError(f"{option} is {number}, expected at least 1", hint=f"Leave it out, or --{option} 1")
