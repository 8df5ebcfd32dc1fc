"""MMAct: 35 actions, or 37, by 20 people, seen by four cameras and felt by a phone and a watch.

Q. Kong et al., "MMAct: A Large-Scale Dataset for Cross Modal Human Action Understanding", ICCV 2019.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from kdbench.data.protocol import Value
from kdbench.data.readers import text_series, video_file
from kdbench.data.readers.base import Reader, Recording, Trial, expecting
from kdbench.data.readers.kinds import SQUEEZED_SIDE
from kdbench.data.readers.timeline import centre_frames
from kdbench.errors import DataError

_PLACE = re.compile(
    r"/subject0*(\d+)/(?:cam(?:era)?0*(\d+)/)?scene0*(\d+)/session0*(\d+)/([^/]+)\.(?:mp4|csv)$", re.IGNORECASE
)
DESK, AT_THE_DESK = 3, "_at_the_desk"
"""The scene, and the ending of a class that is an action there alone."""
Performance = tuple[int, int, int, str]
"""Subject, scene, session and action."""


class MMAct(Reader):
    """MMAct: a trial is one camera's clip of a performance, with the sensor series of that performance.

    Folders are found with and without leading zeros (`subject01`, `subject1`), at any depth below the card's folder of
    their kind, and names of actions in any case. The four cameras of a performance share its sensor files. Without the
    videos a trial is a performance. An action at the desk is of the class `ACTION at the desk` where the card has it.
    """

    version = 2
    view_kinds: ClassVar[Mapping[str, str]] = {"rgb": "squeezed_colour"}

    def trials(self) -> list[Trial]:
        """Every clip that is there, or every performance where there are no videos.

        Raises:
            DataError: A file is named after none of the card's classes.
        """
        labels = {name.replace(" ", "_"): label for label, name in enumerate(self.card.class_names)}
        trials = []
        clips = self._clips or {(0, performance): "" for paths in self._series.values() for performance in paths}
        for (camera, performance), path in clips.items():
            subject, scene, session, action = performance
            if action not in labels:
                raise DataError(
                    f"{path or action} is of no class of '{self.card.name}': '{action}'; expected one of "
                    f"{', '.join(labels)}",
                    hint="Rename or remove that file.",
                )
            at_the_desk = labels.get(f"{action}{AT_THE_DESK}") if scene == DESK else None
            label = labels[action] if at_the_desk is None else at_the_desk
            name = f"s{subject}_scene{scene}_session{session}_{action}"
            columns: dict[str, Value] = {
                "action": action,
                "subject": subject,
                "scene": scene,
                "session": session,
                "performance": name,
            }
            if camera:
                columns["camera"] = camera
            trials.append(Trial(f"{name}_cam{camera}" if camera else name, label, columns))
        return trials

    def files(self, trial: Trial, view: str | None) -> tuple[str, ...]:
        """See `Reader.files`."""
        performance = _performance(trial)
        named = [
            self._series[name].get(performance, _expected(str(sensor.file), performance))
            for name, sensor in self.card.sensors.items()
        ]
        if view is not None:
            named.append(self._clips[int(trial.columns["camera"]), performance])
        return tuple(named)

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """See `Reader.read`; of a clip that is shorter than `frames`, frames are repeated."""
        hashes: dict[str, str] = {}
        series: dict[str, np.ndarray] = {}
        *paths, last = (*self.files(trial, view), "") if view is None else self.files(trial, view)
        for name, path in zip(self.card.sensors, paths, strict=True):
            content, hashes[path] = self.bytes_of(path, trial.id)
            # Behind the time.
            with expecting("rows of a time and three numbers", trial.id, path):
                series[name] = text_series.read(content, (1, 2, 3), width=4)
        if view is None:
            return Recording(series, hashes=hashes)
        content, hashes[last] = self.bytes_of(last, trial.id)
        with expecting("a whole video", trial.id, last):
            clip, recorded, seconds = video_file.decode(
                content, lambda count: centre_frames(count, frames), side=SQUEEZED_SIDE
            )
        return Recording(series, clip, hashes, recorded, seconds)

    @functools.cached_property
    def _clips(self) -> dict[tuple[int, Performance], str]:
        """Path of each camera's clip of each performance."""
        (view,) = self.card.views.values()
        return {(camera, performance): path for camera, performance, path in self._files_like(str(view.file)) if camera}

    @functools.cached_property
    def _series(self) -> dict[str, dict[Performance, str]]:
        """Path of each sensor's file of each performance."""
        return {
            name: {performance: path for _, performance, path in self._files_like(str(sensor.file))}
            for name, sensor in self.card.sensors.items()
        }

    def _files_like(self, template: str) -> Iterator[tuple[int, Performance, str]]:
        """Camera (0 where the path names none), performance and path of each file of a kind."""
        if self.root is None:
            return
        top, ending = Path(template).parts[0], Path(template).suffix
        # Data folders are often links to another disk, which pathlib does not follow on Python 3.11.
        for folder, _, names in os.walk(self.root / top, followlinks=True):
            for name in names:
                path = (Path(folder) / name).relative_to(self.root).as_posix()
                place = _PLACE.search(path)
                if place and name.lower().endswith(ending) and not name.startswith("."):
                    subject, camera, scene, session, action = place.groups()
                    yield int(camera or 0), (int(subject), int(scene), int(session), action.lower()), path


def _performance(trial: Trial) -> Performance:
    columns = trial.columns
    return int(columns["subject"]), int(columns["scene"]), int(columns["session"]), str(columns["action"])


def _expected(template: str, performance: Performance) -> str:
    """Where a missing file was expected."""
    subject, scene, session, action = performance
    return template.replace("{trial}", f"subject{subject}/scene{scene}/session{session}/{action}")
