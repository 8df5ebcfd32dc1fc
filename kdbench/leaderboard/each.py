"""Checks submissions, each for itself: those of which nothing is kept, and of very many half in a second process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.leaderboard.ahead import opened_ahead
from kdbench.leaderboard.check import Checked, check_opened
from kdbench.leaderboard.keep import Keep, key_of
from kdbench.util.beside import beside, has_another_core
from kdbench.util.collecting import without_collecting

_WORTH_HELP = 300
"""Submissions to check from which on a second process pays: it takes a few seconds to start."""

_Keys = Mapping[Path, str | None]


def check_each(folders: Sequence[Path], keep: Keep | None, *, recheck: bool) -> list[Checked]:
    """Checks submissions, each for itself.

    Args:
        folders: Where they lie.
        keep: Where those are found that stood, and those are kept that stand; without it every one is checked.
        recheck: Whether every one is checked with it too.
    """
    if keep is None:
        keys: _Keys = {}
        checked: dict[Path, Checked] = {}
    else:
        keys = {folder: key_of(folder) for folder in folders}
        with without_collecting():
            checked = {} if recheck else _found(keys, keep, kept=True)
    rest = [folder for folder in folders if folder not in checked]
    if keep is not None and not recheck and len(rest) >= _WORTH_HELP and has_another_core():
        checked |= _with_help(rest, keys, keep)
        rest = [folder for folder in rest if folder not in checked]
    checked |= _checked(rest, keys, keep)
    return [checked[folder] for folder in folders]


def _with_help(folders: Sequence[Path], keys: _Keys, keep: Keep) -> dict[Path, Checked]:
    """Checks the first half, while another process checks and keeps the others; what it does not leave is missing."""
    half = (len(folders) + 1) // 2
    told = {"folders": [str(folder.absolute()) for folder in folders[half:]], "path": str(keep.path.absolute())}
    with beside("kdbench.leaderboard.each:keep_these", told):
        checked = _checked(folders[:half], keys, keep)
    return checked | _found({folder: keys[folder] for folder in folders[half:]}, keep, kept=False)


def keep_these(told: Mapping[str, Any]) -> None:
    """Checks submissions and keeps those that stand; what a second process does.

    Args:
        told: `folders`, those of the submissions; `path`, the file of the keep.
    """
    folders = [Path(folder) for folder in told["folders"]]
    with Keep(Path(told["path"])) as keep:
        _checked(folders, {folder: key_of(folder) for folder in folders}, keep)


def _found(keys: _Keys, keep: Keep, *, kept: bool) -> dict[Path, Checked]:
    found = {folder: keep.find(folder, key) for folder, key in keys.items() if key is not None}
    return {folder: Checked(folder, one[0], (), one[1], kept) for folder, one in found.items() if one is not None}


def _checked(folders: Sequence[Path], keys: _Keys, keep: Keep | None) -> dict[Path, Checked]:
    checked: dict[Path, Checked] = {}
    for submission in _light(folders):
        checked[submission.folder] = submission
        key, entry = keys.get(submission.folder), submission.entry
        if keep is None or key is None or entry is None or submission.problems:
            continue
        # It may have been changed while it was checked.
        if key_of(submission.folder) == key:
            keep.add(key, entry, submission.tier)
    return checked


def _light(folders: Sequence[Path]) -> Iterator[Checked]:
    """Checks submissions, and lets go of what only that needs, so that thousands fit into memory."""
    shared: dict[bytes, np.ndarray] = {}
    for folder, opened in opened_ahead(folders):
        submission = check_opened(folder, opened)
        if submission.entry is not None:
            # One that does not stand is named, and holds nothing either.
            held = replace(submission.entry) if submission.problems else submission.entry.settled(shared)
            submission = replace(submission, entry=held)
        yield submission
