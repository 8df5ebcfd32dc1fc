"""Holds submissions to what they claim: each for itself, and all of them to one another."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.leaderboard.check import Checked, shown
from kdbench.leaderboard.copies import copied_methods
from kdbench.leaderboard.each import check_each
from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.keep import Keep
from kdbench.leaderboard.tier import Tier

_HASH = re.compile(r"[0-9a-f]{40,}")
_DIFFERENCES = 4


def verify(folders: Iterable[Path], keep: Keep | None = None, *, recheck: bool = False) -> list[Checked]:
    """Checks submissions, each for itself and all of them for claims of the same result and copies of one another.

    Args:
        folders: The submissions' folders.
        keep: Where submissions are kept that stood; one whose files are, by their hashes, those that stood is not
            checked again for itself. Without it every one is.
        recheck: Take none from there, and keep what stands.
    """
    checked = check_each(list(folders), keep, recheck=recheck)
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


def _with(checked: Checked, more: Iterable[str]) -> Checked:
    return replace(checked, problems=shown([*checked.problems, *more]), tier=Tier.REPORTED)
