"""Makes a submission of finished runs: one method under one set of conditions, at every seed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import DataError, KdbenchError, UsageError
from kdbench.leaderboard import redaction
from kdbench.leaderboard.check import problems_of
from kdbench.leaderboard.consistency import HONEST, MIN_SEEDS
from kdbench.leaderboard.entry import BoardEntry, content_id, load, place
from kdbench.leaderboard.files import VERIFICATION, read_bytes
from kdbench.leaderboard.picture import picture_of
from kdbench.leaderboard.predictions import COLUMNS
from kdbench.leaderboard.schema import ENVIRONMENT, PICTURE, PREDICTIONS, RECIPE, RESULT, SCHEMA_VERSION, Submission
from kdbench.leaderboard.staging import move_in, staged
from kdbench.leaderboard.trials import card_of
from kdbench.leaderboard.verify import claim_of, differences
from kdbench.runs.find import find_runs
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun
from kdbench.text.wording import counted, inflected
from kdbench.util import plain_yaml
from kdbench.util.files import unwritable
from kdbench.util.paths import runs_folder
from kdbench.util.records import read_jsonl, write_bytes
from kdbench.util.validation import checked

_LISTED = 4


def add(runs: Sequence[Path | str], board: Path, *, by: str | None = None, root: Path | None = None) -> Path:
    """Writes a submission.

    Args:
        runs: Finished runs, as `find_runs` names them: one method, one set of conditions, the seeds 0 … N−1.
        board: The board; its folder is made where it is not there.
        by: Who submits it; nobody is named by default.
        root: Folder of the runs, where names are looked up; by default `$KDBENCH_HOME`, else `./runs`.

    Returns:
        The submission's folder. The same runs give the same one. A Grad-CAM picture comes along where a run was
        explained.

    Raises:
        UsageError: Unlike methods or conditions (the difference is named), a seed that is missing or given twice, an
            unfinished run, a run on a validation part, epochs that the test part chose, a path or the name of a
            machine or user in what would be published, or a board that holds other results of the same.
        DataError: A run that cannot be read, or whose predictions do not prove its metrics.
    """
    # A run that two words name counts once.
    by_folder = {run.folder.resolve(): run for word in runs for run in find_runs(word, runs_folder(root))}
    stored = sorted(by_folder.values(), key=lambda run: run.seed)
    _check_alike(stored)
    files = _files(stored)
    content = _content(stored, files, by)
    _check_private(content, files)
    result = checked(
        Submission,
        content,
        "these runs do not make a submission",
        error=DataError,
        hint="Run them again with this version of kdbench, and add these.",
    )
    root = board / "submissions"
    try:
        return _put(root, result, files | {RESULT: (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()})
    except OSError as error:
        raise unwritable(error, root, elsewhere="--to FOLDER puts submissions elsewhere.") from error


def _put(root: Path, result: Submission, files: Mapping[str, bytes]) -> Path:
    """Writes a submission aside, checks it there, and gives it its place when it is whole."""
    folder = root / place(result)
    with staged(root, "add") as aside:
        made = aside / place(result)
        for name, data in files.items():
            write_bytes(made / name, data)
        problems = problems_of(made)
        if problems:
            lines = "\n".join(f"- {problem}" for problem in problems)
            raise DataError(
                f"these runs do not make a submission that verifies:\n{lines}",
                hint="Mend what is listed: a run that was edited or damaged is trained again by its command.",
            )
        _check_free(load(made), folder.parent)
        if folder.is_dir() and not folder.is_symlink():
            if not problems_of(folder):
                return folder
            # The same content, damaged or never finished: only the record of a training again is kept.
            with contextlib.suppress(KdbenchError):
                write_bytes(made / VERIFICATION, read_bytes(folder, VERIFICATION))
        folder.parent.mkdir(parents=True, exist_ok=True)
        move_in(made, folder, left=aside)
    return folder


def _check_alike(runs: Sequence[StoredRun]) -> None:
    if not runs:
        raise UsageError("no run was given", hint="kdbench leaderboard add RUN RUN RUN")
    for run in runs:
        if run.status != FINISHED:
            raise UsageError(f"{run.folder} is {run.status}, expected a finished run", hint="Repeat its command.")
        if run.result.get("excluded"):
            raise UsageError(
                f"{run.folder} left out {counted(len(run.result['excluded']), 'broken recording')}; a "
                "submission needs them all",
                hint=f"See which: kdbench data verify {run.result['dataset']}",
            )
        if run.conditions.get("part") != "test":
            raise UsageError(
                f"{run.folder} reports the {run.conditions.get('part')} part, expected the test part",
                hint="Run it without --set selection.part.",
            )
        if run.conditions.get("selection") not in HONEST:
            raise UsageError(
                f"{run.folder} chose its epoch by '{run.conditions.get('selection')}': "
                f"a leaderboard takes {' and '.join(HONEST)}, which never look at the test part",
                hint="Run it without --set selection.rule, or with --set selection.rule=best-val",
            )
    first = runs[0]
    for run in runs[1:]:
        for key, one, other in (
            ("method", first.method, run.method),
            ("recipe", first.result["recipe"], run.result["recipe"]),
            ("conditions", _without_drawn(first.conditions), _without_drawn(run.conditions)),
            ("plugins", first.result.get("plugins"), run.result.get("plugins")),
        ):
            if one != other:
                raise UsageError(
                    f"{first.folder} and {run.folder} have unlike {key}: {'; '.join(differences(one, other))}",
                    hint="A submission holds one method under one set of conditions.",
                )
    _check_seeds([run.seed for run in runs])


def _check_seeds(seeds: Sequence[int]) -> None:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise UsageError(
            f"seed {', '.join(map(str, twice))} is given twice: two runs of one seed",
            hint="Name one run a seed: kdbench runs list",
        )
    needed = max(MIN_SEEDS, max(seeds) + 1)
    # One of the first is missing where any is; an edited seed may be of any size.
    missing = [seed for seed in range(min(needed, len(seeds) + MIN_SEEDS)) if seed not in seeds]
    if missing:
        raise UsageError(
            f"{inflected(len(missing), 'seed')} {' and '.join(map(str, missing))} "
            f"{inflected(len(missing), 'is', 'are')} missing; all seeds from 0 on are needed, at least {MIN_SEEDS}",
            hint=f"Repeat the `kdbench run` command of these runs with --seeds {needed}.",
        )


def _without_drawn(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions without the split where a validation part, drawn by the seed, makes it another at every seed."""
    drawn = {"split"} if conditions.get("selection") != "last" else set()
    return {key: value for key, value in conditions.items() if key not in drawn}


