"""Where things lie: the recipes and cards that kdbench ships, the user's cache, and the folders with data."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError

OTHER_CACHE = "KDBENCH_CACHE=FOLDER puts prepared data elsewhere."
"""What one may do where the cache folder is full or read-only."""


@functools.cache
def folder(name: str) -> Path:
    """A shipped folder (`methods`, `datasets`, `leaderboard`): inside an installed wheel, else in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parent / name


def runs_folder(out: Path | None) -> Path:
    """Folder of all runs: the argument, `$KDBENCH_HOME`, or `./runs`; it may not exist yet."""
    return Path(out or os.environ.get("KDBENCH_HOME") or "runs")


def is_file(path: Path) -> bool:
    """Whether there is such a file; what no file system takes as a path names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; what no file system takes as a path names none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Reads a YAML file whose top level is a mapping of plain values.

    Args:
        path: The file.
        what: What it should be, for messages: `recipe`, `card`.

    Raises:
        UsageError: It cannot be read, is not YAML of plain values, or no mapping.
    """
    from kdbench.util import plain_yaml
    from kdbench.util.validation import found

    content = plain_yaml.read(path, what)
    if not isinstance(content, dict):
        raise UsageError(
            f"the {what} {path} holds {found(content)}, expected a mapping: lines of the form KEY: VALUE",
            hint=f"Name the YAML file of the {what}, or write its first line as KEY: VALUE.",
        )
    return content


def cache_dir() -> Path:
    """The user's cache folder: `$KDBENCH_CACHE`, else the platform's own. It may not exist yet."""
    override = os.environ.get("KDBENCH_CACHE")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("kdbench", appauthor=False))


def data_dirs(explicit: Path | None = None) -> list[Path]:
    """The folders in which data sets are looked for, in this order; they need not exist.

    Args:
        explicit: What the user gave as `--data-dir`.

    Returns:
        `explicit`, `$KDBENCH_DATA`, `./data`, and `data` in the cache folder; without repeats.
    """
    environment = os.environ.get("KDBENCH_DATA")
    candidates = [explicit, Path(environment) if environment else None, Path("data"), cache_dir() / "data"]
    return list(dict.fromkeys(path.expanduser().resolve() for path in candidates if path is not None))
