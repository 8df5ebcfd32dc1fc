"""Makes recordings in the format of `part_name`: generated sines, one frequency per class. `python -m … FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HEADER = "acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z"


def write(folder: Path, *, actions: int = 3, subjects: int = 4, repetitions: int = 4) -> Path:
    """Writes one file per trial.

    Args:
        folder: What is given to kdbench as `--data-dir`.
        actions: Number of classes.
        subjects: Number of people, each with an amplitude of their own.
        repetitions: Trials of each class by each of them.

    Returns:
        The folder of the data set.
    """
    root = folder / "part_name"
    (root / "recordings").mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(0)
    for action in range(1, actions + 1):
        for subject in range(1, subjects + 1):
            for repetition in range(1, repetitions + 1):
                seconds = np.arange(draws.integers(90, 110)) / 50
                waves = np.sin(2 * np.pi * action * seconds[:, None] + np.arange(6) * action)
                rows = (1 + subject / 10) * waves + draws.normal(0, 0.1, waves.shape)
                path = root / "recordings" / f"a{action}_s{subject}_t{repetition}.csv"
                np.savetxt(path, rows, delimiter=",", fmt="%.5f", header=HEADER, comments="")
    return root


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))
