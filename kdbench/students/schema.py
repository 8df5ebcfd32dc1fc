"""What an `export.json` holds: everything that is needed to ask a student, and how well it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
"""Raised whenever a key changes its meaning."""
RECORD = "export.json"
CARD = "model_card.md"
FORMATS = ("onnx", "torch", "litert")
Format = Literal["onnx", "torch", "litert"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Positive = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """Of an export: strict, and complete."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class ClassName(Part):
    """One class.

    Attributes:
        name: The official name.
        short: A short one, for tables.
    """

    name: str
    short: str


class TimeOf(Part):
    """The column of a file that says when a sample was taken.

    Attributes:
        column: Its name, or its number from 0.
        unit: `s`, `ms`, `us`, `ns`, or `datetime`.
    """

    column: int | str
    unit: Literal["s", "ms", "us", "ns", "datetime"] = "s"


class SeriesFile(Part):
    """How files of a series are read: as the card says, of which the student has learnt.

    Attributes:
        ending: Of the files that this is true of; those of rows of text are alike.
        columns: Columns of the axes in their order, by name or number; null: those called as the axes are, or else all
            but the time.
        separator: What lies between values; null: as the first row shows it.
        decimal: What stands before decimals; null: a comma where values lie between other marks.
        skip_rows: So many rows at the beginning are left out, beside one of names.
        time: The column of times, by which samples are evened; null without one.
        factor: What values are multiplied by, to be in the input's unit.
        least_rows: Fewer samples than these are refused.
        nan: Whether rows with a value that is missing are refused (`refuse`) or left out (`drop`).
        longest_gap_s: Times that pause for longer, or step back by more, are not relied on; null relies on all.
    """

    ending: str
    columns: list[int | str] | None = None
    separator: str | None = None
    decimal: str | None = None
    skip_rows: int = 0
    time: TimeOf | None = None
    factor: float = 1.0
    least_rows: int = 2
    nan: Literal["refuse", "drop"] = "refuse"
    longest_gap_s: float | None = None


class Body(Part):
    """What joints are made relative to, over the whole recording.

    Attributes:
        centre: Number of the joint whose median place becomes the origin; null leaves it.
        torso: Numbers of the two joints whose median distance becomes the unit of length; null leaves it.
    """

    centre: int | None
    torso: list[int] | None = Field(min_length=2, max_length=2)

    @property
    def joints(self) -> tuple[int | None, tuple[int, int] | None]:
        """As `kdbench.data.readers.body.relative` takes them."""
        return self.centre, None if self.torso is None else (self.torso[0], self.torso[1])


class SeriesInput(Part):
    """A sensor or a skeleton.

    Attributes:
        type: `series`.
        source: Its name.
        tensor: What the program calls it.
        kind: What a recording of it is, by a name of `kdbench.data.readers.kinds`.
        axes: Names of the axes, in their order.
        unit: Unit of the recorded values.
        rate_hz: Samples a second.
        placement: Where it is worn.
        samples: To how many the series is resampled, over the whole recording; null keeps them.
        typical_size: Median over the training part of the length of the vector of a sample, in `unit`; null where the
            kind changes the units.
        variable: Name of the array in MATLAB files.
        columns: Columns of the array that are these axes; null: all.
        needs_trial: What of the preprocessing is computed over the whole recording.
        file: How files of it are read; null where the data set's own reader reads them, and none is described.
        body: What joints are made relative to; null where they are taken as they are.
    """

    type: Literal["series"] = "series"
    source: str
    tensor: str
    kind: str
    axes: list[str] = Field(min_length=1)
    unit: str
    rate_hz: Positive
    placement: str
    samples: int | None = Field(ge=2)
    typical_size: float | None
    variable: str | None
    columns: list[int] | None
    needs_trial: list[str]
    file: SeriesFile | None = None
    body: Body | None = None


class VideoInput(Part):
    """A view.

    Attributes:
        type: `video`.
        source: `video`, or `video:NAME` of a further view.
        tensor: What the program calls it.
        view: Name of the view.
        kind: As for a series.
        unit: Unit of the recorded values.
        rate_hz: Frames a second.
        height: Rows of a recorded frame.
        width: Columns of a recorded frame.
        channels: Of the clip that the network takes.
        frames: How many frames are taken, at the centres of equal parts of the recording.
        frame_size: Height and width of the clip that the network takes, pixels; resized by Pillow's bilinear filter.
        parameters: Constants of the kind.
        crop: How a square is cut from a frame, in words.
        variable: As for a series.
        needs_trial: As for a series.
    """

    type: Literal["video"] = "video"
    source: str
    tensor: str
    view: str
    kind: str
    unit: str
    rate_hz: Positive
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    channels: int = Field(ge=1)
    frames: int = Field(ge=1)
    frame_size: int = Field(ge=1)
    parameters: dict[str, Any]
    crop: str
    variable: str | None
    needs_trial: list[str]


Input = Annotated[SeriesInput | VideoInput, Field(discriminator="type")]


