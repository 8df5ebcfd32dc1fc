"""What a data set's card says of its sources: wearable sensors, a body's joints, video views."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from kdbench.data import names
from kdbench.data.protocol import CardModel
from kdbench.errors import near_misses, shortened
from kdbench.text.wording import counted
from kdbench.types import JointGraph


def _file(template: str) -> str:
    names.fields_of(template, ["trial"])
    return names.inside(template)


def _beside(name: str) -> str:
    if why := names.fault_of(name):
        raise ValueError(f"{why}: expected the name of a file beside the card")
    return name


def _one_line(text: str) -> str:
    if bad := next((character for character in text if not character.isprintable()), ""):
        raise ValueError(f"holds {bad!r}: expected one line of text")
    return text


File = Annotated[str, AfterValidator(_file)]
"""Path of a trial's file, in which `{trial}` stands for the id."""
Beside = Annotated[str, AfterValidator(_beside)]
OneLine = Annotated[str, AfterValidator(_one_line), Field(min_length=1, max_length=200)]


class Sensor(CardModel):
    """One wearable sensor.

    Attributes:
        axes: Names of the axes, in the order of the array's columns.
        unit: Physical unit of the values.
        rate_hz: Sampling rate.
        placement: Where it is worn.
        file: Path of a trial's file below the data set's folder; `{trial}` stands for the id. None: generated.
        variable: Name of the array in the file.
        columns: The array's columns that belong to this sensor.
    """

    axes: tuple[str, ...] = Field(min_length=1)
    unit: str
    rate_hz: float = Field(gt=0, le=1e9)
    placement: str = ""
    file: File | None = None
    variable: str | None = None
    columns: tuple[Annotated[int, Field(ge=0, le=100_000)], ...] | None = None

    @model_validator(mode="after")
    def _a_column_an_axis(self) -> Sensor:
        if self.columns is not None and len(self.columns) != len(self.axes):
            raise ValueError(f"{counted(len(self.axes), 'axis', 'axes')} for {counted(len(self.columns), 'column')}")
        return self


class Skeleton(CardModel):
    """Positions of a body's joints over time, which a network sees as a series where its recipe asks for them.

    Each joint has x, y and z as the reader makes them; y is vertical.

    Attributes:
        joints: Names of the joints, in the order of the file.
        bones: Pairs of joints that a bone connects, each from the nearer to the trunk to the farther, by name.
        rate_hz: Nominal rate.
        unit: Unit of the positions in the file.
        file: As for a sensor.
        variable: As for a sensor.
        scale: What the reader makes of the positions.
    """

    joints: tuple[str, ...] = Field(min_length=2)
    bones: tuple[tuple[str, str], ...] = ()
    rate_hz: float = Field(gt=0, le=1e9)
    unit: str = "m"
    file: File | None = None
    variable: str | None = None
    scale: str = ""

    @model_validator(mode="after")
    def _bones_join_joints(self) -> Skeleton:
        if len(set(self.joints)) < len(self.joints):
            raise ValueError("joints need a name each")
        for bone in self.bones:
            for joint in bone:
                if joint not in self.joints:
                    raise ValueError(f"bones: unknown joint '{shortened(joint)}'{near_misses(joint, self.joints)}")
        return self

    @property
    def graph(self) -> JointGraph:
        """Its joints and bones, as parts of networks take them."""
        bones = tuple((self.joints.index(first), self.joints.index(second)) for first, second in self.bones)
        return JointGraph(self.joints, bones)

    @property
    def sensor(self) -> Sensor:
        """As a series: three axes a joint, joint by joint."""
        axes = tuple(f"{joint} {axis}" for joint in self.joints for axis in "xyz")
        return Sensor(
            axes=axes,
            unit=self.unit,
            rate_hz=self.rate_hz,
            placement=self.scale,
            file=self.file,
            variable=self.variable,
        )


class View(CardModel):
    """One video view.

    Attributes:
        channels: 1 for depth, 3 for colour.
        rate_hz: Nominal frame rate.
        unit: Unit of the pixel values in the file.
        height: Rows of a recorded frame.
        width: Columns of a recorded frame.
        file: As for a sensor.
        variable: As for a sensor.
        crop: How a square is cut from the frame, for the reader of the card.
    """

    channels: int = Field(ge=1, le=16)
    rate_hz: float = Field(gt=0, le=1e9)
    unit: str = ""
    height: int = Field(ge=1, le=100_000)
    width: int = Field(ge=1, le=100_000)
    file: File | None = None
    variable: str | None = None
    crop: str = ""
