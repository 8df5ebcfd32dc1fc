"""Holds submissions to what they claim, each for itself, so that a broken or hostile one costs no other anything."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.leaderboard.ahead import opened_ahead
from kdbench.leaderboard.consistency import FILE_CHECKS, check_card
from kdbench.leaderboard.copies import copied_methods
from kdbench.leaderboard.entry import BoardEntry, load
from kdbench.leaderboard.keep import Keep, key_of
from kdbench.leaderboard.scoring import check_scores
from kdbench.leaderboard.tier import Tier, tier_of
from kdbench.leaderboard.trials import ExpectedTrials, card_of, expected
from kdbench.util.collecting import without_collecting

_LONGEST = 400
_MOST_PROBLEMS = 50
_HASH = re.compile(r"[0-9a-f]{40,}")
_DIFFERENCES = 4


@dataclass(frozen=True)
class Checked:
    """What is known of one submission.

    Attributes:
        folder: Where it lies.
        entry: What it holds; None where it cannot be read.
        problems: Everything that is wrong; empty where it stands.
        tier: How far it is proven.
        kept: Whether it stood before, and nothing of it has changed since.
    """

    folder: Path
    entry: BoardEntry | None
    problems: tuple[str, ...]
    tier: Tier
    kept: bool = False


def verify(folders: Iterable[Path], keep: Keep | None = None, *, recheck: bool = False) -> list[Checked]:
    """Checks submissions, each for itself and all of them for claims of the same result and copies of one another.

    Args:
        folders: The submissions' folders.
        keep: Where submissions are kept that stood; one whose files are, by their hashes, those that stood is not
            checked again for itself. Without it every one is.
        recheck: Take none from there, and keep what stands.
    """
    folders = list(folders)
    keys = {} if keep is None else {folder: key_of(folder) for folder in folders}
    with without_collecting():
        by_folder = {} if keep is None or recheck else dict(_kept(keys, keep))
    for submission in _checked([folder for folder in folders if folder not in by_folder]):
        by_folder[submission.folder] = submission
        key, entry = keys.get(submission.folder), submission.entry
        if keep is None or key is None or entry is None or submission.problems:
            continue
        # It may have been changed while it was checked.
        if key_of(submission.folder) == key:
            keep.add(key, entry, submission.tier)
    checked = [by_folder[folder] for folder in folders]
    standing = [submission.entry for submission in checked if submission.entry is not None and not submission.problems]
    claimed: dict[str, list[Path]] = defaultdict(list)
    for submission in checked:
        if submission.entry is not None and (claim := _claim(submission.entry)) is not None:
            claimed[claim].append(submission.folder)
    more = copied_methods(standing)
    for paths in claimed.values():
        for path in paths[: len(paths) if len(paths) > 1 else 0]:
            others = ", ".join(other.name for other in paths if other != path)
            more[path].append(f"another submission claims the same (method, recipe and conditions): {others}; keep one")
    return [
        _with(submission, more[submission.folder]) if submission.folder in more else submission
        for submission in checked
    ]


def _kept(keys: Mapping[Path, str | None], keep: Keep) -> Iterator[tuple[Path, Checked]]:
    for folder, key in keys.items():
        if key is not None and (found := keep.find(folder, key)) is not None:
            entry, tier = found
            yield folder, Checked(folder, entry, (), tier, kept=True)


def _checked(folders: Sequence[Path]) -> Iterator[Checked]:
    """Checks submissions, and lets go of what only that needs, so that thousands fit into memory."""
    shared: dict[bytes, np.ndarray] = {}
    for folder, opened in opened_ahead(folders):
        submission = _answered(folder, opened)
        if submission.entry is not None:
            # One that does not stand is named, and holds nothing either.
            held = replace(submission.entry) if submission.problems else submission.entry.settled(shared)
            submission = replace(submission, entry=held)
        yield submission


def check(folder: Path) -> Checked:
    """Checks one submission; whatever it holds, the answer is what is wrong with it."""
    return _answered(folder, lambda: load(folder))


def _answered(folder: Path, opened: Callable[[], BoardEntry]) -> Checked:
    try:
        return _check(folder, opened)
    except Exception as error:
        # What no check foresaw is this submission's problem alone.
        why = f"it cannot be checked: {type(error).__name__}: {error}"
        return Checked(folder, None, (_printable(why),), Tier.REPORTED)


def _check(folder: Path, opened: Callable[[], BoardEntry]) -> Checked:
    try:
        entry = opened()
    except KdbenchError as error:
        return Checked(folder, None, (_printable(error.message),), Tier.REPORTED)
    problems = [line for part in FILE_CHECKS for line in _caught(part, entry)]
    known: ExpectedTrials | None = None
    try:
        result = entry.result
        card = card_of(result.dataset, entry.options)
        known = expected(result.dataset, result.protocol, entry.options)
        problems += _caught(lambda loaded: check_card(loaded, card, known), entry)
        problems += _caught(lambda loaded: check_scores(loaded, known), entry)
    except KdbenchError as error:
        problems.append(error.message)
    scored = known is not None and not problems
    # Several parts read the same file, and say the same of one that is missing.
    return Checked(folder, entry, _shown(dict.fromkeys(problems)), tier_of(entry, scored))


def claim_of(entry: BoardEntry) -> str:
    """What no two submissions may both claim: method, settings and conditions, as comparable text.

    Raises:
        DataError: Its recipe cannot be read.
    """
    result = entry.result
    plugins = sorted(json.dumps(plugin.model_dump(), sort_keys=True) for plugin in result.plugins)
    name = " ".join(unicodedata.normalize("NFKC", result.method).casefold().split())
    return json.dumps([name, result.conditions, plugins, entry.settings], sort_keys=True)


def _claim(entry: BoardEntry) -> str | None:
    try:
        return claim_of(entry)
    except (KdbenchError, ValueError, TypeError):
        # Named already, by the check of its recipe.
        return None


def problems_of(folder: Path) -> tuple[str, ...]:
    """Everything that is wrong with one submission."""
    return check(folder).problems


def differences(one: Any, other: Any, key: str = "", *, most: int | None = _DIFFERENCES) -> list[str]:
    """Where two values of plain data differ, as `key: this, that`, or with `most` the first few of them."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = list(dict.fromkeys([*one, *other]))
        lines_of = [differences(one.get(k), other.get(k), f"{key}.{k}" if key else str(k), most=most) for k in keys]
        return [line for lines in lines_of for line in lines][:most]
    if one == other:
        return []
    return [f"{key}: {_short(one)}, {_short(other)}" if key else f"{_short(one)}, {_short(other)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str) and _HASH.fullmatch(value):
        return f"{value[:8]}…"
    return text if len(text) < 60 else f"{text[:57]}…"


def _caught(part: Callable[[BoardEntry], Iterable[str]], entry: BoardEntry) -> list[str]:
    """What one part finds; where it stops, the others still tell what they find."""
    problems: list[str] = []
    try:
        for problem in part(entry):
            problems.append(problem)
            # A submission may be made to have millions of them.
            if len(problems) > _MOST_PROBLEMS:
                break
    except KdbenchError as error:
        problems.append(error.message)
    return problems


def _with(checked: Checked, more: Iterable[str]) -> Checked:
    return replace(checked, problems=_shown([*checked.problems, *more]), tier=Tier.REPORTED)


def _shown(problems: Iterable[str]) -> tuple[str, ...]:
    lines = [_printable(problem) for problem in problems]
    more = len(lines) - _MOST_PROBLEMS
    return (*lines[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


def _printable(problem: str) -> str:
    """A problem as a terminal may show it, whatever names of the submission it repeats."""
    # Cut before it is escaped, which may make it many times as long.
    problem = problem[: 4 * _LONGEST]
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in problem)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