class Program(Part):
    """The network as it is run.

    Attributes:
        file: `model.onnx`, `model.safetensors` or `model.tflite`.
        opset: Version of ONNX's operators; null for all else.
        network: What the network is rebuilt from, of torch; null for all else.
        needs: Packages that run it.
    """

    file: FileName
    opset: int | None = None
    network: dict[str, Any] | None = None
    needs: list[str]


class Parity(Part):
    """How the export's predictions stand to those that the run has stored.

    Attributes:
        trials: How many were predicted.
        part: Of the data set.
        inputs: What the predictions were made of: `files`, `series`, or `prepared` clips.
        largest_difference: Of any logit.
        tolerance: The most that is allowed.
        argmax_equal: Whether all predicted classes are the same.
    """

    trials: int
    part: str
    inputs: dict[str, str]
    largest_difference: float
    tolerance: float
    argmax_equal: bool


class Latency(Part):
    """Of one recording, median processor time of the thread that computes: that of a core of its own.

    Attributes:
        network_ms: The program alone.
        preprocessing_ms: What comes before it, from arrays in memory; null where no recording was at hand.
        threads: On which it computed.
        runtime: What ran it, with its version.
        processor: Kind of processor.
    """

    network_ms: float
    preprocessing_ms: float | None
    threads: int
    runtime: str
    processor: str


class Window(Part):
    """For streams.

    Attributes:
        seconds: Median length of a recording of the training part.
    """

    seconds: Positive


class Scores(Part):
    """On the reported part.

    Attributes:
        accuracy: Share of trials that are right.
        macro_f1: Mean over classes.
    """

    accuracy: float
    macro_f1: float


class Causal(Part):
    """What preprocessing that knows no future costs, on the reported part.

    Attributes:
        trials: How many were predicted.
        method: What takes the place of the preprocessing over the whole recording.
        whole: Scores with the preprocessing over the whole recording.
        running: Scores without the future, of whole recordings.
        windows: Scores of the last smoothed window of each recording, as a stream gives it.
        smoothing: Weight of the newest window in the stream's average.
        window_seconds: Of a window.
        stride_seconds: Between windows.
    """

    trials: int
    method: str
    whole: Scores
    running: Scores
    windows: Scores
    smoothing: float
    window_seconds: float
    stride_seconds: float


class Alone(Part):
    """Of a data set whose files are longer than its trials: what whole files say, which nothing cuts by a clock.

    Attributes:
        trials: How many trials of the reported part were predicted by whole files.
        scores: On them.
        agreement: Share of the trials for which the class is that of the run.
    """

    trials: int
    scores: Scores
    agreement: float


class Int8(Part):
    """The same network in 8 bits.

    Attributes:
        file: Its file.
        method: How it was quantised.
        calibration: Trials of the training part that it was calibrated with.
        size_bytes: Of the file.
        scores: On the reported part.
        agreement: Share of the trials for which it predicts the same class as in 32 bits.
        largest_difference: Of any logit.
        network_ms: As for `Latency`.
        network_ms_in_32_bits: The same of the network in 32 bits, called in turn.
    """

    file: FileName
    method: str
    calibration: int
    size_bytes: int
    scores: Scores
    agreement: float
    largest_difference: float
    network_ms: float
    network_ms_in_32_bits: float


class Export(Part):
    """An `export.json`.

    Attributes:
        schema_version: Version of this form.
        kdbench: Version that wrote it.
        format: `onnx`, `torch` or `litert`.
        program: The network.
        classes: In the order of the logits.
        inputs: What the student sees, in the order of the program's inputs.
        window: For streams.
        files: sha256 of every other file of the export.
        parity: With the run's stored predictions.
        size_bytes: Of the program's file.
        parameters: Of the network.
        flops: Of one recording; a multiply-add counts as two.
        latency: Of one recording.
        scores: Of the run, on the reported part.
        causal: Null unless it was measured.
        alone: What whole files say; null where trials are whole files, or windows of them.
        int8: Null unless it was made.
        run: What the student was trained by: method, data set, protocol, preset, seed.
        conditions: Of the run's numbers.
        sha256: Hash of everything above.
    """

    schema_version: Literal[1]
    kdbench: str
    format: Format
    program: Program
    classes: list[ClassName] = Field(min_length=1)
    inputs: list[Input] = Field(min_length=1)
    window: Window
    files: dict[FileName, Sha256]
    parity: Parity
    size_bytes: int
    parameters: int
    flops: int
    latency: Latency
    scores: Scores
    causal: Causal | None
    alone: Alone | None = None
    int8: Int8 | None
    run: dict[str, Any]
    conditions: dict[str, Any]
    sha256: Sha256

    @model_validator(mode="after")
    def _names_its_files(self) -> Export:
        named = [self.program.file, CARD, *([self.int8.file] if self.int8 else [])]
        if missing := [name for name in named if name not in self.files]:
            raise ValueError(f"files lacks the hash of {', '.join(missing)}")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The official names, in the order of the logits."""
        return tuple(entry.name for entry in self.classes)

    @property
    def needs_trial(self) -> Mapping[str, list[str]]:
        """What of the preprocessing is computed over the whole recording, by source; empty where nothing is."""
        return {entry.source: list(entry.needs_trial) for entry in self.inputs if entry.needs_trial}
