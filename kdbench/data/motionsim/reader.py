"""The generated data set behind the interface of all readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data import depth
from kdbench.data.card import Card, ProtocolRule, Trials, Validation
from kdbench.data.motionsim.actions import ACTIONS
from kdbench.data.motionsim.imu import inertial, measured
from kdbench.data.motionsim.kinematics import forward
from kdbench.data.motionsim.motion import Motion
from kdbench.data.motionsim.people import Performer, performer
from kdbench.data.motionsim.render import Camera, render
from kdbench.data.reader import Reader, Recording, Trial
from kdbench.data.timeline import centre_frames
from kdbench.errors import UsageError
from kdbench.seeds import seed_for

DEPTH_NOISE_MM = 20.0
DROPOUT = 0.04

_LEAST = {"actions": 2, "subjects": 2, "trials": 1, "seed": 0}


class MotionSim(Reader):
    """Generated: a moving skeleton, seen by a depth camera and felt by an inertial sensor at its right wrist.

    A trial depends on its id, the seed and the noise alone: data sets of any size agree on the trials that they share.
    `card` is the card at the chosen sizes: its classes, trials and protocols.

    Options:
        actions: How many of the actions of `kdbench.data.motionsim.actions.ACTIONS`.
        subjects: How many people; odd ones train and even ones test under `cross_subject`.
        trials: Repetitions of each action by each person.
        noise: Factor of the sensors' and the camera's errors; 0 leaves their resolution.
        seed: Another seed makes other people.
    """

    generated = True

    def __init__(self, card: Card, root: Path | None = None, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(card, root, options)
        _check(self.options)
        self.card = _sized(card, self.options["actions"], self.options["subjects"], self.options["trials"])

    def motion(self, trial: Trial) -> tuple[Motion, Performer]:
        """The movement behind a trial, exact and continuous in time, and who performs it."""
        action, subject, repetition = (int(trial.columns[name]) for name in ("action", "subject", "repetition"))
        who = performer(self.options["seed"], subject, action, repetition)
        return Motion(ACTIONS[action - 1], who.style), who

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """See `Reader.read`."""
        motion, who = self.motion(trial)

        def sensor_frame(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return who.placement.frame(forward(motion(times), who.body), who.body)

        rate_hz = self.card.sensors["accelerometer"].rate_hz
        exact = inertial(sensor_frame, motion.seconds, rate_hz)
        readings = measured(exact, self.options["noise"], self._generator("sensors", trial))
        series = {name: np.ascontiguousarray(values.T, np.float32) for name, values in readings.items()}
        if view is None:
            return Recording(series)
        shape = self.card.views[view]
        chosen = centre_frames(max(int(motion.seconds * shape.rate_hz), 1), frames)
        pose = forward(motion((chosen + 0.5) / shape.rate_hz), who.body)
        millimetres = render(pose, who.body, shape.height, Camera())
        clip = self._grey(millimetres, self._generator("camera", trial))
        return Recording(series, clip[..., np.newaxis])

    def _grey(self, millimetres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Adds the camera's errors (depth noise, pixels without a reading) and scales to 8 bits as for recordings."""
        noise = self.options["noise"]
        near, far = depth.range_of(millimetres)
        error = rng.standard_normal(millimetres.shape, np.float32) * np.float32(DEPTH_NOISE_MM * noise)
        seen = rng.random(millimetres.shape, np.float32) >= DROPOUT * noise
        return depth.to_grey(np.where(seen & (millimetres > 0), np.maximum(millimetres + error, 1), 0), near, far)

    def _generator(self, part: str, trial: Trial) -> np.random.Generator:
        return np.random.default_rng(seed_for("motionsim", self.options["seed"], part, trial.id))


def _check(options: Mapping[str, Any]) -> None:
    for name, least in _LEAST.items():
        value = options[name]
        most = len(ACTIONS) if name == "actions" else math.inf
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            limits = f"from {least} to {most}" if name == "actions" else f"of at least {least}"
            raise UsageError(f"option '{name}' of data set 'motionsim' is {value!r}, expected a whole number {limits}")
    noise = options["noise"]
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not (0 <= noise < math.inf):
        raise UsageError(f"option 'noise' of data set 'motionsim' is {noise!r}, expected a number of at least 0")


def _sized(card: Card, actions: int, subjects: int, repetitions: int) -> Card:
    """The card for other sizes than its own; the protocols keep their rule."""
    people, turns = tuple(range(1, subjects + 1)), tuple(range(1, repetitions + 1))
    odd, half = people[::2], (repetitions + 1) // 2
    changes: dict[str, Callable[[ProtocolRule], ProtocolRule]] = {
        "cross_subject": lambda rule: rule.model_copy(
            update={
                "train": {"subject": odd},
                "test": {"subject": people[1::2]},
                "validation": Validation(where={"subject": odd[-1:]}),
            }
        ),
        "subject_specific": lambda rule: rule.model_copy(
            update={"train": {"repetition": turns[:half]}, "test": {"repetition": turns[half:]}}
        ),
        "loso_{subject}": lambda rule: rule.model_copy(update={"each": {"subject": people}}),
    }
    trials = Trials(
        id="a{action}_s{subject}_t{repetition}",
        columns={"action": tuple(range(1, actions + 1)), "subject": people, "repetition": turns},
        label="action",
    )
    protocols = {name: changes[name](rule) if name in changes else rule for name, rule in card.protocols.items()}
    sized = card.model_copy(update={"classes": card.classes[:actions], "trials": trials, "protocols": protocols})
    sized._folder = card.folder
    return sized
