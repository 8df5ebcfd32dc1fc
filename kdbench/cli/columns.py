"""What is typed of the columns of recordings: `--columns`, `--time-column` and `--factor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdbench.errors import UsageError

if TYPE_CHECKING:
    from kdbench.students.series_file import Columns
    from kdbench.students.student import Student


def columns_of(
    student: Student, columns: list[str] | None, times: list[str] | None, factors: list[str] | None
) -> Mapping[str, Columns]:
    """What is said of each source's columns.

    Args:
        student: Says which sources there are.
        columns: As typed: `x,y,z` or `SOURCE=x,y,z`.
        times: As typed: a column each.
        factors: As typed: a number each.

    Raises:
        UsageError: A word names no source where there are several, or is no number.
    """
    from kdbench.students.schema import SeriesInput
    from kdbench.students.series_file import Columns, column_from, columns_from

    series = [entry.source for entry in student.export.inputs if isinstance(entry, SeriesInput)]
    axes = _by_source("--columns", columns, series)
    when = _by_source("--time-column", times, series)
    scale = _by_source("--factor", factors, series)
    return {
        source: Columns(
            columns_from(axes[source]) if source in axes else None,
            column_from(when[source]) if source in when else None,
            _number(scale[source]) if source in scale else None,
        )
        for source in series
        if source in axes or source in when or source in scale
    }


def _by_source(option: str, words: list[str] | None, series: list[str]) -> dict[str, str]:
    if words and not series:
        raise UsageError(f"{option} has no effect: this student sees video alone", hint="Leave it out.")
    found: dict[str, str] = {}
    for word in words or ():
        source, equals, value = word.partition("=")
        if not equals or source not in series:
            if len(series) > 1:
                raise UsageError(
                    f"{option} {word} does not say which source is meant: {' or '.join(series)}",
                    hint=f"For example: {option} {series[0]}={word}",
                )
            source, value = series[0], word
        if source in found:
            raise UsageError(f"{option} is given twice for the {source}", hint="Give it once.")
        found[source] = value
    return found


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"--factor {word}: expected a number", hint="For example: --factor 9.80665") from None
