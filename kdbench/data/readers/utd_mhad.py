"""UTD-MHAD: wrist or thigh accelerometer and gyroscope, depth, skeleton and colour video of 27 actions.

C. Chen, R. Jafari, N. Kehtarnavaz, "UTD-MHAD: a multimodal dataset for human action recognition utilizing a depth
camera and a wearable inertial sensor", ICIP 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from kdbench.data.readers import depth, mat_file, skeleton, video_file
from kdbench.data.readers.base import Reader, Recording, Trial, expecting
from kdbench.data.readers.timeline import centre_frames


class UtdMhad(Reader):
    """UTD-MHAD: 861 trials of 27 actions by 8 subjects, with an inertial sensor, depth, skeleton and colour video.

    Depth is cropped to the person over the whole trial and scaled to 8 bits between the trial's own near and far ends.
    The skeleton's joints are drawn as bones, by `kdbench.data.readers.skeleton`, in the card's height and width.
    The colour camera is not registered with the depth camera, so nothing says where the person is in its frames; the
    centred square of the whole frame is taken, in which the person stands.
    """

    version = 2
    view_kinds: ClassVar[Mapping[str, str]] = {
        "rgb": "centred_colour",
        "depth": "person_depth",
        "skeleton": "drawn_joints",
    }
    skeleton_kinds: ClassVar[Mapping[str, str]] = {"skeleton": "joints"}

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """See `Reader.read`."""
        hashes: dict[str, str] = {}
        series: dict[str, np.ndarray] = {}
        loaded: dict[str, np.ndarray] = {}
        width = 1 + max(column for sensor in self.card.sensors.values() for column in sensor.columns or ())
        for name, sensor in self.card.sensors.items():
            path = str(sensor.file).format(trial=trial.id)
            if path not in loaded:
                loaded[path], hashes[path] = self._array(path, str(sensor.variable), trial.id, (None, width))
            series[name] = np.ascontiguousarray(loaded[path][:, list(sensor.columns or ())], np.float32)
        if view is None:
            return Recording(series, hashes=hashes)
        path, seconds = str(self.card.views[view].file).format(trial=trial.id), None
        if view == "depth":
            clip, hashes[path], recorded = self._depth(path, trial.id, frames)
        elif view == "skeleton":
            clip, hashes[path], recorded = self._skeleton(path, trial.id, frames)
        else:
            clip, hashes[path], recorded, seconds = self._colour(path, trial.id, frames)
        return Recording(series, clip, hashes, recorded, seconds)

    def read_skeleton(self, trial: Trial, name: str) -> Recording:
        """See `Reader.read_skeleton`; relative to the hip, in torso lengths, as `skeleton.normalised` has them."""
        (path,) = self.skeleton_files(trial, name)
        joints, sha256 = self._joints(path, str(self.card.skeletons[name].variable), trial.id)
        return Recording({name: joints.reshape(len(joints), -1)}, hashes={path: sha256})

    def _joints(self, path: str, variable: str, trial: str) -> tuple[np.ndarray, str]:
        array, sha256 = self._array(path, variable, trial, (skeleton.JOINTS, 3, None))
        with expecting("a tracked person, in metres", trial, path):
            return skeleton.normalised(array.transpose(2, 0, 1)), sha256

    def _depth(self, path: str, trial: str, frames: int) -> tuple[np.ndarray, str, int]:
        view = self.card.views["depth"]
        array, sha256 = self._array(path, str(view.variable), trial, (view.height, view.width, None))
        least, most = array.min(), array.max()
        with expecting(f"millimetres up to {depth.FARTHEST_MM}", trial, path):
            if least < 0 or most > depth.FARTHEST_MM:
                raise ValueError(f"depths lie between {least:g} and {most:g}")
        # MATLAB stores columns first: transposed, the array is contiguous.
        turned = array.transpose(2, 1, 0)
        with expecting("one person, and 0 elsewhere", trial, path):
            clip = depth.clip_of(turned, frames).transpose(0, 2, 1)
        return clip[..., np.newaxis], sha256, len(turned)

    def _skeleton(self, path: str, trial: str, frames: int) -> tuple[np.ndarray, str, int]:
        view = self.card.views["skeleton"]
        joints, sha256 = self._joints(path, str(view.variable), trial)
        return skeleton.clip_of(joints, frames, view.height)[..., np.newaxis], sha256, len(joints)

    def _colour(self, path: str, trial: str, frames: int) -> tuple[np.ndarray, str, int, float | None]:
        content, sha256 = self.bytes_of(path, trial)
        with expecting("a whole colour video", trial, path):
            decoded, recorded, seconds = video_file.decode(content, lambda count: centre_frames(count, frames))
        return np.ascontiguousarray(video_file.centre_square(decoded)), sha256, recorded, seconds

    def _array(self, path: str, variable: str, trial: str, shape: tuple[int | None, ...]) -> tuple[np.ndarray, str]:
        """One array of a MATLAB file; `shape` has None where any length of at least one will do."""
        content, sha256 = self.bytes_of(path, trial)
        lengths = ", ".join("n" if n is None else str(n) for n in shape)
        with expecting(f"'{variable}' of shape ({lengths}), finite numbers", trial, path):
            return mat_file.read(content, variable, shape), sha256
