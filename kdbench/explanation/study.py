"""A run under study: what the parts of an explanation share, opened when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kdbench.data.card import Card, load_card
from kdbench.data.loader import Loader
from kdbench.errors import DataError, UsageError, unknown
from kdbench.evaluation.predict import Predictions, predict
from kdbench.explanation.reopen import Opened, open_context, open_reported, open_teacher, teacher_weights
from kdbench.explanation.scores import AGAIN, TrialScores, read_scores
from kdbench.explanation.section import NotShown
from kdbench.registry import registry
from kdbench.runs.context import RunContext
from kdbench.runs.store import StoredRun
from kdbench.text.wording import counted
from kdbench.types import Batch
from kdbench.util.progress import Reporter

# The same weights on another machine or another version of torch may turn a prediction that was a draw.
SAME_SHARE = 0.97


@dataclass
class Study:
    """A run under study.

    Attributes:
        run: The run.
        folder: Where its pictures go.
        against: Another run of the same trials, or None.
        chosen: Trials that are looked at besides the best and the worst.
        draws: Random draws of each corruption.
        dataset: Path of the data set's card, where its name does not lead to it.
        data_dir: Where the data sets lie.
        device: `auto`, `cpu` or `cuda`.
        reporter: Shows the progress.
        actions: Labels of the classes that one clip each is shown of.
    """

    run: StoredRun
    folder: Path
    against: StoredRun | None
    chosen: tuple[str, ...]
    draws: int
    dataset: str | None
    data_dir: Path | None
    device: str
    reporter: Reporter
    actions: tuple[int, ...] = ()

    @cached_property
    def card(self) -> Card:
        """The data set's card, with the options of the run where the data are generated."""
        card = load_card(self.dataset or self.run.result["dataset"])
        options = self.run.result["recipe"]["data"].get("options")
        return registry("dataset").get(card.reader)(card, None, options).card

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        names = tuple(self.run.metrics["per_class_recall"])
        if names != self.card.class_names:
            raise DataError(
                f"{self.run.folder.name} has {counted(len(names), 'class')}, and the card of "
                f"'{self.card.name}' has others",
                hint="Name the card that it was made with: --dataset PATH.",
            )
        return names

    @cached_property
    def scores(self) -> TrialScores:
        """Its stored predictions."""
        return read_scores(self.run, self.classes)

    @cached_property
    def context(self) -> RunContext:
        """Its data and parts; another fingerprint is refused."""
        context = open_context(self.run, dataset=self.dataset, data_dir=self.data_dir, device=self.device)
        context.reporter = self.reporter
        predicted, cut = set(self.scores.trials), set(context.reported_trials())
        if predicted != cut:
            raise DataError(
                f"{self.run.folder.name} predicts {counted(len(predicted), 'trial')}, and its protocol reports "
                f"{counted(len(cut), 'other')} now",
                hint=AGAIN,
            )
        return context

    @property
    def reported(self) -> Opened:
        """The network that the run's numbers are about, after `clean` has shown that it is the run's."""
        _ = self.clean
        return self._reported

    @cached_property
    def _reported(self) -> Opened:
        return open_reported(self.run, self.context)

    @cached_property
    def clean(self) -> Predictions:
        """What it predicts now, on the inputs as they are.

        Raises:
            DataError: That is not what the run's `predictions.parquet` says.
        """
        predictions = self.predict(self._reported)
        place = {trial: row for row, trial in enumerate(predictions.trials)}
        rows = [place[trial] for trial in self.scores.trials]
        if (predictions.labels[rows] != self.scores.labels).any():
            raise DataError(f"{self.run.folder / 'predictions.parquet'} has other labels than the data set", hint=AGAIN)
        logits = predictions.logits[:, rows]
        fits = logits.shape == self.scores.logits.shape
        same = float((logits.argmax(-1) == self.scores.logits.argmax(-1)).mean()) if fits else 0.0
        if same < SAME_SHARE:
            raise DataError(
                f"the {self._reported.role} of {self.run.folder.name} gives {100 * same:.1f} % of the stored "
                "predictions: its weights and its predictions.parquet are not of one run",
                hint=AGAIN,
            )
        if same < 1:
            self.reporter.warn(f"{100 * (1 - same):.2f} % of the predictions are not the stored ones on this machine")
        return predictions

    @cached_property
    def teacher(self) -> Opened | None:
        """Its teacher; None where it had none.

        Raises:
            NotShown: Its folder is not beside the run, as where a run was copied alone.
        """
        path = teacher_weights(self.run)
        if path is not None and not path.is_file():
            raise NotShown(
                f"The run's teacher is not there: copy teachers/{path.parent.name} of its folder of runs to "
                f"{path.parent.parent}, and repeat."
            )
        return open_teacher(self.run, self.context)

    def loader(self, opened: Opened) -> Loader:
        """The reported part as a network sees it."""
        return self.context.loader(self.context.reported_trials(), opened.spec)

    def predict(self, opened: Opened, change: Callable[[Batch], Batch] = lambda batch: batch) -> Predictions:
        """Predicts the reported part as the run did, on changed inputs if asked to."""
        run_spec, dataset = self.context.run_spec, self.context.run_spec.dataset
        is_reported = opened.spec is run_spec.recipe.reported
        return predict(
            opened.network,
            self.loader(opened),
            batch_size=opened.spec.train.batch_size,
            accelerator=self.context.accelerator,
            change=change,
            without=[dataset.source(name) for name in run_spec.recipe.without] if is_reported else (),
        )

    def row(self, trial: str) -> int:
        """The row of a trial in the scores.

        Raises:
            UsageError: The reported part has no such trial.
        """
        try:
            return self.scores.trials.index(trial)
        except ValueError:
            part = self.run.conditions["part"]
            raise unknown("trial", trial, self.scores.trials, of=f"the {part} part", hint=_like(self.scores)) from None

    def seconds(self, trial: str) -> float:
        """Length of a trial, from its first sensor."""
        name, sensor = next(iter(self.card.sensors.items()))
        return len(self.context.run_spec.dataset.series(trial)[name]) / sensor.rate_hz

    def other_scores(self) -> TrialScores:
        """The predictions of the other run, in the order of this one's trials.

        Raises:
            UsageError: It was made under other conditions, or predicts other trials.
        """
        assert self.against is not None
        _check_alike(self.run, self.against)
        other = read_scores(self.against, self.classes)
        place = {trial: row for row, trial in enumerate(other.trials)}
        hint = "Set it against a run on the same data: kdbench runs list"
        if set(place) != set(self.scores.trials):
            raise UsageError(f"{self.against.folder.name} predicts other trials than {self.run.folder.name}", hint=hint)
        rows = np.array([place[trial] for trial in self.scores.trials])
        if (other.labels[rows] != self.scores.labels).any():
            raise UsageError(
                f"{self.against.folder.name} gives the trials other labels than {self.run.folder.name}", hint=hint
            )
        return TrialScores(self.scores.trials, other.labels[rows], other.logits[:, rows], other.probabilities[rows])


def _like(scores: TrialScores) -> str:
    return f"Trials are named like {scores.trials[0]}."


def _check_alike(run: StoredRun, other: StoredRun) -> None:
    """Conditions that only a newer run writes down are passed over; the trials are compared in any case."""
    ours, theirs = run.conditions, other.conditions
    differing = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    if differing:
        lines = "\n".join(f"  {key}: {_short(ours[key])} here, {_short(theirs[key])} there" for key in differing)
        raise UsageError(
            f"{other.folder.name} was made under other conditions than {run.folder.name}:\n{lines}",
            hint="Name a run that differs in its method or its seed alone.",
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
