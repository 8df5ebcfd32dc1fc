"""Trains a submission again and compares: the way to the tier `re-run`."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.board.entry import VERIFICATION, Entry, load, slug
from kdbench.board.schema import RECIPE, Environment
from kdbench.board.tier import Again, Verification
from kdbench.board.verify import differences, problems_of
from kdbench.errors import DataError
from kdbench.results.files import write_json
from kdbench.results.store import stored_run

if TYPE_CHECKING:
    from kdbench.engine.progress import Reporter

TOLERANCE = 0.02
_FREE = ("libraries", "split")
"""Conditions in which a second training may differ; the split of drawn validation parts differs by the seed."""


def rerun(
    folder: Path,
    out: Path,
    *,
    tolerance: float = TOLERANCE,
    data_dir: Path | None = None,
    reporter: Reporter | None = None,
) -> Verification:
    """Trains every seed of a submission again; writes `verification.json` where it comes to the same.

    Args:
        folder: The submission.
        out: Folder of the runs; finished ones there are taken as they are.
        tolerance: The largest difference of accuracy at a seed, as a share; hardware and versions round differently.
        data_dir: Where the data sets lie.
        reporter: Shows the progress; silent by default.

    Raises:
        DataError: It does not verify as it is, its data or settings here are other ones, or a seed comes to another
            accuracy.
    """
    from kdbench.runner import run

    problems = problems_of(folder)
    if problems:
        raise DataError(f"{folder} does not verify: {'; '.join(problems)}")
    entry = load(folder)
    result, seeds = entry.result, {}
    with tempfile.TemporaryDirectory() as place:
        # A recipe is named by its file.
        recipe = Path(place) / f"{slug(result.method)}.yaml"
        recipe.write_text(entry.recipe_text, encoding="utf-8")
        for each in result.seeds:
            made = run(
                str(recipe),
                result.dataset,
                protocol=result.protocol,
                preset=result.preset,
                video=result.conditions.get("view"),
                seed=each.seed,
                device=result.conditions.get("device", "auto"),
                threads=result.conditions.get("threads"),
                data_dir=data_dir,
                out=out,
                reporter=reporter,
            )
            _check_alike(entry, made.result["conditions"])
            now = float(made.metrics["accuracy"])
            same = _same(entry, each.seed, made.folder)
            seeds[each.seed] = Again(then=each.metrics.accuracy, now=now, same=same)
            if abs(now - each.metrics.accuracy) > tolerance:
                raise DataError(
                    f"{folder}: seed {each.seed} comes to an accuracy of {now:.4f}, and the submission says "
                    f"{each.metrics.accuracy:.4f}; at most {tolerance:g} apart is accepted"
                )
            there = {k: v for k, v in made.result["environment"].items() if k != "command"}
            environment = Environment(seed=each.seed, **there)
    held = Verification(
        id=result.id,
        tolerance=tolerance,
        seeds=seeds,
        environment=environment,
        date=datetime.datetime.now(datetime.UTC).date(),
    )
    write_json(folder / VERIFICATION, held.model_dump(mode="json"))
    return held


def _check_alike(entry: Entry, conditions: dict[str, Any]) -> None:
    then = {key: value for key, value in entry.result.conditions.items() if key not in _FREE}
    unlike = differences(then, {key: value for key, value in conditions.items() if key not in _FREE})
    if unlike:
        raise DataError(
            f"{entry.folder} cannot be trained again under its conditions (submitted, here): {'; '.join(unlike)}",
            hint=f"Its recipe is {entry.folder / RECIPE}.",
        )


def _same(entry: Entry, seed: int, made: Path) -> float:
    """The share of rows in which both networks predict the same class."""
    held = entry.predictions
    own = held.at(held.seed == seed)
    now = stored_run(made).predictions()
    logits = now[[f"logit_{k}" for k in range(own.logits.shape[1])]].to_numpy()
    keys = zip(now["trial"].astype(str), now["shuffle"].astype(int), strict=True)
    predicted = dict(zip(keys, logits.argmax(axis=1).tolist(), strict=True))
    then = zip(own.trial.tolist(), own.shuffle.tolist(), own.logits.argmax(axis=1).tolist(), strict=True)
    return float(np.mean([predicted.get((trial, shuffle)) == label for trial, shuffle, label in then]))
