"""Folders of one's own recordings, as phones' apps and cameras leave them, with cards for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import yaml

SUBJECTS, ACTIONS, RATE = ("anna", "ben", "cleo"), ("wave", "clap"), 50
HERTZ = {"wave": 2, "clap": 4}
EPOCH_NS = 1_700_000_000_000_000_000


def trials() -> Iterator[tuple[str, str, int]]:
    """Subject, action and number of the twelve recordings."""
    return ((subject, action, number) for subject in SUBJECTS for action in ACTIONS for number in (1, 2))


def motion(action: str, times: np.ndarray) -> np.ndarray:
    """An accelerometer's x, y and z `(n, 3)` in m/s² at some seconds."""
    angle = 2 * np.pi * HERTZ[action] * times
    return np.stack([np.sin(angle), 2 * np.cos(angle), np.full_like(times, 9.81)], axis=1)


def sensor_logger(path: Path, action: str, times: np.ndarray, *, scale: float = 1.0) -> None:
    """A file as Sensor Logger writes it: nanoseconds since 1970, seconds, and z before y before x."""
    rows = [
        f"{EPOCH_NS + round(t * 1e9)},{t:.6f},{z:.6f},{y:.6f},{x:.6f}"
        for t, (x, y, z) in zip(times, motion(action, times) * scale, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["time,seconds_elapsed,z,y,x", *rows]) + "\n")


def phyphox(path: Path, action: str, times: np.ndarray) -> None:
    """A file as phyphox writes it with semicolons: quoted names with units, and decimal commas."""
    names = ('"Time (s)"', *(f'"Acceleration {axis} (m/s^2)"' for axis in "xyz"))
    rows = [";".join(f"{v:.6E}" for v in (t, *row)) for t, row in zip(times, motion(action, times), strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([";".join(names), *rows]).replace(".", ",") + "\n")


def sensor_logger_export(
    folder: Path, action: str, times: np.ndarray, *, marks: Sequence[tuple[float, str]] = ((0.5, "begin"),)
) -> None:
    """The folder of a recording as Sensor Logger exports it: a file a sensor, and files of other kinds beside them.

    Args:
        folder: The folder.
        action: What is recorded.
        times: When, seconds.
        marks: What was noted while it was recorded: seconds, and the text.
    """
    beats = [f"{EPOCH_NS + round(t * 1e9)},{t:.6f},{70 + n % 2}\n" for n, t in enumerate(np.arange(0.2, times[-1]))]
    noted = [f"{EPOCH_NS + round(t * 1e9)},{t:.6f},{text},{80 + n}\n" for n, (t, text) in enumerate(marks)]
    sensor_logger(folder / "Accelerometer.csv", action, times)
    sensor_logger(folder / "Gyroscope.csv", action, 0.004 + times, scale=0.1)
    beside = {
        "Metadata.csv": "version,device name,recording time\n3,phone,2026-05-01_10-22-33\n",
        "Annotation.csv": "".join(["time,seconds_elapsed,text,millisecond_press_duration\n", *noted]),
        "Pedometer.csv": f"time,seconds_elapsed,steps\n{EPOCH_NS},0.5,1\n{EPOCH_NS},1.5,3\n",
        "HeartRate.csv": "".join(["time,seconds_elapsed,bpm\n", *beats]),
    }
    for name, content in beside.items():
        (folder / name).write_text(content)


def phyphox_export(folder: Path, action: str, times: np.ndarray, *, file: str = "Raw Data", mark: str = ";,") -> None:
    """The folder of a recording as phyphox exports it, with what it tells of the phone and the time below `meta`.

    Args:
        folder: The folder.
        action: What is recorded.
        times: When, seconds.
        file: How the file is called: `Raw Data` of one sensor, or the sensor's name.
        mark: What lies between values, and what stands before decimals.
    """
    between, decimal = mark
    what = "Acceleration x (m/s^2)" if file == "Raw Data" else "X (m/s^2)" if file == "Accelerometer" else "X (rad/s)"
    axes = (f'"{what.replace("X", axis.upper()).replace(" x ", f" {axis} ")}"' for axis in "xyz")
    values = motion(action, times)
    rows = [[f"{v:.9E}" for v in (t, *row, np.linalg.norm(row))] for t, row in zip(times, values, strict=True)]
    names = ['"Time (s)"', *axes, '"Absolute acceleration (m/s^2)"']
    # The size of all axes together comes with the file of one sensor alone.
    kept = len(names) if file == "Raw Data" else 4
    text = [between.join(row[:kept]) for row in (names, *([v.replace(".", decimal) for v in row] for row in rows))]
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / f"{file}.csv").write_text("\n".join(text) + "\n")
    device = [["property", "value"], ["version", "1.1.13"], ["deviceModel", "phone"], ["depthFrontRate", "30"]]
    events = [
        ['"event"', '"experiment time"', '"system time"', '"system time text"'],
        ['"START"', f"0{decimal}0E0", f"1777630953{decimal}120", '"2026-05-01 10:22:33.120 UTC+02:00"'],
        ['"PAUSE"', f"3{decimal}0E0", f"1777630956{decimal}120", '"2026-05-01 10:22:36.120 UTC+02:00"'],
    ]
    (folder / "meta/device.csv").write_text("\n".join(between.join(f'"{v}"' for v in row) for row in device) + "\n")
    (folder / "meta/time.csv").write_text("\n".join(between.join(row) for row in events) + "\n")


