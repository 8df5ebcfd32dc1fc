"""What a card says of recordings that no Python describes: where each stream's files are, and what is in them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from kdbench.data import names
from kdbench.data.protocol import CardModel
from kdbench.errors import shortened
from kdbench.text.wording import counted

TEXT = (".csv", ".txt", ".tsv")
ARRAYS = (".npy",)
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".wmv", ".flv")
DIGITS = "d"
_FIELD = re.compile(r"\{([^{}]*)\}")

Column = Annotated[int, Field(ge=-100_000, le=100_000)] | str
"""A column of a text file: its name in the first row, or its number from 0; -1 is the last one."""


def _path(pattern: str) -> str:
    names.inside(pattern)
    fields_of(pattern)
    if not pattern.lower().endswith((*TEXT, *ARRAYS, *VIDEOS)):
        raise ValueError(f"has another ending than {', '.join((*TEXT, *ARRAYS, *VIDEOS))}")
    return pattern


def fields_of(pattern: str) -> list[str]:
    """The placeholders of a pattern, in its order, each once.

    Raises:
        ValueError: One is no name, stands twice, or asks for more than digits (`{trial:d}`); or a brace is left over.
    """
    fields = []
    for field in _FIELD.findall(pattern):
        name, colon, kind = field.partition(":")
        names.word(name, "placeholder")
        if name in {"trial", "label"} or not name.isidentifier():
            raise ValueError(f"no placeholder may be called {name}")
        if colon and kind != DIGITS:
            raise ValueError(f"{{{shortened(field)}}} takes at most :d, for digits")
        if name in fields:
            raise ValueError(f"{{{name}}} stands twice")
        fields.append(name)
    if set(_FIELD.sub("", pattern)) & set("{}"):
        raise ValueError("a brace is left over")
    return fields


Pattern = Annotated[str, AfterValidator(_path)]
"""Path below the data set's folder: `{subject}/{action}_{n:d}.csv`; `*` stands for anything within a name."""


class TimeColumn(CardModel):
    """The column of a text file that says when a sample was taken.

    Attributes:
        column: Which.
        unit: Its unit; `datetime` for dates with a time of day, such as `2026-03-01 14:05:12.250`.
    """

    column: Column
    unit: Literal["s", "ms", "us", "ns", "datetime"] = "s"


class FileStream(CardModel):
    """The files of one source: a sensor, a skeleton or a view of the card.

    Attributes:
        path: Where its files are.
        columns: Which columns of a text file are its axes, in the card's order; None: those called as the axes are,
            or else all but the time, if there are as many as axes.
        separator: What lies between values; None: as the first row shows it.
        decimal: What stands before decimals; None: a comma counts where values lie between other marks.
        skip_rows: So many rows at the beginning are left out, beside one of names.
        time: The column of times; without it, samples are taken to be evenly spaced.
        clock: Streams that name the same clock are aligned by time, the others by their share of the trial's length.
            The clock of a video begins with its first frame, that of an array with its first sample.
        offset_s: Seconds that are added to its times.
        factor: What its values are multiplied by, to be in the card's unit.
        least_rows: Fewer samples than these make the trial a broken one.
        nan: What becomes of a row with a value that is missing or NaN: `refuse` makes the trial a broken one.
        crop: For a view: `whole` squeezes the frame to a square, `centre` takes the largest square around its centre.
        centre: For a skeleton: the joint whose median place in the trial becomes the origin.
        torso: For a skeleton: the two joints whose median distance becomes the unit of length.
    """

    path: Pattern
    columns: tuple[Column, ...] | None = Field(default=None, min_length=1)
    separator: Literal[",", ";", "\t", "|", " "] | None = None
    decimal: Literal[".", ","] | None = None
    skip_rows: int = Field(default=0, ge=0, le=1000)
    time: TimeColumn | None = None
    clock: str | None = None
    offset_s: float = Field(default=0.0, ge=-1e9, le=1e9)
    factor: float = 1.0
    least_rows: int = Field(default=2, ge=2, le=1_000_000)
    nan: Literal["refuse", "drop"] = "refuse"
    crop: Literal["whole", "centre"] = "whole"
    centre: str | None = None
    torso: tuple[str, str] | None = None

    @model_validator(mode="after")
    def _only_what_has_an_effect(self) -> FileStream:
        if not self.is_text:
            for key in ("columns", "separator", "decimal", "skip_rows", "time"):
                if getattr(self, key) not in (None, 0):
                    raise ValueError(f"{key} has no effect on {self.suffix} files")
        if self.is_video and (self.factor != 1 or self.nan != "refuse" or self.least_rows != 2):
            raise ValueError("factor, nan and least_rows have no effect on video")
        if not self.is_video and self.crop != "whole":
            raise ValueError(f"crop has no effect on {self.suffix} files")
        if self.offset_s and self.clock is None:
            raise ValueError("offset_s has no effect without a clock")
        if self.separator == "," and self.decimal == ",":
            raise ValueError("separator and decimal cannot both be a comma")
        if not self.factor or not math.isfinite(self.factor):
            raise ValueError("factor has to be a number other than 0")
        return self

    def body(self, joints: Sequence[str]) -> tuple[int | None, tuple[int, int] | None]:
        """Numbers of the joints of `centre` and `torso` among some joints."""
        centre = None if self.centre is None else joints.index(self.centre)
        return centre, None if self.torso is None else (joints.index(self.torso[0]), joints.index(self.torso[1]))

    @property
    def suffix(self) -> str:
        """The ending of its files, in small letters."""
        return PurePosixPath(self.path).suffix.lower()

    @property
    def is_text(self) -> bool:
        """Whether its files are rows of numbers."""
        return self.suffix in TEXT

    @property
    def is_video(self) -> bool:
        """Whether its files are video."""
        return self.suffix in VIDEOS


