"""Who has what: which sources each trial was recorded with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.data.card import SUBJECT
from kdbench.data.readers.base import Reader, Trial, natural_key
from kdbench.data.store.source import Source
from kdbench.types import VIDEO


@dataclass(frozen=True)
class RosterRow:
    """Trials that are counted together.

    Attributes:
        name: The subject, or the trial.
        trials: How many there are.
        having: How many of them have each source, by its name.
        whole: How many have all sources.
    """

    name: str
    trials: int
    having: dict[str, int]
    whole: int


@dataclass(frozen=True)
class Roster:
    """Who has what in a data set.

    Attributes:
        by: What a row is: `subject` or `trial`.
        sources: Sensors, skeletons, and views as `video:NAME`.
        rows: In natural order.
        total: All trials together.
    """

    by: str
    sources: tuple[str, ...]
    rows: tuple[RosterRow, ...]
    total: RosterRow


def roster(recordings: Source, *, by_trial: bool = False) -> Roster:
    """Counts the trials that have each source, without opening a recording.

    Args:
        recordings: Where they are.
        by_trial: A row for each trial, where subjects are known too.
    """
    card, reader = recordings.card, recordings.reader
    there = recordings.views if card.files is None else tuple(card.views)
    sources = (*card.sensors, *card.skeletons, *(f"{VIDEO}:{view}" for view in there))
    trials = reader.trials()
    subjects = not by_trial and all(SUBJECT in trial.columns for trial in trials)
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(str(trial.columns[SUBJECT]) if subjects else trial.id, []).append(trial)
    lacks = {trial.id: reader.lacks(trial) | _missing(recordings, trial) for trial in trials}

    def row(name: str, counted: Sequence[Trial]) -> RosterRow:
        having = {source: sum(source not in lacks[trial.id] for trial in counted) for source in sources}
        return RosterRow(name, len(counted), having, sum(not lacks[trial.id] for trial in counted))

    rows = tuple(row(name, groups[name]) for name in sorted(groups, key=natural_key))
    return Roster(SUBJECT if subjects else "trial", sources, rows, row("all", trials))


def _missing(recordings: Source, trial: Trial) -> frozenset[str]:
    """The sources whose file, by the card's template, is not there; such a trial is a broken one."""
    card, root = recordings.card, recordings.root
    if root is None or recordings.packed is not None or type(recordings.reader).files is not Reader.files:
        return frozenset()
    templates = {name: sensor.file for name, sensor in card.sensors.items()}
    templates |= {name: skeleton.file for name, skeleton in card.skeletons.items()}
    templates |= {f"{VIDEO}:{name}": card.views[name].file for name in recordings.views}
    named = {name: template.format(trial=trial.id) for name, template in templates.items() if template is not None}
    return frozenset(name for name, path in named.items() if not (root / path).is_file())
