"""Trains a submission again and compares: the way to the tier `re-run`."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from kdbench.errors import DataError, UsageError
from kdbench.leaderboard.check import problems_of
from kdbench.leaderboard.entry import BoardEntry, content_sha256, load, slug
from kdbench.leaderboard.files import VERIFICATION, read_json
from kdbench.leaderboard.schema import RECIPE, RESULT, Environment, Person, SeedResult
from kdbench.leaderboard.tier import LARGEST_TOLERANCE, Again, Verification
from kdbench.leaderboard.verify import differences
from kdbench.runs.store import stored_run
from kdbench.util.records import write_json

if TYPE_CHECKING:
    from kdbench.util.progress import Reporter

TOLERANCE = 0.02
_FREE = ("libraries", "split", "device", "threads", "processes")
"""Conditions in which a second training may differ; the split of drawn validation parts differs by the seed."""


def rerun(
    folder: Path,
    out: Path | None = None,
    *,
    by: str,
    tolerance: float = TOLERANCE,
    data_dir: Path | None = None,
    reporter: Reporter | None = None,
) -> Verification:
    """Trains every seed of a submission again, teachers too; writes `verification.json` where it comes to the same.

    Args:
        folder: The submission.
        out: Folder for the runs, which has to be empty or not there, so that nothing is reused; by default one that is
            removed at the end.
        by: Who trains it again; it stands in the record and on the board.
        tolerance: The largest difference of accuracy at a seed, as a share; hardware and versions round differently.
        data_dir: Where the data sets lie.
        reporter: Shows the progress; silent by default.

    Raises:
        UsageError: Nobody's name was given, or `out` holds something.
        DataError: It does not verify as it is, its data or settings here are other ones, or a seed comes to another
            accuracy.
    """
    name = _checked_name(by)
    if out is not None and (out.is_symlink() or out.exists()) and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            f"{out} is not an empty folder, and a training again must reuse nothing",
            hint="Name a folder that is empty or not there yet: --out FOLDER; or leave --out away.",
        )
    problems = problems_of(folder)
    if problems:
        raise DataError(
            f"{folder} does not verify: {'; '.join(problems)}", hint=f"See it: kdbench leaderboard verify {folder}"
        )
    entry = load(folder)
    if not 0 <= tolerance <= LARGEST_TOLERANCE:
        raise UsageError(
            f"a tolerance of {tolerance:g} confirms nothing; expected 0 to {LARGEST_TOLERANCE:g}",
            hint="Leave --tolerance out for the usual one.",
        )
    # What an earlier write left that was killed.
    for path in folder.glob(f".{VERIFICATION}.*.tmp"):
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="kdbench-rerun-") as place:
        outcome = _trained_again(entry, Path(place), out or Path(place) / "runs", name, tolerance, data_dir, reporter)
    write_json(folder / VERIFICATION, outcome.model_dump(mode="json"))
    return outcome


def _checked_name(by: str) -> str:
    try:
        return TypeAdapter(Person).validate_python(by.strip())
    except ValidationError as error:
        raise UsageError(
            f"--by {by!r} is not a name: 1 to 100 characters in one line", hint='For example --by "Ada Lovelace"'
        ) from error


def _trained_again(
    entry: BoardEntry,
    place: Path,
    out: Path,
    by: str,
    tolerance: float,
    data_dir: Path | None,
    reporter: Reporter | None,
) -> Verification:
    from kdbench.runs.run import run

    result, seeds = entry.result, {}
    started = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    # A recipe is named by its file.
    recipe = place / f"{slug(result.method)}.yaml"
    recipe.write_text(entry.recipe_text, encoding="utf-8")
    for trained in result.seeds:
        made = run(
            str(recipe),
            result.dataset,
            protocol=result.protocol,
            preset=result.preset,
            video=result.conditions.get("view"),
            seed=trained.seed,
            device=result.conditions.get("device", "auto"),
            threads=result.conditions.get("threads"),
            data_dir=data_dir,
            out=out,
            reporter=reporter,
        )
        if made.reused:
            raise DataError(
                f"seed {trained.seed} was found trained already in {made.folder}, and nothing may be reused",
                hint="Name an empty folder: --out FOLDER; or leave --out out.",
            )
        _check_alike(entry, made.result["conditions"])
        _check_network(entry, trained, made.result["cost"])
        now = float(made.metrics["accuracy"])
        seeds[trained.seed] = Again(
            then=trained.metrics.accuracy, now=now, same=_same(entry, trained.seed, made.folder)
        )
        if abs(now - trained.metrics.accuracy) > tolerance:
            raise DataError(
                f"{entry.folder}: seed {trained.seed} comes to an accuracy of {now:.4f}, and the submission says "
                f"{trained.metrics.accuracy:.4f}; at most {tolerance:g} apart is accepted",
                hint="Tell its author: the pull request is where that is talked over. No verification is written.",
            )
        there = {k: v for k, v in made.result["environment"].items() if k != "command"}
        environment = Environment(seed=trained.seed, **there)
    return Verification(
        id=result.id,
        content_sha256=content_sha256(read_json(entry.folder, RESULT)),
        by=by,
        tolerance=tolerance,
        seeds=seeds,
        environment=environment,
        started=started,
        date=datetime.datetime.now(datetime.UTC).date(),
    )


def _check_network(entry: BoardEntry, trained: SeedResult, cost: Mapping[str, Any]) -> None:
    claimed, true = trained.claims.cost.get("parameters"), cost.get("parameters")
    if claimed is not None and true is not None and claimed != true:
        raise DataError(
            f"{entry.folder}: seed {trained.seed} claims {claimed:.0f} parameters, and its network has {true:.0f}",
            hint="Tell its author: the submission does not say what its recipe makes. No verification is written.",
        )


def _check_alike(entry: BoardEntry, conditions: dict[str, Any]) -> None:
    then = {key: value for key, value in entry.result.conditions.items() if key not in _FREE}
    unlike = differences(then, {key: value for key, value in conditions.items() if key not in _FREE})
    if unlike:
        raise DataError(
            f"{entry.folder} cannot be trained again under its conditions (submitted, here): {'; '.join(unlike)}",
            hint=f"Its recipe is {entry.folder / RECIPE}.",
        )


def _same(entry: BoardEntry, seed: int, made: Path) -> float:
    """The share of rows in which both networks predict the same class."""
    own = entry.predictions.of_seed(seed)
    now = stored_run(made).predictions()
    logits = now[[f"logit_{k}" for k in range(own.logits.shape[1])]].to_numpy()
    keys = zip(now["trial"].astype(str), now["shuffle"].astype(int), strict=True)
    predicted = dict(zip(keys, logits.argmax(axis=1).tolist(), strict=True))
    then = zip(own.trial.tolist(), own.shuffle.tolist(), own.logits.argmax(axis=1).tolist(), strict=True)
    return float(np.mean([predicted.get((trial, shuffle)) == label for trial, shuffle, label in then]))
