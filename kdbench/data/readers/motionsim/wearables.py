"""What the person wears: the sets of devices that the data set can be generated with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from kdbench.data.readers.motionsim.imu import Placement, inertial, measured, orientation
from kdbench.data.readers.motionsim.kinematics import forward
from kdbench.data.readers.motionsim.motion import Motion
from kdbench.data.readers.motionsim.people import Performer
from kdbench.data.sources import Sensor

AXES = dict.fromkeys(("accelerometer", "gyroscope"), ("x", "y", "z")) | {"orientation": ("azimuth", "pitch", "roll")}
UNITS = {"accelerometer": "g", "gyroscope": "deg/s", "orientation": "deg"}


@dataclass(frozen=True)
class Device:
    """A thing on the body that holds sensors of one rate.

    Attributes:
        errors: Name of the source of its errors.
        worn: Where a performer has it.
        placement: The same in words.
        rate_hz: Sampling rate.
        measures: What each of its sensors measures, by the sensor's name: a key of `UNITS`.
    """

    errors: str
    worn: Callable[[Performer], Placement]
    placement: str
    rate_hz: float
    measures: Mapping[str, str]


_watch, _phone = attrgetter("watch"), attrgetter("phone")
_WRIST = "right wrist, x to the hand, z out of the back of the wrist"
_POCKET = "right trouser pocket, x up the thigh, y to the person's right, z to the front"

WORN: Mapping[str, tuple[Device, ...]] = {
    "wrist": (Device("sensors", _watch, _WRIST, 50, {"accelerometer": "accelerometer", "gyroscope": "gyroscope"}),),
    "phone_and_watch": (
        Device("fast phone", _phone, _POCKET, 100, {"acc_phone": "accelerometer"}),
        Device("watch", _watch, _WRIST, 100, {"acc_watch": "accelerometer"}),
        Device("phone", _phone, _POCKET, 50, {"gyro": "gyroscope", "orientation": "orientation"}),
    ),
}
"""Devices by the name of their set. `phone_and_watch` is what the subjects of MMAct wear, in the units of `UNITS`."""


def sensors(worn: tuple[Device, ...]) -> dict[str, Sensor]:
    """The sensors of a set, as a card describes them."""
    return {
        name: Sensor(
            axes=AXES[quantity],
            unit=UNITS[quantity],
            rate_hz=device.rate_hz,
            placement=device.placement,
        )
        for device in worn
        for name, quantity in device.measures.items()
    }


def readings(
    worn: tuple[Device, ...],
    motion: Motion,
    performer: Performer,
    noise: float,
    generator: Callable[[str], np.random.Generator],
) -> dict[str, np.ndarray]:
    """What every sensor of a set reads over a performance.

    Args:
        worn: One set of `WORN`.
        motion: The movement.
        performer: Who moves.
        noise: Factor of the sensors' errors.
        generator: Gives a source of errors by its name.

    Returns:
        `{sensor: (n, axes)}`, float32.
    """
    series: dict[str, np.ndarray] = {}
    for device in worn:
        exact = _exact(device, motion, performer)
        noisy = measured(exact, noise, generator(device.errors))
        series |= {
            name: np.ascontiguousarray(noisy[quantity].T, np.float32) for name, quantity in device.measures.items()
        }
    return series


def _exact(device: Device, motion: Motion, performer: Performer) -> dict[str, np.ndarray]:
    placement = device.worn(performer)

    def frame_at(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return placement.frame(forward(motion(times), performer.body), performer.body)

    wanted = set(device.measures.values())
    computed = inertial(frame_at, motion.seconds, device.rate_hz) if wanted - {"orientation"} else {}
    if "orientation" in wanted:
        computed["orientation"] = orientation(frame_at, motion.seconds, device.rate_hz)
    return {quantity: values for quantity, values in computed.items() if quantity in wanted}
