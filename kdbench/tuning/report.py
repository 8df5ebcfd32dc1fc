"""What a search leaves behind: `search.json`, the winner's recipe, and its runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kdbench.errors import RunFailed
from kdbench.recipes import shipped
from kdbench.recipes.changes import merge, nested
from kdbench.recipes.layers import TEACHER
from kdbench.recipes.schema import Tuning
from kdbench.runs import libraries
from kdbench.runs.run import RunResult
from kdbench.text.wording import counted
from kdbench.tuning.database import shown
from kdbench.tuning.plan import SearchPlan
from kdbench.tuning.progress import STATES
from kdbench.tuning.studies import OWN, VALUES, WHY, slots
from kdbench.util import plain_yaml
from kdbench.util.records import write_bytes

SCHEMA_VERSION = 1


def winner(study: optuna.Study) -> FrozenTrial:
    """The finished trial with the highest value; of equals the recipe's own, else the one with the smallest settings.

    Raises:
        RunFailed: No trial was finished.
    """
    complete = [trial for trial in slots(study) if trial.state == TrialState.COMPLETE]
    if not complete:
        raise RunFailed(
            "no trial was finished, so there is no winner",
            hint="See why they failed with kdbench run on one of them, and search a smaller space as --study NAME.",
        )
    return min(complete, key=lambda trial: rank(trial.value or 0.0, trial.params, own=OWN in trial.user_attrs))


def rank(value: float, settings: Mapping[str, Any], *, own: bool = False) -> tuple[Any, ...]:
    """Sorts trials, the best first: by value, then the recipe's own, then by settings, whatever their order."""
    return -value, not own, [_sortable(settings[key]) for key in sorted(settings)]


def _sortable(value: Any) -> tuple[str, Any]:
    # Numbers go by their size, all else by kind and text, since choices may mix them.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "", value
    return type(value).__name__, str(value)


def tuning(plan: SearchPlan, study: optuna.Study) -> Tuning:
    """The record of the search that its winner's runs carry."""
    budget = {
        "trials": sum(trial.state.is_finished() for trial in slots(study)),
        "trial_seeds": len(plan.trial_seeds),
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "metric": plan.metric,
    }
    space = {key: values.plain() for key, values in plan.space.items()}
    return Tuning(budget=budget, study=plan.study, space=space, best=dict(winner(study).params), under=plan.under)


def report(
    plan: SearchPlan, study: optuna.Study, url: str, final: Sequence[RunResult], teachers: Sequence[str]
) -> dict[str, Any]:
    """Everything about a search as plain data: what was tried, what came out, and both spreads apart."""
    in_order, best, record = slots(study), winner(study), tuning(plan, study)
    trials = [_trial(place, trial) for place, trial in enumerate(in_order)]
    scores = [trial.value for trial in in_order if trial.state == TrialState.COMPLETE and trial.value is not None]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": plan.study,
        "storage": shown(url),
        "method": plan.run.method,
        **plan.under,
        "part": "validation",
        "versions": {**libraries.installed(), "optuna": optuna.__version__},
        "trial_seeds": list(plan.trial_seeds),
        "metric": plan.metric,
        "budget": dict(record.budget),
        "space": dict(record.space),
        "seconds": sum(trial["seconds"] or 0.0 for trial in trials),
        "states": {state: sum(trial["state"] == state for trial in trials) for state in sorted(set(STATES.values()))},
        "teachers": list(teachers),
        "recipe": recipe_path(plan).name,
        "default": next(
            (_trial(place, trial) for place, trial in enumerate(in_order) if OWN in trial.user_attrs), None
        ),
        "best": {"trial": in_order.index(best) + 1, "value": best.value, "settings": dict(best.params)},
        "spread": {
            "over_trials": spread(scores),
            "over_tuning_seeds": spread(best.user_attrs.get(VALUES, [])),
            "over_seeds": {
                key: spread([run.metrics[key] for run in final])
                for key in dict.fromkeys(("accuracy", "macro_f1", plan.metric))
                if final
            },
        },
        "final": [{"seed": run.result["seed"], "folder": run.folder.name} for run in final],
        "trials": trials,
    }


def _trial(place: int, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": place + 1,
        "number": trial.number,
        "own": OWN in trial.user_attrs,
        "state": STATES[trial.state],
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "values": trial.user_attrs.get(VALUES),
        "last": list(trial.intermediate_values.values())[-1] if trial.intermediate_values else None,
        "settings": dict(trial.params),
        "seconds": trial.user_attrs.get("seconds") or (trial.duration.total_seconds() if trial.duration else None),
        "folder": trial.user_attrs.get("folder"),
        "message": trial.user_attrs.get(WHY),
    }


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Count, mean, sample standard deviation (of two and more), extremes and median; None of nothing."""
    if not values:
        return None
    return {
        "n": len(values),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "each": list(values),
    }


def recipe_path(plan: SearchPlan) -> Path:
    """Where the winner's recipe lies."""
    return plan.folder / f"{plan.stem}.yaml"


def write_recipe(plan: SearchPlan, study: optuna.Study) -> Path:
    """Writes the winner's recipe: it has the method's name, extends it by what the search chose, and says so."""
    path = recipe_path(plan)
    write_bytes(path, recipe_text(plan, tuning(plan, study), lambda path: str(path.absolute())).encode())
    return path


def recipe_text(plan: SearchPlan, record: Tuning, written: Callable[[Path], str]) -> str:
    """The winner's recipe.

    The track is left to the command, as the data set and the protocol are.

    Args:
        plan: The search.
        record: What it chose.
        written: How the path of a file of one's own is written.
    """

    def way(name: str, kind: str) -> str:
        return name if shipped.path_of(name, kind) is not None else written(Path(name))

    fixed = {key: value for key, value in plan.run.overrides.items() if key not in ("name", "track")}
    summary = f"{plan.stem}, tuned by {counted(record.budget['trials'], 'trial')} on {plan.under['dataset']}"
    settings = merge(fixed, nested(record.best))
    if plan.run.teacher is not None:
        settings[TEACHER] = {"name": way(plan.run.teacher, "teacher"), **(settings.get(TEACHER) or {})}
    extends = way(plan.run.method, "method")
    return plain_yaml.dump({"summary": summary, "extends": extends, **settings, "tuning": record.model_dump()})