def film(path: Path, action: str, seconds: float, *, rate: int = 20, side: int = 48) -> None:
    """A film in which a square moves as the accelerometer feels it; each frame's grey is its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for number in range(round(seconds * rate)):
            picture = np.full((side, side, 3), min(4 * number, 200), np.uint8)
            place = int(side / 2 + side / 3 * np.sin(2 * np.pi * HERTZ[action] * number / rate))
            picture[side // 2 - 3 : side // 2 + 3, max(0, place - 3) : place + 3] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def even(seconds: float = 3.0, rate: float = RATE) -> np.ndarray:
    """Evenly spaced times."""
    return np.arange(round(seconds * rate)) / rate


def write_folder(folder: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Twelve recordings of a phone's accelerometer and a camera; some files may be left out. Returns the folder."""
    for turn, (subject, action, number) in enumerate(trials()):
        name = f"{subject}/{action}_{number}"
        if f"{name}.csv" not in without:
            # No two performances are the same.
            sensor_logger(folder / f"{name}.csv", action, even(), scale=1 + turn / 100)
        if f"{name}.mp4" not in without:
            film(folder / f"{name}.mp4", action, 3.0)
    return folder


def card(**changes: Any) -> dict[str, Any]:
    """What a card of `write_folder` says; a key of `files.sources` may be changed by its name."""
    sources: dict[str, Any] = {
        "accelerometer": {
            "path": "{subject}/{action}_{n:d}.csv",
            "time": {"column": "seconds_elapsed"},
            "clock": "app",
        },
        "rgb": {"path": "{subject}/{action}_{n:d}.mp4", "clock": "app"},
    }
    for name in sources.keys() & changes.keys():
        sources[name] = {**sources[name], **changes.pop(name)}
    files = {"folder": ".", "label": "action", "sources": sources, **changes.pop("files", {})}
    return {
        "name": "own",
        "title": "Own recordings",
        "version": "1",
        "reader": "files",
        "files": files,
        "classes": [{"name": action, "short": action} for action in ACTIONS],
        "sensors": {"accelerometer": {"axes": ["x", "y", "z"], "unit": "m/s²", "rate_hz": RATE}},
        "views": {"rgb": {"channels": 3, "rate_hz": 20, "height": 48, "width": 48}},
        "protocols": {
            "cross_subject": {
                "test": {"subject": ["cleo"]},
                "validation": {"where": {"subject": ["ben"]}},
                "disjoint": ["subject"],
            }
        },
        **changes,
    }


def write_card(folder: Path, content: dict[str, Any]) -> Path:
    """Writes a card beside the recordings; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path
