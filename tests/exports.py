"""A run on recordings in the format of UTD-MHAD, and its exports, made once for all tests of a process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from recordings import TRIALS, write_card, write_trial, write_video

from kdbench.export.make import Exported, export_run
from kdbench.runs.run import RunResult, run
from kdbench.students.schema import SeriesInput, VideoInput

ACCELEROMETER = SeriesInput(
    source="accelerometer",
    tensor="accelerometer",
    kind="samples",
    axes=["x", "y", "z"],
    unit="g",
    rate_hz=50,
    placement="",
    samples=64,
    typical_size=1.0,
    variable="d_iner",
    columns=[0, 1, 2],
    needs_trial=[],
)
COLOUR = VideoInput(
    source="video",
    tensor="video",
    view="rgb",
    kind="centred_colour",
    unit="",
    rate_hz=15,
    height=48,
    width=64,
    channels=3,
    frames=4,
    frame_size=16,
    parameters={},
    crop="",
    variable=None,
    needs_trial=[],
)


@functools.cache
def world() -> Path:
    """A folder with a card, recordings and a cache of their own, removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="kdbench-exports-")
    root = Path(folder.name)
    _KEPT.append(folder)
    for trial in TRIALS:
        write_trial(root / "data/tiny_mhad", trial)
        pictures = np.random.default_rng(list(trial.encode())).integers(0, 255, (1, 12, 16, 3), np.uint8)
        # Blocks that last: noise of single pixels is what a codec throws away.
        write_video(
            root / f"data/tiny_mhad/RGB/{trial}_color.avi", np.tile(pictures.repeat(4, 1).repeat(4, 2), (9, 1, 1, 1))
        )
    write_card(root, name="tiny_mhad")
    return root


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def a_run(method: str, *overrides: str, video: str = "depth") -> RunResult:
    """A finished run of a student at `smoke`: `student_only` sees video, `student_only_sensor` the accelerometer."""
    root = world()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(root / "cache"))
        return run(
            method,
            str(root / "card.yaml"),
            video=video if method == "student_only" else None,
            preset="smoke",
            device="cpu",
            data_dir=root / "data",
            out=root / "runs",
            overrides=overrides,
        )


@functools.cache
def an_export(
    method: str,
    format: str,  # noqa: A002 - the option's name
    *overrides: str,
    causal: bool = False,
    int8: bool = False,
    video: str = "depth",
) -> Exported:
    """An export of such a run, which tests only read."""
    root, made = world(), a_run(method, *overrides, video=video)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(root / "cache"))
        return export_run(
            made.folder,
            format=format,
            causal=causal,
            int8=int8,
            to=root / f"{made.folder.name}-{format}{'-causal' * causal}",
            dataset=str(root / "card.yaml"),
            data_dir=root / "data",
        )


def depth_file(trial: str) -> Path:
    """The depth of a trial, a MATLAB file."""
    return world() / f"data/tiny_mhad/Depth/{trial}_depth.mat"


def colour_file(trial: str) -> Path:
    """The colour video of a trial."""
    return world() / f"data/tiny_mhad/RGB/{trial}_color.avi"


def inertial_file(trial: str) -> Path:
    """The sensors of a trial, a MATLAB file of six columns."""
    return world() / f"data/tiny_mhad/Inertial/{trial}_inertial.mat"
