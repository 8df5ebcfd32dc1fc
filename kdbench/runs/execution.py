"""A run while it is made: teacher, student, evaluation, result."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdbench.engine.declared import trains_logits
from kdbench.engine.loop import Record
from kdbench.engine.memory import is_out_of_memory, out_of_memory
from kdbench.errors import Interrupted, KdbenchError, RunFailed
from kdbench.evaluation.metrics import confusion
from kdbench.evaluation.predict import Predictions
from kdbench.evaluation.probe import Probed
from kdbench.plotting.class_matrices import confusion_matrix
from kdbench.plotting.curves import learning_curves
from kdbench.recipes.pairs import TAUGHT_BY
from kdbench.recipes.schema import CONTROLS
from kdbench.recipes.track import words_of
from kdbench.runs import cost
from kdbench.runs.ahead import announce, check_parts
from kdbench.runs.condensed import keep_ended
from kdbench.runs.context import RunContext
from kdbench.runs.earlier import before
from kdbench.runs.environment import environment
from kdbench.runs.faculty import Ensemble, obtain_teachers, of_parts, report_of_peer, reports
from kdbench.runs.folder import CHECKPOINT, FRESH, remove_empty
from kdbench.runs.gain import gain_over_student_only
from kdbench.runs.idle import negative_weights
from kdbench.runs.mirror import described, files_of, outcome, sending
from kdbench.runs.mirror_store import OFF, is_wanted
from kdbench.runs.reported import Reported
from kdbench.runs.schema import SCHEMA_VERSION
from kdbench.runs.spec import TRACK
from kdbench.runs.store import RESULT
from kdbench.runs.student import Student, train_student
from kdbench.runs.tracking import Tracker
from kdbench.runs.training import export, processes_of, records_of
from kdbench.text.redaction import redacted
from kdbench.util.records import (
    hashes,
    sealed,
    write_json,
    write_parquet,
    write_safetensors,
)


@dataclass
class Run:
    """One run while it is made.

    Attributes:
        context: What it is a run of, and with what.
        root: Folder of all runs.
        folder: Its own.
        fresh: Whether an unfinished teacher is trained anew.
    """

    context: RunContext
    root: Path
    folder: Path
    fresh: bool

    def execute(self) -> dict[str, Any]:
        """Trains, evaluates and writes everything; returns what `run.json` says."""
        self.started = time.perf_counter()
        # What is trained anew takes the folder's place in the end.
        lies = self.folder.parent if self.folder.name == FRESH else self.folder
        self.tracker = Tracker(self.context.warn, again=sending(lies))
        self.result: dict[str, Any] = {}
        try:
            self._check()
            self.result = self._header()
            self._write("running")
            if is_wanted():
                self.context.reporter.message(f"opening MLflow, which records the run too ({OFF}=off leaves it out)")
            self._track()
            return self._finish()
        except KeyboardInterrupt as error:
            self._stop("interrupted", f"interrupted by {error or 'the user'}")
            if not self.result:
                raise Interrupted("interrupted before the training", hint="Repeat the same command.") from error
            raise Interrupted(
                f"interrupted; every finished epoch is kept below {self.root}",
                # With --fresh, the same command would begin anew.
                hint=f"Repeat the same command{' without --fresh' * self.fresh} to go on from there.",
            ) from error
        except KdbenchError as error:
            self._stop("failed", str(error))
            raise
        except Exception as error:
            if is_out_of_memory(error):
                explained = self._out_of_memory(error)
                self._stop("failed", str(explained))
                raise explained from error
            self._stop("failed", f"{type(error).__name__}: {error}")
            raise

    def _out_of_memory(self, error: Exception) -> RunFailed:
        recipe = self.context.run_spec.recipe
        sizes = {key: spec.train.batch_size for key, spec in recipe.by_key.items() if not spec.joint}
        return out_of_memory(error, self.context.accelerator.device, recipe.precision, sizes)

    def _header(self) -> dict[str, Any]:
        run_spec = self.context.run_spec
        device = self.context.accelerator.device
        previous = before(self.folder / RESULT)
        return {
            "schema_version": SCHEMA_VERSION,
            "identity": run_spec.identity,
            "status": "running",
            "name": (previous.name if self.context.name is None else self.context.name) or None,
            "method": run_spec.method,
            TAUGHT_BY: run_spec.recipe.taught_by,
            "dataset": run_spec.dataset.card.name,
            "protocol": run_spec.protocol,
            "preset": run_spec.preset,
            "seed": run_spec.seed,
            "recipe": run_spec.recipe.model_dump(mode="json"),
            "conditions": run_spec.conditions(),
            "plugins": run_spec.plugins(),
            "environment": environment(device),
            "semantics": self._semantics(),
            "view": {"name": run_spec.dataset.view, "reason": run_spec.dataset.view_reason},
            "excluded": dict(run_spec.dataset.excluded),
            **({"lacking": dict(run_spec.dataset.lacking)} if run_spec.dataset.lacking else {}),
            "unverified": dict(run_spec.dataset.unverified),
            "trials": {
                "train": len(self.context.split.train),
                "validation": len(self.context.split.validation),
                "test": len(self.context.split.test),
                **self._scarce(),
            },
            "started": previous.started or _now(),
            "resumed": previous.resumed,
            **({"tuning": run_spec.recipe.tuning.model_dump()} if run_spec.recipe.tuning else {}),
            **({"controls": list(run_spec.recipe.controls)} if run_spec.recipe.controls else {}),
            "tracking": {"run_id": previous.run_id, **({"tags": self.context.tags} if self.context.tags else {})},
            "metrics": None,
            "teacher": None,
            "gain": None,
            "cost": None,
            "message": None,
            "warnings": self.context.warnings,
        }

    def _scarce(self) -> dict[str, int]:
        """How many training trials have a label and how many have sensors, where the track leaves some without."""
        given = self.context.supervision
        labelled, paired = len(given.labelled), len(given.paired)
        return {"labelled": labelled, "paired": paired} if labelled != paired else {}

    def _semantics(self) -> dict[str, Any] | None:
        vectors = self.context.label_vectors
        return {"name": vectors.name, "scale": vectors.scale, "meaningful": vectors.meaningful} if vectors else None

    def _track(self) -> None:
        run_spec = self.context.run_spec
        told = described(self.result, run_spec.folder, sensors=run_spec.dataset.sensors, classes=self.context.classes)
        self.tracker.start(self.root, **told)
        self.context.on_epoch = self._epoch

    def _epoch(self, record: Record) -> None:
        self.tracker.epoch(record)
        if self.tracker.run_id != self.result["tracking"]["run_id"]:
            # A killed run goes on in the same MLflow run.
            self._write("running")

    def _check(self) -> None:
        """Says what there is to know of the run, and tries its parts.

        Raises:
            UsageError: As `check_parts`.
        """
        recipe, context = self.context.run_spec.recipe, self.context
        if context.label_vectors is not None and not context.label_vectors.meaningful:
            context.warn("the label vectors are hashes: the semantic losses run, and mean nothing")
        for line in (*context.run_spec.left_out, *context.run_spec.incomplete()):
            context.warn(line)
        for name in recipe.controls:
            context.warn(f"this is a control and no method: {CONTROLS[name]}")
        if elsewhere := context.run_spec.tuned_elsewhere:
            context.warn(_tuned_elsewhere(elsewhere))
        if recipe.selection.is_oracle:
            context.warn(
                "(oracle): the epoch was chosen by its accuracy on the test part, which nobody can know in use: "
                "the result is too high"
            )
        for line in negative_weights(recipe):
            context.warn(line)
        context.reporter.message("trying every loss once, and timing a step")
        check_parts(context)

    def _finish(self) -> dict[str, Any]:
        recipe, context = self.context.run_spec.recipe, self.context
        announce(context, self.root / "teachers", self.folder)
        with cost.PeakMemory(context.accelerator.device) as memory:
            student = None
            teachers = obtain_teachers(context, self.root / "teachers", fresh=self.fresh)
            if recipe.student is not None:
                student = train_student(context, recipe.student, of_parts(teachers), self.folder)
            context.reporter.message("evaluating")
            reported = Reported(context, teachers, student)
            own = reported.predictions()
            probed = reported.probed() if student and recipe.track.is_transfer_alone else None
        predictions = own if probed is None else probed.linear
        self._result(reported, predictions, memory.peak_bytes)
        if probed is not None:
            self._tell_probes(probed, own)
        context.reporter.message("writing pictures and the result")
        self._files(teachers, student, predictions)
        written = ("predictions.parquet", "metrics.jsonl", "student.safetensors", "losses.safetensors")
        self.result["files"] = hashes(self.folder, [name for name in written if (self.folder / name).is_file()])
        self._write("finished")
        keep_ended(self.folder, self.result)
        self.tracker.finish("finished", outcome(self.result), files_of(self.folder), model=self._model(teachers))
        # Last: until the result is written, a run that is killed goes on from its checkpoint.
        shutil.rmtree(self.folder / CHECKPOINT, ignore_errors=True)
        return self.result

    def _tell_probes(self, probed: Probed, own: Predictions) -> None:
        """Keeps what each probe says beside the metrics, and what the student's logits say where a loss trains them."""
        recipe = self.context.run_spec.recipe
        trained = any(map(trains_logits, recipe.reported.losses))
        self.result["metrics"]["probes"] = probed.record(self.context.classes, own if trained else None)
        if not probed.settings["converged"]:
            self.context.warn(f"the linear probe did not converge within {probed.settings['max_iter']} iterations")

    def _result(self, reported: Reported, predictions: Predictions, peak_bytes: int) -> None:
        recipe, network = self.context.run_spec.recipe, reported.network
        teachers, student = reported.teachers, reported.student
        metrics = predictions.metrics(self.context.classes)
        made_by = self._processes(teachers, student)
        if made_by > 1:
            # Those that made it, and not those alone that ended it.
            self.result["conditions"] |= {"processes": made_by}
        if not recipe.track.is_transfer_alone:
            metrics |= reported.without_each()
        joint = {
            peer.name: report_of_peer(self.context, peer, recipe.all_teachers[peer.name], self.folder)
            for peer in (student.peers if student else ())
        }
        self.result |= reports(teachers, recipe.student.train.batch_size if recipe.student else None, joint)
        if reported.couples_batch:
            metrics["inductive"] = reported.inductive() if student else self.result["teacher"]["inductive"]
        self.result["metrics"] = metrics
        self.result["couples_batch"] = reported.couples_batch
        self.result["provenance"] = network.provenance
        self.result["best_epoch"] = student.best if student else None
        seconds = time.perf_counter() - self.started
        self.result["cost"] = reported.cost(peak_bytes) | {"seconds_this_process": seconds}
        self.result["gain"] = gain_over_student_only(self.root, self.result) if student else None

    def _processes(self, teachers: Sequence[Ensemble], student: Student | None) -> int:
        """The most processes that trained what is reported."""
        if student is not None:
            return processes_of(student.records, self.context.warn)
        return max(processes_of(records_of(one.folder), self.context.warn) for one in of_parts(teachers))

    def _files(self, teachers: Sequence[Ensemble], student: Student | None, predictions: Predictions) -> None:
        classes = self.context.classes
        write_parquet(self.folder / "predictions.parquet", table(predictions))
        networks = of_parts(teachers)
        records = [*(records_of(networks[0].folder) if networks else []), *(student.records if student else [])]
        spec = self.context.run_spec
        title = f"{spec.title} · {spec.dataset.card.name} · {spec.protocol} · {spec.preset} · seed {spec.seed}"
        if records:
            learning_curves(records, self.folder / "learning_curves.png", title=title)
        matrix = confusion(
            np.tile(predictions.labels, len(predictions.logits)), predictions.logits.argmax(-1).ravel(), len(classes)
        )
        confusion_matrix(matrix, spec.dataset.card.short_names, self.folder / "confusion_matrix.png", title=title)
        if student is not None:
            export(
                student.network,
                self.folder / "student.safetensors",
                self.context,
                self.context.run_spec.recipe.reported,
            )
            if student.objective is not None and (learnt := student.objective.state_dict()):
                write_safetensors(self.folder / "losses.safetensors", learnt)

    def _model(self, teachers: Sequence[Ensemble]) -> Path | None:
        """The weights that were evaluated; of an ensemble those of its first network."""
        if self.context.run_spec.recipe.student is not None:
            return self.folder / "student.safetensors"
        return of_parts(teachers)[0].folder / "teacher.safetensors"

    def _write(self, status: str) -> None:
        self.result |= {"status": status, "finished": _now() if status != "running" else None}
        self.result["tracking"] |= {"run_id": self.tracker.run_id}
        self.result = sealed(self.result, self.folder / RESULT)
        write_json(self.folder / RESULT, self.result)

    def _stop(self, status: str, message: str) -> None:
        if not self.result:
            # It was refused before it began.
            remove_empty(self.folder)
            return
        self.result["message"] = redacted(message)
        # The reason of the failure may be that nothing can be written.
        with contextlib.suppress(KdbenchError, OSError):
            self._write(status)
        self.tracker.finish(status, {}, [])


def table(predictions: Predictions) -> pd.DataFrame:
    """Predictions as rows: trial, label, shuffle, batch size, and a logit per class."""
    shuffles, count, classes = predictions.logits.shape
    return pd.DataFrame(
        {
            "trial": list(predictions.trials) * shuffles,
            "label": np.tile(predictions.labels, shuffles),
            "shuffle": np.repeat(np.arange(shuffles), count),
            "batch_size": predictions.batch_size,
        }
    ).join(pd.DataFrame(predictions.logits.reshape(-1, classes), columns=[f"logit_{k}" for k in range(classes)]))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _tuned_elsewhere(where: Mapping[str, Any]) -> str:
    names = [f"{key} {value}" for key, value in where.items() if key != TRACK]
    if TRACK in where:
        names.append(words_of({TRACK: where[TRACK]}) or "all labels and pairs")
    return f"the settings were tuned elsewhere ({', '.join(names)}); kdbench search tunes them for this place"
