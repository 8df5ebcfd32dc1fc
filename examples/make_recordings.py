"""Makes a folder of twelve recordings, as a phone's app and a camera would leave them: CSV and mp4, of no real person.

    python examples/make_recordings.py kitchen

Three people wave and clap, twice each. The phone writes what Sensor Logger writes, at an uneven rate; of one recording
its file is missing. The films show a bright spot that moves as the phone is moved.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import numpy as np

SECONDS, RATE_HZ, FRAMES_HZ, SIDE = 4.0, 50, 20, 64
TURNS_HZ = {"wave": 1.5, "clap": 3.0}
EPOCH_NS = 1_767_225_600_000_000_000
LOST = "ben/clap_2.csv"


def main() -> None:
    """Writes the recordings below the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="another number makes other performances")
    arguments = parser.parse_args()
    folder, draw = arguments.folder, np.random.default_rng(arguments.seed)
    for person in ("anna", "ben", "cleo"):
        for action in TURNS_HZ:
            for number in (1, 2):
                path = folder / person / f"{action}_{number}"
                path.parent.mkdir(parents=True, exist_ok=True)
                # No two performances are equally quick, or begin alike; phone and camera see the same one.
                speed, begin = TURNS_HZ[action] * draw.uniform(0.9, 1.1), draw.uniform()
                if f"{person}/{path.name}.csv" != LOST:
                    write_samples(path.with_suffix(".csv"), action, speed, begin, draw)
                write_film(path.with_suffix(".mp4"), action, speed, begin)


def write_samples(path: Path, action: str, speed: float, begin: float, draw: np.random.Generator) -> None:
    """An accelerometer's samples in m/s², z before y before x, as the app orders them."""
    times = np.sort(draw.uniform(0, SECONDS, round(SECONDS * RATE_HZ)))
    angle = 2 * np.pi * (speed * times + begin)
    values = np.stack([3 * np.sin(angle), (action == "clap") * 3 * np.cos(angle), np.full_like(times, 9.81)], axis=1)
    values += draw.normal(0, 0.3, values.shape)
    with path.open("w", encoding="utf-8") as file:
        file.write("time,seconds_elapsed,z,y,x\n")
        for time, (x, y, z) in zip(times, values, strict=True):
            file.write(f"{EPOCH_NS + round(time * 1e9)},{time:.6f},{z:.5f},{y:.5f},{x:.5f}\n")


def write_film(path: Path, action: str, speed: float, begin: float) -> None:
    """A film of a bright spot: to and fro for a wave, in a circle for a clap."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FRAMES_HZ)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for frame in range(round(SECONDS * FRAMES_HZ)):
            angle = 2 * np.pi * (speed * frame / FRAMES_HZ + begin)
            x = SIDE / 2 + SIDE / 3 * np.sin(angle)
            y = SIDE / 2 + (action == "clap") * SIDE / 3 * np.cos(angle)
            spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))
            picture = np.repeat(spot.astype(np.uint8)[:, :, None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