def _check_free(entry: BoardEntry, folder: Path) -> None:
    """Two results of the same cannot both stand; which of them to keep is for people to choose."""
    for path in sorted(folder.glob(f"*/{RESULT}")):
        if path.parent.name == entry.result.id:
            continue
        try:
            taken = claim_of(load(path.parent)) == claim_of(entry)
        except DataError:
            # A broken one is named when the board is verified.
            continue
        if taken:
            raise UsageError(
                f"{path.parent} claims the same: the same method, recipe and conditions, with another content",
                hint=f"Keep one. To replace that one: rm -r {path.parent}",
            )


def _files(runs: Sequence[StoredRun]) -> dict[str, bytes]:
    environments = [
        {"seed": run.seed, **{k: v for k, v in run.result["environment"].items() if k != "command"}} for run in runs
    ]
    first = runs[0].result
    recipe = first["recipe"] | ({"tuning": first["tuning"]} if first.get("tuning") else {})
    files = {
        PREDICTIONS: _predictions(runs),
        RECIPE: plain_yaml.dump(recipe).encode(),
        ENVIRONMENT: (json.dumps(environments, indent=2) + "\n").encode(),
    }
    picture = next((drawn for drawn in map(picture_of, runs) if drawn is not None), None)
    return files if picture is None else files | {PICTURE: picture}


