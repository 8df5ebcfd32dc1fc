"""A data set's card: what it is, where it comes from, how its files are named, and who trains and tests.

A card is a YAML file, `datasets/NAME/card.yaml`. It holds facts only; the reader that it names knows the file formats.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from kdbench.data import names
from kdbench.data.protocol import CardModel, ProtocolRule, Validation, Value
from kdbench.data.recorded import Files
from kdbench.data.recorded_fit import check_files, check_windows
from kdbench.data.sources import Beside, OneLine, Sensor, Skeleton, View
from kdbench.errors import UsageError, near_misses, shortened, unknown
from kdbench.registry import registry
from kdbench.registry.origin import Origin
from kdbench.text.wording import counted
from kdbench.types import VIDEO
from kdbench.util import paths
from kdbench.util.validation import checked, found

SUBJECT = "subject"
"""The column of a card's trials that says who performs them."""
MOST_TRIALS = 200_000
Metric = Literal["accuracy", "macro_f1", "weighted_f1", "map"]


class ClassName(CardModel):
    """One class.

    Attributes:
        name: The official name; label vectors are made from it.
        short: A short name for tables and plots.
        group: The group of similar classes that it belongs to, for losses of groups; all classes have one, or none.
    """

    name: OneLine
    short: OneLine
    group: OneLine | None = None


class Trials(CardModel):
    """Which trials there are: every combination of the columns' values, less the missing ones.

    Attributes:
        id: Template of a trial id, for example `a{action}_s{subject}_t{repetition}`.
        columns: Values of each column; an integer n stands for 1 … n.
        label: The column whose values, in order, are the classes.
        missing: Ids that the data set never had.
    """

    id: str
    columns: dict[str, tuple[Value, ...]]
    label: str
    missing: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _counts(cls, data: Any) -> Any:
        columns = data.get("columns") if isinstance(data, Mapping) else None
        if not isinstance(columns, Mapping):
            return data
        for key, value in columns.items():
            if isinstance(value, int) and (isinstance(value, bool) or not 1 <= value <= MOST_TRIALS):
                raise ValueError(
                    f"columns.{shortened(str(key))} = {found(value)}: expected 1 to {MOST_TRIALS:,} or a list"
                )
        counts = {key: tuple(range(1, v + 1)) if isinstance(v, int) else v for key, v in columns.items()}
        return {**data, "columns": counts}

    @model_validator(mode="after")
    def _consistent(self) -> Trials:
        fields = set(names.fields_of(self.id, self.columns))
        if fields != set(self.columns):
            raise ValueError(f"id uses {sorted(fields)}, columns are {sorted(self.columns)}; they have to agree")
        if self.label not in self.columns:
            raise ValueError(f"label is '{self.label}', expected one of the columns {sorted(self.columns)}")
        for column, values in self.columns.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"columns.{names.word(column, 'column')} needs values, each once")
            if column in {"trial", "label"}:
                raise ValueError(f"no column may be called {column}")
        if math.prod(map(len, self.columns.values())) > MOST_TRIALS:
            raise ValueError(f"the columns make more than {MOST_TRIALS:,} trials")
        for column in dict.fromkeys(fields):
            numbered = f"{{{column}:" in self.id and "d}" in self.id.partition(f"{{{column}:")[2][:4]
            if numbered and any(isinstance(value, str) for value in self.columns[column]):
                raise ValueError(f"id writes {column} as a number, and columns.{column} holds text")
        self._ids_name_files()
        return self

    def _ids_name_files(self) -> None:
        """Ids become names of files; each value is tried once, with the first ones of the other columns."""
        first = {column: values[0] for column, values in self.columns.items()}
        for column, values in self.columns.items():
            for value in values:
                name = self.id.format(**first | {column: value})
                if why := names.fault_of(name):
                    raise ValueError(f"id gives the trial '{shortened(name)}', which {why}")


class Archive(CardModel):
    """One zip archive to download.

    Attributes:
        urls: Its addresses, tried in this order.
        holds: The folder of the data set that its files belong in.
        bytes: Its size.
        sha256: Its hash. Without it, the manifest has to vouch for each of the files.
    """

    urls: tuple[str, ...] = Field(min_length=1)
    holds: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @field_validator("urls")
    @classmethod
    def _web_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not re.match(r"https?://[^/\s]+/\S", url):
                raise ValueError(f"'{url}' is not an https or http address of a file")
        return urls


class Download(CardModel):
    """Where the recordings are to be had.

    Attributes:
        page: The authors' page.
        note: What one should know before.
        archives: The files.
        request: How to ask for them, where they are given out on request alone, and where to put them.
    """

    page: str
    note: str = ""
    archives: tuple[Archive, ...] = ()
    request: str = ""


