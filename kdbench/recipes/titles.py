"""Methods by what their titles say: for a published name that is not there, those that come nearest."""

from __future__ import annotations

import difflib
import math
import re

from kdbench.errors import UsageError, shortened
from kdbench.recipes import shipped
from kdbench.recipes.systems import absent_line
from kdbench.util import paths

MOST = 3
_SHORTEST = 3
_SHORTEST_BEGINNING = 5
"""Letters of a word that may be the beginning of another: `distill` is, of `distillation`."""


def near_by_title(name: str) -> list[str]:
    """The shipped methods whose summary or source has words of a name, the nearest first; at most three.

    A word counts more the fewer titles have it. Of equals, the one whose summary begins most like the name comes first.

    Args:
        name: What somebody wrote: `mst_distill`, `temporal_segment_networks`.
    """
    # An overlong name is no title, and comparing it would take its time.
    wanted = _words(shortened(name))
    titles = {method: _title(method) for method in shipped.BUILTIN}
    counts = {word: sum(_has(words, word) for _, words in titles.values()) for word in wanted}
    weights = {word: math.log(1 + len(titles) / count) for word, count in counts.items() if count}
    scores = {
        method: (sum(weights[word] for word in weights if _has(words, word)), _alike(wanted, summary))
        for method, (summary, words) in titles.items()
    }
    near = [method for method, (shared, _) in scores.items() if shared]
    return sorted(near, key=lambda method: scores[method], reverse=True)[:MOST]


def with_titles(error: UsageError, name: str) -> UsageError:
    """The error for an unknown name, with the methods that come near it by their titles and are not yet named in it.

    Args:
        error: The error.
        name: The unknown name.
    """
    # Of a name that is known, something else is wrong.
    if not error.message.startswith("unknown"):
        return error
    if absent := absent_line(name):
        return UsageError(error.message, hint=f"{absent} {error.hint or ''}".strip())
    near = [method for method in near_by_title(name) if f"'{method}'" not in error.message]
    if not near:
        return error
    hint = f"By title, these methods come near: {', '.join(near)}. {error.hint or ''}".strip()
    return UsageError(error.message, hint=hint)


def _title(method: str) -> tuple[str, frozenset[str]]:
    """How a method's summary begins, and the words of its summary and source."""
    said = paths.read_mapping(paths.folder("methods") / f"{method}.yaml", "recipe")
    summary, source = (str(said.get(key, "")) for key in ("summary", "source"))
    return summary.partition(",")[0].lower(), frozenset(_words(f"{summary} {source}"))


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_\d]+", text.lower()) if len(word) >= _SHORTEST]


def _has(words: frozenset[str], wanted: str) -> bool:
    if wanted in words:
        return True
    return len(wanted) >= _SHORTEST_BEGINNING and any(word.startswith(wanted) for word in words)


def _alike(wanted: list[str], summary: str) -> float:
    return difflib.SequenceMatcher(None, " ".join(wanted), summary).ratio()