def _predictions(runs: Sequence[StoredRun]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for run in runs:
        # Refuses predictions that are not those that the run wrote.
        run.file("predictions.parquet")
        frame = run.predictions()
        logits = frame[[f"logit_{k}" for k in range(sum(c.startswith("logit_") for c in frame.columns))]].to_numpy()
        values = pa.array(np.ascontiguousarray(logits, dtype=np.float32).ravel())
        columns = [
            pa.array(np.full(len(frame), run.seed, dtype=np.int32)),
            pa.array(frame["trial"].astype(str).tolist(), type=pa.string()),
            pa.array(frame["label"].to_numpy(dtype=np.int32)),
            pa.array(frame["shuffle"].to_numpy(dtype=np.int32)),
            pa.ListArray.from_arrays(np.arange(len(frame) + 1, dtype=np.int32) * logits.shape[1], values),
        ]
        tables.append(pa.table(columns, names=list(COLUMNS)))
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), buffer, compression="zstd")
    return buffer.getvalue()


def _content(runs: Sequence[StoredRun], files: Mapping[str, bytes], by: str | None) -> dict[str, Any]:
    first = runs[0].result
    options = first["conditions"].get("data", {}).get("options") or {}
    classes = card_of(first["dataset"], options).class_names
    content = {
        "schema_version": SCHEMA_VERSION,
        "method": first["recipe"]["name"],
        "summary": first["recipe"].get("summary") or "",
        "source": first["recipe"].get("source") or "",
        **{key: first[key] for key in ("dataset", "protocol", "preset", "conditions")},
        "classes": list(classes),
        "plugins": list(first.get("plugins") or ()),
        # Left out where nobody is named, so that such submissions keep their ids.
        **({"submitted_by": by} if by else {}),
        "seeds": [_seed(run) for run in runs],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    return {"id": content_id(content), **content}


def _seed(run: StoredRun) -> dict[str, Any]:
    metrics, teacher = dict(run.metrics), run.result.get("teacher")
    others = run.result.get("teachers") or {}
    inductive = metrics.pop("inductive", None)
    # Of the probes, the predictions prove the one that is reported, and nothing of what was measured without a source.
    for unproven in ("probes", "without"):
        metrics.pop(unproven, None)
    claims = {
        "teacher": teacher and _claimed(teacher),
        # Left out where there are none, so that such submissions keep their ids.
        **({"teachers": {name: _claimed(one) for name, one in others.items()}} if others else {}),
        "inductive": inductive["accuracy"] if inductive else None,
        "cost": run.result.get("cost") or {},
        "best_epoch": (run.result.get("best_epoch") or {}).get("epoch"),
        "curves": _curves(run),
    }
    # Left out where nothing is scarce, so that such submissions keep their ids.
    given = {"given": _given(run)} if run.conditions.get("track") else {}
    return {"seed": run.seed, "metrics": {"shuffles": 1, **metrics}, "claims": claims, **given}


def _claimed(teacher: Mapping[str, Any]) -> dict[str, Any]:
    return {"identity": teacher["folder"], "accuracy": teacher["accuracy"], "macro_f1": teacher["macro_f1"]}


def _given(run: StoredRun) -> dict[str, Any]:
    return {key: run.result["trials"].get(key) for key in ("train", "labelled", "paired")}


def _curves(run: StoredRun) -> list[dict[str, Any]]:
    teacher = (run.result.get("teacher") or {}).get("folder")
    paths = [run.folder / "metrics.jsonl"]
    if teacher:
        paths.insert(0, run.folder.parent / "teachers" / teacher / "metrics.jsonl")
    records = [record for path in paths for record in read_jsonl(path)]
    return [{key: record.get(key) for key in ("phase", "epoch", "loss", "accuracy")} for record in records]


def _check_private(content: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    published = {
        RESULT: content,
        RECIPE: plain_yaml.parse(files[RECIPE].decode(), RECIPE),
        ENVIRONMENT: json.loads(files[ENVIRONMENT]),
    }
    private = [*redaction.paths_in(published), *redaction.names_in(published)]
    if private:
        raise UsageError(
            f"this would publish what belongs to one machine: {'; '.join(private[:_LISTED])}",
            hint="Run the method with names instead of paths, and add those runs.",
        )
