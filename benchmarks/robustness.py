"""Kills every command at each of its file operations, and feeds the readers with damaged and made-up inputs.

These are the tests of tests/, which try a few points and inputs, with all points and many more inputs; and a count of
the damages of clips that are named, that change nothing, and that change the frames without a word:

    python benchmarks/robustness.py                       # all of it: an hour or more on two cores
    python benchmarks/robustness.py --only kills --select board
    python benchmarks/robustness.py --only inputs --factor 20
    python benchmarks/robustness.py --only clips --select webm
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
KILLS = (
    "tests/runs/test_folder.py",
    "tests/grid/test_grid_kills.py",
    "tests/tuning/test_search_kills.py",
    "tests/leaderboard/test_board_kills.py",
)
INPUTS = (
    "tests/test_hostile_inputs.py",
    "tests/util/test_plain_yaml.py",
    "tests/util/test_redaction.py",
    "tests/data/readers/test_hostile_recordings.py",
    "tests/leaderboard/test_hostile.py",
)
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "zeros": lambda content, draw: _written(content, bytes(64), draw),
    "noise": lambda content, draw: _written(content, draw.randbytes(64), draw),
    "bit flip": lambda content, draw: _flipped(content, draw.randrange(8 * len(content))),
    "cut out": lambda content, draw: content[: (at := draw.randrange(len(content) - 100))] + content[at + 100 :],
}
"""What happens to a clip, by name."""
OUTCOMES = ("refused", "same", "pixels", "frames")
"""It is named; it changes nothing, pixels, or which frames are shown, without a word."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("kills", "inputs", "clips"))
    parser.add_argument("--select", default="", help="only test files or containers whose name contains this")
    parser.add_argument("--factor", type=int, default=10, help="how many times as many inputs as the tests try")
    arguments = parser.parse_args()
    whole = True
    if arguments.only in (None, "kills"):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "kills"
            whole &= tried(KILLS, arguments.select, {"KDBENCH_EVERY_KILL": "1", "KDBENCH_KILL_LOG": str(log)})
            killed = Counter(log.read_text().split()) if log.is_file() else {}
        print("killed: " + (", ".join(f"{name} at {count} points" for name, count in sorted(killed.items())) or "none"))
    if arguments.only in (None, "inputs"):
        whole &= tried(INPUTS, arguments.select, {"KDBENCH_FUZZ": str(arguments.factor)})
    if arguments.only in (None, "clips"):
        damaged_clips(arguments.select, 2 * arguments.factor)
    sys.exit(not whole)


def tried(files: tuple[str, ...], select: str, environment: dict[str, str]) -> bool:
    """Runs the tests of some files, a process per file; prints what each tried, and what failed."""
    whole = True
    for file in (file for file in files if select in file):
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", file, "-q", "--timeout", "0", "--hypothesis-show-statistics"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
        )
        inputs = sum(int(count) for count in re.findall(r"(\d+) passing", done.stdout))
        closing = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
        made = f", {inputs:,} inputs made up" if inputs else ""
        print(f"{file}: {closing.strip('= ')}{made}, {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            whole = False
            print(
                "\n".join(line for line in done.stdout.splitlines() if line.startswith(("E  ", "FAILED"))), flush=True
            )
    return whole


def damaged_clips(select: str, count: int) -> None:
    """Damages a clip of each container and codec `count` times in each way; prints what came of it."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/data")]
    from test_video_matrix import FRAMES, PAIRS, clip, textured

    print(f"{'container':14} {'codec':11} {'damage':9}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    total: Counter[str] = Counter()
    for container, codec in (*PAIRS, ("gif", "gif")):
        if select not in f"{container} {codec}":
            continue
        pixels = "rgb8" if codec == "gif" else None
        # Encoders in a hurry make another file each time.
        coding = {"deadline": "good"} if codec.startswith("libvpx") else {}
        content = clip(FRAMES, container=container, codec=codec, picture=textured, pixels=pixels, coding=coding)
        whole = _frames(content)
        for name, damage in DAMAGES.items():
            found = Counter(
                _outcome(damage(content, random.Random(f"{container} {codec} {name} {number}")), whole)
                for number in range(count)
            )
            total += found
            print(f"{container:14} {codec:11} {name:9}" + "".join(f"{found[o]:9}" for o in OUTCOMES), flush=True)
    print(f"{'all':36}" + "".join(f"{total[outcome]:9}" for outcome in OUTCOMES))


def _outcome(damaged: bytes, whole: tuple[int, np.ndarray]) -> str:
    try:
        count, frames = _frames(damaged)
    except ValueError:
        return "refused"
    number, expected = whole
    if count != number or frames.shape != expected.shape:
        return "frames"
    same = [np.array_equal(*pair) for pair in zip(frames, expected, strict=True)]
    moved = (frame.tobytes() in {other.tobytes() for other in expected} for frame in frames[np.logical_not(same)])
    return "same" if all(same) else "frames" if any(moved) else "pixels"


def _frames(content: bytes) -> tuple[int, np.ndarray]:
    """How many frames a clip shows, and those at the centres of 60 equal parts."""
    from kdbench.data.readers import video_file
    from kdbench.data.readers.timeline import centre_frames

    frames, count, *_ = video_file.decode(content, lambda parts: centre_frames(parts, 60))
    return count, frames


def _written(content: bytes, new: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) - len(new))
    return content[:at] + new + content[at + len(new) :]


def _flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


if __name__ == "__main__":
    main()