class Moments(CardModel):
    """Annotations that are moments, as an app notes them while it records: each ends the one before it.

    Attributes:
        label: The column of what begins.
        time: The column that says when, in the clock of the streams.
        stop: What is written, in small or capital letters, where nothing begins; so is a moment without a text.
    """

    label: Column = "text"
    time: TimeColumn = TimeColumn(column="seconds_elapsed")
    stop: tuple[str, ...] = ("stop", "end")


class Windows(CardModel):
    """Trials that are cut from continuous recordings.

    Attributes:
        seconds: How long a window is.
        stride_s: From the beginning of a window to that of the next.
        annotations: Where the annotations of a recording are: a text file with the columns `start`, `end` and `label`,
            in seconds of the clock that its streams share; or, with `moments`, one of moments.
        share: How much of a window one annotation has to cover at least, for the window to have its label; a window
            that none covers so far is no trial.
        moments: How a file of moments is read; what begins at one lasts until the next, or the recording's end.
    """

    seconds: float = Field(gt=0, le=3600)
    stride_s: float = Field(gt=0, le=3600)
    annotations: Pattern
    share: float = Field(default=0.9, gt=0.5, le=1)
    moments: Moments | None = Field(default=None, exclude_if=lambda value: value is None)

    @field_validator("annotations")
    @classmethod
    def _text(cls, path: str) -> str:
        if not path.lower().endswith(TEXT):
            raise ValueError(f"is no text file: expected one of {', '.join(TEXT)}")
        return path


class Overlap(CardModel):
    """How far streams of one clock have to agree.

    Attributes:
        least: The share of the longest of them that all have to cover.
        otherwise: `refuse` makes the trial a broken one; `share` aligns its streams by their share of its length.
        longest_gap_s: A longer pause, or step back, between two samples makes times as good as none; None allows all.
    """

    least: float = Field(default=0.5, gt=0, le=1)
    otherwise: Literal["refuse", "share"] = "refuse"
    longest_gap_s: float | None = Field(default=None, gt=0)


class Files(CardModel):
    """Where recordings are and how they are written.

    Attributes:
        folder: The data set's folder, seen from the card; None: `NAME/` in the folders that are searched for data.
        sources: The files of each sensor, skeleton and view of the card. All patterns have the same placeholders, which
            become columns of the index. Not every trial has to have a file of each.
        label: The placeholder that tells the class; None with `windows`, where annotations do.
        values: The class, by name or short name, of each value of `label` that is not written as the class is; numbers
            without zeros before them.
        trial: How a trial is called; None: the placeholders' values, with `_` between.
        windows: Cuts trials from longer recordings.
        overlap: How far streams of one clock have to agree.
    """

    folder: str | None = None
    sources: dict[str, FileStream] = Field(min_length=1)
    label: str | None = None
    values: dict[str, str] = Field(default_factory=dict)
    trial: str | None = None
    windows: Windows | None = None
    overlap: Overlap = Overlap()

    @field_validator("folder")
    @classmethod
    def _below_the_card(cls, folder: str | None) -> str | None:
        return folder if folder in (None, ".") else names.inside(str(folder))

    @property
    def columns(self) -> tuple[str, ...]:
        """The placeholders, in the order of the first pattern."""
        return tuple(fields_of(next(iter(self.sources.values())).path))

    @model_validator(mode="after")
    def _placeholders_agree(self) -> Files:
        columns = set(self.columns)
        patterns = {f"sources.{name}": stream.path for name, stream in self.sources.items()}
        if self.windows is not None:
            patterns["windows.annotations"] = self.windows.annotations
        for where, pattern in patterns.items():
            if set(fields_of(pattern)) != columns:
                raise ValueError(
                    f"{where}.path has the placeholders {_listed(fields_of(pattern))}, the first pattern "
                    f"{_listed(self.columns)}; they have to agree"
                )
        if not columns:
            raise ValueError("sources: no pattern has a placeholder, so that there is one trial alone")
        if self.trial is not None and set(names.fields_of(self.trial, columns)) != columns:
            raise ValueError(f"trial = '{shortened(self.trial)}' has to use every placeholder: {_listed(self.columns)}")
        return self

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> Files:
        if (self.windows is None) == (self.label is None):
            raise ValueError("give either label, a placeholder, or windows, whose annotations tell the classes")
        if self.label is not None and self.label not in self.columns:
            raise ValueError(f"label = '{shortened(self.label)}', expected one of {_listed(self.columns)}")
        if self.windows is not None and {"recording", "start_ms"} & set(self.columns):
            raise ValueError("with windows, no placeholder may be called recording or start_ms")
        return self

    @model_validator(mode="after")
    def _windows_have_a_clock(self) -> Files:
        clocks = {stream.clock for stream in self.sources.values()}
        if self.windows is not None and (None in clocks or len(clocks) > 1):
            raise ValueError(
                f"windows are cut by time: give all {counted(len(self.sources), 'source')} the same clock, that of the "
                "annotations"
            )
        return self


def _listed(fields: object) -> str:
    return ", ".join(f"{{{field}}}" for field in fields) or "none"  # type: ignore[attr-defined]