class Card(CardModel):
    """Everything that kdbench knows of a data set without opening its files.

    Attributes:
        name: The name on the command line, and of the folder that holds the recordings.
        title: The full name.
        version: Version of the recordings.
        reader: Name of the reader in the registry of data sets.
        recordings: The data set whose folder holds the recordings, where that is another reading of the same ones.
        citation: The paper to cite.
        licence: What one may do with the recordings.
        download: Where to get them; None where they are generated.
        manifest: File of sha256 hashes beside the card, in the format of `sha256sum`.
        label_vectors: Name of the table of label vectors beside the card, `label_vectors_<name>.csv`.
        classes: The classes in the order of their labels.
        trials: Which trials there are; None where the reader decides.
        files: Where the files are and how they are written, for the reader that goes by it.
        sensors: The wearable sensors by name.
        skeletons: Series of joints by name; a network sees one only where its recipe names it.
        views: The video views by name, the preferred one first.
        protocols: The splits by name.
        options: Knobs of a generated data set, with their defaults.
        metric: What its results are ranked and searched by, unless a command asks for another.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    version: str
    reader: str
    recordings: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    citation: str = ""
    licence: str = ""
    download: Download | None = None
    manifest: Beside | None = None
    label_vectors: Beside | None = None
    classes: tuple[ClassName, ...] = Field(min_length=1)
    trials: Trials | None = None
    files: Files | None = None
    sensors: dict[str, Sensor] = Field(min_length=1)
    skeletons: dict[str, Skeleton] = Field(default_factory=dict)
    views: dict[str, View] = Field(default_factory=dict)
    protocols: dict[str, ProtocolRule] = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)
    metric: Metric = "accuracy"
    _folder: Path = PrivateAttr(default=Path())
    _given: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _a_class_a_label(self) -> Card:
        if self.trials is not None:
            values, classes = len(self.trials.columns[self.trials.label]), len(self.classes)
            if values != classes:
                raise ValueError(f"{counted(classes, 'class')} for {counted(values, 'value')} of '{self.trials.label}'")
        return self

    @field_validator("sensors", "skeletons", "views")
    @classmethod
    def _plain_names(cls, entries: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for name in entries:
            names.word(name, str(info.field_name).removesuffix("s"))
        return entries

    @model_validator(mode="after")
    def _a_name_a_source(self) -> Card:
        for name in self.skeletons:
            if name in self.sensors or name == VIDEO:
                raise ValueError(f"skeletons: '{name}' is the name of another source")
        if VIDEO in self.sensors:
            raise ValueError(f"sensors: no sensor may be called {VIDEO}")
        return self

    @model_validator(mode="after")
    def _files_fit(self) -> Card:
        if self.files is None:
            return self
        if self.trials is not None:
            raise ValueError("trials and files: the files tell which trials there are; leave trials out")
        check_files(self.files, self.sensors, self.skeletons, self.views)
        for name in self.files.values.values():
            if self._label_of(name) is None:
                raise ValueError(f"files.values: '{shortened(name)}' is no class{near_misses(name, self.short_names)}")
        if self.files.windows is not None:
            check_windows(self.protocols, SUBJECT)
        return self

    @model_validator(mode="after")
    def _protocols_fit(self) -> Card:
        known = [] if self.trials is None else [*self.trials.columns, "trial"]
        if self.files is not None:
            known = [*self.files.columns, "trial", *(["recording", "start_ms"] if self.files.windows else [])]
        for name, rule in self.protocols.items():
            try:
                fields = names.fields_of(name, rule.each)
            except ValueError as error:
                raise ValueError(f"protocols.{shortened(name)}: its name {error}") from None
            if set(fields) != set(rule.each):
                raise ValueError(f"protocols.{shortened(name)}: each names {', '.join(rule.each)}, its name does not")
            values = [value for values in rule.each.values() for value in values] or [""]
            for value in values:
                filled = name.format(**dict.fromkeys(rule.each, value))
                if why := names.fault_of(filled):
                    raise ValueError(f"protocols: the name '{shortened(filled)}' {why}")
            for key, column in rule.columns() if known else ():
                if column not in known:
                    raise ValueError(
                        f"protocols.{name}.{key}: unknown column '{shortened(column)}'{near_misses(column, known)}"
                    )
        return self

    @model_validator(mode="after")
    def _all_grouped_or_none(self) -> Card:
        without = [entry.short for entry in self.classes if entry.group is None]
        if without and len(without) < len(self.classes):
            raise ValueError(f"classes without a group: {', '.join(without)}; give every class one, or none")
        return self

    @model_validator(mode="after")
    def _absent_classes_exist(self) -> Card:
        for name, rule in self.protocols.items():
            for key, absent in (("absent", rule.absent), ("validation.absent", rule.validation.absent)):
                for wanted in absent:
                    if self._label_of(wanted) is None:
                        raise ValueError(
                            f"protocols.{name}.{key}: {wanted!r} is none of the {counted(len(self.classes), 'class')}"
                        )
        return self

    def _label_of(self, wanted: Value) -> int | None:
        if isinstance(wanted, int):
            return wanted if 0 <= wanted < len(self.classes) else None
        named = (label for label, entry in enumerate(self.classes) if wanted in {entry.name, entry.short})
        return next(named, None)

    def absent_labels(self, rule: ProtocolRule | Validation) -> frozenset[int]:
        """Labels of the classes that a protocol declares its test part, or its validation part, never to show."""
        return frozenset(label for wanted in rule.absent if (label := self._label_of(wanted)) is not None)

    @property
    def folder(self) -> Path:
        """The folder that the card lies in, for the files beside it."""
        return self._folder

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the folders that may hold the recordings: the data set's own, then the one that it shares."""
        return tuple(filter(None, (self.name, self.recordings)))

    @property
    def typed(self) -> str:
        """What a command is given for this data set: its name, or the path of its card, quoted for a shell."""
        return shlex.quote(self._given or self.name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The official class names in the order of their labels."""
        return tuple(entry.name for entry in self.classes)

    @property
    def short_names(self) -> tuple[str, ...]:
        """The short class names in the order of their labels."""
        return tuple(entry.short for entry in self.classes)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups of classes in the order in which the classes name them; empty where the card has none."""
        return tuple(dict.fromkeys(entry.group for entry in self.classes if entry.group is not None))

    @property
    def class_groups(self) -> tuple[int, ...]:
        """The position in `group_names` of each class's group, in the order of the labels; empty without groups."""
        names = self.group_names
        return tuple(names.index(entry.group) for entry in self.classes if entry.group is not None)


def load_card(name_or_path: str | Path) -> Card:
    """Loads the card of a registered data set, or one's own card file.

    Args:
        name_or_path: A name such as `utd_mhad`, or the path of a `card.yaml`.

    Raises:
        UsageError: No such data set (the near misses are named), or the card is not valid (file and key are named).
    """
    name = str(name_or_path)
    path = _card_path(name)
    content = paths.read_mapping(path, "card")
    meaning = f"Mend it in {path}; docs/own-data.md says what the keys mean."
    card = checked(Card, content, f"the card {path}", hint=meaning)
    readers = registry("dataset")
    if not readers.has(card.reader):
        hint = f"Mend it in {path}: files is for recordings that no Python describes. One of your own: --plugin FILE.py"
        raise unknown(f"reader in the card {path}", card.reader, ("files", *readers.origins()), hint=hint)
    prefix, colon, plain = name.partition(":")
    if colon and prefix and card.reader == plain:
        card = card.model_copy(update={"reader": name})
    card._folder = path.parent
    card._given = name
    return card


def name_of(name_or_path: str) -> str:
    """What runs on a data set call it: the name in its card, where the card's file is given.

    Raises:
        UsageError: As of `load_card`, of a file alone; a name need not exist.
    """
    is_file = name_or_path.endswith((".yaml", ".yml"))
    return load_card(name_or_path).name if is_file else name_or_path


def _card_path(name: str) -> Path:
    if name and paths.is_folder(Path(name)) and name not in registry("dataset").names():
        card = Path(name) / "card.yaml"
        there = f"Name it: {shlex.quote(str(card))}" if paths.is_file(card) else None
        raise UsageError(
            f"{shortened(name, 200)} is a folder, and a data set is named by its card",
            hint=there or f"Let kdbench write one: kdbench data init {shlex.quote(name)}",
        )
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        path = Path(name).expanduser()
        if not paths.is_file(path):
            raise UsageError(
                f"there is no card file {shortened(str(path), 200)}", hint="See the known data sets: kdbench data list"
            )
        return path
    return card_of(registry("dataset").origin(name))


def card_of(origin: Origin) -> Path:
    """The card of a registered data set.

    Raises:
        UsageError: Its distribution does not bring one.
    """
    if origin.built_in:
        path = paths.folder("datasets") / origin.name / "card.yaml"
        if not paths.is_file(path):
            raise UsageError(
                f"'{origin.name}' is a reader of one's own recordings and no data set",
                hint="Name the card: the path of its YAML file. Write one: kdbench data init FOLDER",
            )
        return path
    return origin.beside("card.yaml")
