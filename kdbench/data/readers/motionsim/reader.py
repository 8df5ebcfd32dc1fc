"""The generated data set behind the interface of all readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.card import Card
from kdbench.data.readers import depth
from kdbench.data.readers.base import Reader, Recording, Trial
from kdbench.data.readers.motionsim.actions import ACTIONS
from kdbench.data.readers.motionsim.joints import tracked
from kdbench.data.readers.motionsim.kinematics import forward
from kdbench.data.readers.motionsim.motion import Motion
from kdbench.data.readers.motionsim.people import Performer, performer
from kdbench.data.readers.motionsim.render import CAMERAS, occluded, render
from kdbench.data.readers.motionsim.sizes import check_options, sized
from kdbench.data.readers.motionsim.wearables import WORN, readings
from kdbench.data.readers.timeline import centre_frames
from kdbench.util.seeds import seed_for

DEPTH_NOISE_MM = 20.0
DROPOUT = 0.04


class MotionSim(Reader):
    """Generated: a moving skeleton, seen by a depth camera and felt by an inertial sensor at its right wrist.

    A trial depends on its id, the seed and the noise alone: data sets of any size agree on the trials that they share.
    `card` is the card at the chosen sizes: its classes, trials and protocols.

    Options:
        actions: How many of the actions of `kdbench.data.readers.motionsim.actions.ACTIONS`.
        subjects: How many people; odd ones train and even ones test under `cross_subject`.
        trials: Repetitions of each action by each person.
        noise: Factor of the sensors' and the camera's errors; 0 leaves their resolution.
        seed: Another seed makes other people.
        sensors: What is worn, a key of `kdbench.data.readers.motionsim.wearables.WORN`.
        cameras: How many cameras of `render.CAMERAS` see a performance. With several, a trial is
            one camera's view of it (`a1_s2_t3_c4`), all of them share the sensors' series, and the protocol
            `cross_view` tests the last camera.
        occlusion: Share of the picture that hides behind a desk or a pillar, 0 to 1.
    """

    generated = True

    def __init__(self, card: Card, root: Path | None = None, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(card, root, options)
        check_options(self.options)
        self.card = sized(card, self.options)

    def trials(self) -> list[Trial]:
        """See `Reader.trials`; with several cameras, the column `performance` names what they all saw."""
        trials = super().trials()
        if self.options["cameras"] == 1:
            return trials
        return [replace(trial, columns={**trial.columns, "performance": _performance(trial)}) for trial in trials]

    def motion(self, trial: Trial) -> tuple[Motion, Performer]:
        """The movement behind a trial, exact and continuous in time, and who performs it."""
        action, subject, repetition = (int(trial.columns[name]) for name in ("action", "subject", "repetition"))
        who = performer(self.options["seed"], subject, action, repetition)
        return Motion(ACTIONS[action - 1], who.style), who

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """See `Reader.read`."""
        motion, who = self.motion(trial)

        def errors(device: str) -> np.random.Generator:
            return self._generator(device, _performance(trial))

        series = readings(WORN[self.options["sensors"]], motion, who, self.options["noise"], errors)
        if view is None:
            return Recording(series)
        shape = self.card.views[view]
        recorded = max(int(motion.seconds * shape.rate_hz), 1)
        chosen = centre_frames(recorded, frames)
        pose = forward(motion((chosen + 0.5) / shape.rate_hz), who.body)
        camera = CAMERAS[int(trial.columns.get("camera", 1)) - 1]
        clip = self._grey(render(pose, who.body, shape.height, camera), trial)
        return Recording(series, clip[..., np.newaxis], recorded=recorded)

    def read_skeleton(self, trial: Trial, name: str) -> Recording:
        """See `Reader.read_skeleton`."""
        motion, who = self.motion(trial)
        rate = self.card.skeletons[name].rate_hz
        times = (np.arange(max(int(motion.seconds * rate), 2)) + 0.5) / rate
        camera = CAMERAS[int(trial.columns.get("camera", 1)) - 1]
        errors = self._generator(name, trial.id)
        joints = tracked(forward(motion(times), who.body), camera, self.options["noise"], errors)
        return Recording({name: joints.reshape(len(joints), -1)})

    def _grey(self, millimetres: np.ndarray, trial: Trial) -> np.ndarray:
        """Hides a part, adds the camera's errors (depth noise, pixels without a reading) and scales to 8 bits."""
        noise, rng = self.options["noise"], self._generator("camera", trial.id)
        near, far = depth.range_of(millimetres)
        if self.options["occlusion"]:
            millimetres = occluded(millimetres, self.options["occlusion"], self._generator("occlusion", trial.id))
        error = rng.standard_normal(millimetres.shape, np.float32) * np.float32(DEPTH_NOISE_MM * noise)
        seen = rng.random(millimetres.shape, np.float32) >= DROPOUT * noise
        return depth.to_grey(np.where(seen & (millimetres > 0), np.maximum(millimetres + error, 1), 0), near, far)

    def _generator(self, part: str, name: str) -> np.random.Generator:
        return np.random.default_rng(seed_for("motionsim", self.options["seed"], part, name))


def _performance(trial: Trial) -> str:
    return trial.id.partition("_c")[0]
