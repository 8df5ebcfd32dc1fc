"""Several methods searched one after the other, under one budget and on one validation part."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import Interrupted, KdbenchError, UsageError
from kdbench.grid.changes import changes_for
from kdbench.grid.suite import Suite
from kdbench.runs.context import choose_preset
from kdbench.runs.request import RunRequest
from kdbench.text.redaction import redacted
from kdbench.text.wording import counted, some
from kdbench.tuning.recipes import write_tuned
from kdbench.tuning.request import SearchRequest
from kdbench.tuning.searching import SearchResult, carry_out
from kdbench.tuning.settled import Settled, settled
from kdbench.util.progress import Reporter

_NAMED = 5
SUITE_PRUNER = "median"
"""Many methods cost many trials. The median rule has no setting that would suit some of them better than others, and
judges a trial by those of its own method alone, after the first five and a fifth of the epochs."""


@dataclass(frozen=True)
class SearchEntry:
    """A method of a suite, ready to be searched.

    Attributes:
        name: What it is called: its label in the suite, else its name.
        search: Its search.
    """

    name: str
    search: Settled

    @property
    def stem(self) -> str:
        """What the files of its recipe are called."""
        name = self.name.rpartition("/")[2].replace(" + ", "+")
        return "".join(sign if sign.isalnum() or sign in "_.+-" else "_" for sign in name)


@dataclass(frozen=True)
class Outcome:
    """How the search of a method ended.

    Attributes:
        entry: The method.
        seconds: How long it took now.
        result: What came out; None where it failed.
        recipe: Where the tuned recipe was written; None where nobody asked for it, or it failed.
        error: Why it failed; None where it did not.
    """

    entry: SearchEntry
    seconds: float
    result: SearchResult | None = None
    recipe: Path | None = None
    error: KdbenchError | None = None


def entries_of(
    suite: Suite,
    options: Mapping[str, Any],
    overrides: Sequence[str],
    request: Mapping[str, Any],
    reporter: Reporter,
    *,
    look_ahead: bool = False,
) -> list[SearchEntry]:
    """Settles the search of every method, before any of them begins.

    Args:
        suite: The methods, with their own changes.
        options: Fields of `RunRequest` that hold for all; data set, protocol, preset and video are the suite's.
        overrides: Changes of every recipe, `a.b.c=value`; they come after the suite's.
        request: Fields of `SearchRequest` that hold for all, but for `run`.
        reporter: Is told what was chosen.
        look_ahead: As for `settled`.

    Raises:
        UsageError: What cannot be searched, all of it at once.
    """
    dataset, protocol = _only("data set", "--dataset", suite.datasets), _only("protocol", "--protocol", suite.protocols)
    preset = choose_preset(suite.preset, options.get("device", "auto"), reporter)
    methods = suite.pairs()
    changes = changes_for(methods, suite, overrides, preset, reporter)
    entries: list[SearchEntry] = []
    wrong: list[tuple[str, UsageError]] = []
    for method, own in zip(methods, changes, strict=True):
        place = (str(dataset), protocol, preset, suite.video)
        try:
            run = RunRequest(method.name, *place, overrides=own, teacher=method.teacher, **options)
            # What there is to say of the data is the same for all, and said once.
            told = reporter if not entries else None
            search = settled(SearchRequest(run, **request), told, look_ahead=look_ahead)
            entries.append(SearchEntry(method.title, search))
        except UsageError as error:
            wrong.append((method.title, error))
    if wrong:
        raise _refused(wrong)
    _check_alike(entries)
    return entries


def _refused(wrong: Sequence[tuple[str, UsageError]]) -> UsageError:
    """All that cannot be searched; what is wrong with several methods alike is said once."""
    if len(wrong) == 1:
        title, error = wrong[0]
        return UsageError(f"{title}: {error.message}", hint=error.hint)
    alike: dict[str, list[tuple[str, UsageError]]] = {}
    for title, error in wrong:
        alike.setdefault(re.sub(r"^recipe '[^']*': ", "", error.message), []).append((title, error))
    lines = "".join(
        f"\n  {some([title for title, _ in same], _NAMED)}: {reason if len(same) > 1 else same[0][1].message}"
        for reason, same in alike.items()
    )
    hints = dict.fromkeys(same[0][1].hint for same in alike.values() if same[0][1].hint)
    return UsageError(f"{counted(len(wrong), 'method')} cannot be searched:{lines}", hint="\n".join(hints))


def _only(what: str, option: str, named: Sequence[str]) -> str | None:
    if len(named) > 1:
        raise UsageError(
            f"a search is on one {what}, and there are {len(named)}: {', '.join(named)}", hint=f"Choose: {option} NAME"
        )
    return named[0] if named else None


def _check_alike(entries: Sequence[SearchEntry]) -> None:
    """Every method has files of its own, and is judged on the very same trials.

    Raises:
        UsageError: Two methods of one name, or of unlike validation parts.
    """
    stems = [entry.stem for entry in entries]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise UsageError(
            f"{', '.join(twice)} stands there more than once, and a recipe has one name",
            hint="In a suite each may have its own: {name: rkd, label: rkd_strong, set: …}",
        )
    parts = {entry.search.context.split.validation: entry.name for entry in entries}
    if len(parts) > 1:
        raise UsageError(
            f"{' and '.join(list(parts.values())[:2])} are not judged on the same validation trials",
            hint="Search them one by one, or without the options that set them apart.",
        )


def search_all(
    entries: Sequence[SearchEntry],
    *,
    seeds: int,
    recipes: Path | None,
    reporter: Reporter,
    begun: Callable[[int, SearchEntry], None] = lambda _place, _entry: None,
) -> Iterator[Outcome]:
    """Searches one method after the other; one that fails does not stop the others.

    Args:
        entries: The methods.
        seeds: Seeds of each winner's runs; 0 trains none.
        recipes: Folder of the tuned recipes; None writes none.
        reporter: Shows the progress of each.
        begun: Called with each method's place and itself.

    Raises:
        Interrupted: Ctrl-C; the same call goes on.
    """
    for place, entry in enumerate(entries):
        begun(place, entry)
        began = time.monotonic()
        try:
            result = carry_out(entry.search, seeds, reporter)
            path = write_tuned(result, recipes, entry.stem) if recipes is not None else None
            yield Outcome(entry, time.monotonic() - began, result, path)
        except Interrupted:
            raise
        except KdbenchError as error:
            yield Outcome(entry, time.monotonic() - began, error=error)
        except Exception as error:
            failure = KdbenchError(
                redacted(f"{type(error).__name__}: {error}"),
                hint="This is unexpected. Search this method alone with --debug for the traceback.",
            )
            yield Outcome(entry, time.monotonic() - began, error=failure)
