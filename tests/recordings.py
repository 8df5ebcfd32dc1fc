"""Recordings in the format of UTD-MHAD, a few small ones, written by the tests themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.io
import yaml

from kdbench.util import paths

ACTIONS, SUBJECTS, REPETITIONS = 3, 4, 2
TRIALS = [
    f"a{action}_s{subject}_t{repetition}"
    for action in range(1, ACTIONS + 1)
    for subject in range(1, SUBJECTS + 1)
    for repetition in range(1, REPETITIONS + 1)
]


def inertial_of(trial: str) -> np.ndarray:
    """Samples `(n, 6)` of a trial, of a length of its own."""
    rng = np.random.default_rng(list(trial.encode()))
    length = int(rng.integers(107, 140))
    phase = np.linspace(0, 2 * np.pi, length)[:, None] * rng.uniform(1, 4, 6)
    return np.sin(phase) * [1, 1, 1, 200, 200, 200] + rng.normal(0, 0.01, (length, 6))


def depth_of(trial: str, frames: int = 34, *, full: bool = False) -> np.ndarray:
    """Depth `(120, 160, F)`, or `(240, 320, F)` as in the data set, mm: a person in 3 m distance who lifts an arm."""
    rng = np.random.default_rng([*trial.encode(), 1])
    depth = np.zeros((240, 320, frames), np.uint16)
    depth[70:230, 140:180] = rng.integers(2800, 3000, (160, 40, 1))
    for frame in range(frames):
        top = 180 - 3 * frame
        depth[top : top + 15, 180:215, frame] = 2400
    return depth if full else depth[::2, ::2]


def write_trial(root: Path, trial: str, *, full: bool = False) -> None:
    """Writes one trial's files as MATLAB would; `full` as in `depth_of`."""
    for folder in ("Inertial", "Depth"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    save(root / f"Inertial/{trial}_inertial.mat", d_iner=inertial_of(trial))
    save(root / f"Depth/{trial}_depth.mat", d_depth=depth_of(trial, full=full))


def save(path: Path, **variables: np.ndarray) -> None:
    """Writes variables to a MATLAB file."""
    scipy.io.savemat(path, variables, do_compression=True)


def write_video(path: Path, frames: np.ndarray, codec: str = "mjpeg") -> None:
    """Encodes frames `(T, rows, columns, 3)` as an AVI file, as the data set's colour videos are."""
    import av

    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream(codec, rate=15)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_card(folder: Path, **changes: object) -> Path:
    """Writes the shipped card for these trials and frames, without manifest, some keys changed; None removes one."""
    content = yaml.safe_load((paths.folder("datasets") / "utd_mhad/card.yaml").read_text(encoding="utf-8"))
    content["trials"] |= {"columns": {"action": ACTIONS, "subject": SUBJECTS, "repetition": REPETITIONS}, "missing": []}
    content["classes"] = content["classes"][:ACTIONS]
    content["manifest"] = None
    content["views"]["depth"] |= {"height": 120, "width": 160}
    content |= changes
    path = folder / "card.yaml"
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path


OPEN = """
import sys
from pathlib import Path
from kdbench.data.store.open import open_dataset
card, folder, size, frames, jobs = sys.argv[1:]
data = open_dataset(card, data_dir=Path(folder), frame_size=int(size), frames=int(frames), jobs=int(jobs))
print(data.fingerprint)
"""


def start_opening(
    card: Path, folder: Path, *, size: int = 64, frames: int = 16, before: str = ""
) -> subprocess.Popen[str]:
    """Starts a process that opens the data set with one thread and prints its fingerprint.

    Args:
        card: The card.
        folder: The data folder.
        size: Height and width of a frame.
        frames: Frames of a clip.
        before: Python that runs first.
    """
    arguments = [str(card), str(folder), str(size), str(frames), "1"]
    return subprocess.Popen(
        [sys.executable, "-c", before + OPEN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
