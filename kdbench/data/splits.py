"""Splits: a card's rule applied to a trial index, and the proof that nothing leaks from one part into another."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kdbench.data.card import Card
from kdbench.data.protocol import ProtocolRule, Validation, Value
from kdbench.errors import UsageError, unknown
from kdbench.text.wording import counted, inflected
from kdbench.util.seeds import seed_for

if TYPE_CHECKING:
    import pandas as pd

_APART = "Mend the protocol in the card, so that its parts have nothing in common."


@dataclass(frozen=True)
class Split:
    """The trial ids of each part, in the order of the index; `validation` is empty where none was asked for."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A short hash of which trials are in which part: a rule behind a protocol's name may be edited."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:10]

    def parts(self) -> dict[str, tuple[str, ...]]:
        """The parts that hold trials, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: trials for name, trials in named.items() if trials}


def protocol_names(card: Card) -> list[str]:
    """Every protocol of a card, templates filled in: `loso_{subject}` gives `loso_1`, `loso_2` and so on."""
    return list(_rules(card))


def rule_of(card: Card, protocol: str) -> ProtocolRule:
    """The rule of a protocol, its template filled in.

    Raises:
        UsageError: No such protocol.
    """
    rules = _rules(card)
    if protocol not in rules:
        raise unknown("protocol", protocol, rules, hint=f"See them: kdbench describe {card.typed}")
    return rules[protocol]


def split(card: Card, index: pd.DataFrame, protocol: str, *, validation: bool, seed: int) -> Split:
    """Applies a protocol of the card to a trial index.

    Args:
        card: The data set's card.
        index: One row per trial: `trial`, `label`, and the columns that the rules name.
        protocol: Name of a protocol, such as `cross_subject` or `loso_3`.
        validation: Cut a validation part from the training part.
        seed: The run's seed. Where a rule draws the validation part, the draw depends on the names of the data set and
            the protocol and on this seed, and on nothing else.

    Raises:
        UsageError: No such protocol, a rule names a column or value that is not there, a part is empty or has a single
            class, or a trial or a value of a `disjoint` column is in two parts.
    """
    rule = rule_of(card, protocol)
    where = f"protocol '{protocol}' of '{card.name}'"
    test = _matching(index, rule.test, where)
    train = ~test if rule.train is None else _matching(index, rule.train, where)
    held_out = train & False
    if validation:
        drawn = _held_out(index[train], rule.validation, where, seed_for("split", card.name, protocol, seed))
        held_out = index["trial"].isin(drawn)
        train = train & ~held_out
    result = Split(*(tuple(index.loc[rows, "trial"]) for rows in (train, held_out, test)))
    _check_classes(result, index, where, card.typed, validation=validation)
    check_disjoint(result, index, rule.disjoint, where)
    return result


def check_disjoint(split: Split, index: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Proves that no trial, and no value of the given columns, is in two parts.

    Raises:
        UsageError: One is; it is named with the two parts.
    """
    by_trial = index.set_index("trial")
    parts = split.parts()
    for (first, a), (second, b) in itertools.combinations(parts.items(), 2):
        shared = set(a) & set(b)
        if shared:
            raise UsageError(
                f"{where} leaks: trial {min(shared)} is in {first} and in {second} (so "
                f"{inflected(len(shared), 'is')} {counted(len(shared), 'trial')})",
                hint=_APART,
            )
        for column in columns:
            if column not in by_trial.columns:
                raise unknown(
                    f"disjoint column in {where}", column, by_trial.columns, hint="Mend the protocol in the card."
                )
            common = set(by_trial.loc[list(a), column]) & set(by_trial.loc[list(b), column])
            if common:
                values = ", ".join(map(str, sorted(common)))
                raise UsageError(f"{where} leaks: {column} {values} is in {first} and in {second}", hint=_APART)


def _rules(card: Card) -> dict[str, ProtocolRule]:
    rules: dict[str, ProtocolRule] = {}
    for name, rule in card.protocols.items():
        if not rule.each:
            rules[name] = rule
        for column, values in rule.each.items():
            for value in values:
                rules[name.format(**{column: value})] = _filled(rule, column, value)
    return rules


def _filled(rule: ProtocolRule, column: str, value: Value) -> ProtocolRule:
    def fill(wanted: Mapping[str, tuple[Value, ...]] | None) -> dict[str, tuple[Value, ...]] | None:
        if wanted is None:
            return None
        return {key: tuple(value if v == f"{{{column}}}" else v for v in values) for key, values in wanted.items()}

    test = fill(rule.test)
    assert test is not None
    validation = rule.validation.model_copy(update={"where": fill(rule.validation.where)})
    return rule.model_copy(update={"test": test, "train": fill(rule.train), "validation": validation, "each": {}})


def _matching(index: pd.DataFrame, wanted: Mapping[str, tuple[Value, ...]], where: str) -> pd.Series:
    rows = index["trial"].notna()
    for column, values in wanted.items():
        if column not in index.columns:
            raise unknown(f"column in {where}", column, index.columns, hint="Mend the protocol in the card.")
        rows &= index[column].isin(values)
    return rows


def _held_out(train: pd.DataFrame, rule: Validation, where: str, seed: int) -> set[str]:
    if rule.where is not None:
        return set(train.loc[_matching(train, rule.where, where), "trial"])
    draw = random.Random(seed)
    if rule.draw is not None:
        rows = _matching(train, {}, where)
        for column, count in rule.draw.items():
            _matching(train, {column: ()}, where)
            values = sorted(set(train[column]))
            rows &= train[column].isin(draw.sample(values, min(count, len(values))))
        return set(train.loc[rows, "trial"])
    unit = rule.whole or "trial"
    _matching(train, {unit: ()}, where)
    drawn: set[str] = set()
    for _, group in train.groupby("label", sort=True):
        units = sorted(set(group[unit]))
        drawn.update(draw.sample(units, math.ceil(float(rule.share or 0) * len(units))))
    return set(train.loc[train[unit].isin(drawn), "trial"])


def _check_classes(split: Split, index: pd.DataFrame, where: str, name: str, *, validation: bool) -> None:
    labels = index.set_index("trial")["label"]
    wanted = {"train": split.train, "test": split.test} | ({"validation": split.validation} if validation else {})
    for part, trials in wanted.items():
        classes = set(labels.loc[list(trials)])
        if len(classes) > 1:
            continue
        of_one = f"a single class ({counted(len(trials), 'trial')} of label"
        problem = f"{of_one} {classes.pop()})" if classes else "no trials"
        raise UsageError(
            f"{where}: the {part} part has {problem}, expected at least two classes",
            hint=f"Check the protocol's rule in the card, and that no trials are missing: kdbench data verify {name}",
        )
