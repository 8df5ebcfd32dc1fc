"""Series of samples in text files: a row per sample, some of its columns numbers, others a time or a name."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.text.wording import counted

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([ed][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_DELIMITERS = (";", "\t", "|", ",")
_COMMENTS = ("#", "%", "//")
_QUOTED = re.compile('"[^"]*"')
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FEW = 0.02
"""Share of bytes beyond ASCII up to which a text that is not UTF-8 is taken for Latin-1: names, units and notes."""
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read(content: bytes, columns: Sequence[int], *, width: int | None = None) -> np.ndarray:
    """Reads columns of numbers.

    Rows end in any way, and values lie between semicolons, tabs, bars, commas or blanks; whichever of them comes first
    in this list and stands in the first row, outside quotes, counts. Beside all but commas, numbers may have decimal
    commas; an exponent may be written as Fortran does, `1.0D3`. Empty lines, and lines that begin with `#`, `%` or
    `//`, are passed over, and so is a first row of names with a row of units below it.

    Args:
        content: The whole file.
        columns: Which columns to read, from 0; the others may hold anything.
        width: How many columns there have to be; None where as many as are needed will do, the same in each row.

    Returns:
        `(rows, columns)`, float32; what is stated as NaN or too large stays so, and is the caller's to refuse.

    Raises:
        ValueError: There are no rows, rows of unlike width, or something else than a number; the line is named.
    """
    rows = _rows(content)
    delimiter = _delimiter(rows)
    table = [(line, _values(text, delimiter)) for line, text in rows]
    if len(table) > 1 and _is_of_names(
        [table[0][1][column] for column in columns if column < len(table[0][1])], delimiter
    ):
        names = len(table[0][1])
        del table[0]
        if len(table) > 1 and len(table[0][1]) == names and _is_of_names(table[0][1], delimiter):
            del table[0]
    if not table:
        raise ValueError("it is empty")
    width = len(table[0][1]) if width is None else width
    if width <= max(columns):
        raise ValueError(f"it has {counted(width, 'column')}, expected {max(columns) + 1}")
    numbers = np.empty((len(table), len(columns)), np.float64)
    for row, (line, values) in enumerate(table):
        if len(values) != width:
            raise ValueError(f"line {line} has {counted(len(values), 'column')}, not {width}")
        for place, column in enumerate(columns):
            text = _plain(values[column], delimiter)
            if not _NUMBER.fullmatch(text):
                what = f"is not a number: '{values[column][:40]}'" if text else "is missing"
                raise ValueError(f"line {line}: the value in column {column + 1} {what}")
            numbers[row, place] = float(text.upper().replace("D", "E") if text[-1].isdigit() else text)
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def width(content: bytes) -> int:
    """How many columns the first row of a file has, names or numbers.

    Raises:
        ValueError: It is empty, or no text.
    """
    rows = _rows(content)
    if not rows:
        raise ValueError("it is empty")
    return len(_values(rows[0][1], _delimiter(rows)))


def _delimiter(rows: Sequence[tuple[int, str]]) -> str | None:
    """What lies between the values of the first row; None for blanks."""
    first = _QUOTED.sub("", rows[0][1]) if rows else ""
    return next((mark for mark in _DELIMITERS if mark in first), None)


@dataclass(frozen=True)
class TextTable:
    """A text file as rows of values, with the names of its columns where its first row holds them.

    Attributes:
        names: Names of the columns; empty where the first row holds values.
        lines: Number and text of each row, at least one.
        separator: What lies between values; None for blanks.
    """

    names: tuple[str, ...]
    lines: tuple[tuple[int, str], ...]
    separator: str | None

    @functools.cached_property
    def rows(self) -> list[tuple[int, list[str]]]:
        """Number of the line and values of each row."""
        return [(line, self._whole(text)) for line, text in self.lines]

    def _whole(self, text: str) -> list[str]:
        """The values of a row; the last may be missing where the mark before it is all that tells of it."""
        values = _values(text, self.separator)
        lacks_last = self.separator and len(values) == self.width - 1 and text.rstrip(" ").endswith(self.separator)
        return [*values, ""] if lacks_last else values

    @functools.cached_property
    def width(self) -> int:
        """Number of columns, of the first row; of the names where that row lacks its last value."""
        text = self.lines[0][1]
        count = len(_values(text, self.separator))
        lacks_last = self.separator and len(self.names) == count + 1 and text.rstrip(" ").endswith(self.separator)
        return count + bool(lacks_last)

    def texts(self, column: int) -> list[str]:
        """A column as it is written.

        Raises:
            ValueError: A row has more or fewer columns than the first; the line is named.
        """
        between = self.width - 1
        if self.separator and not any('"' in t or t.count(self.separator) != between for _, t in self.lines):
            return [text.split(self.separator, column + 1)[column].strip() for _, text in self.lines]
        self._check_width()
        return [values[column] for _, values in self.rows]

    def numbers(self, columns: Sequence[int], *, decimal: str | None = None) -> np.ndarray:
        """Some columns as numbers `(rows, columns)`, float64; an empty value is NaN.

        Args:
            columns: Which, from 0.
            decimal: What stands before decimals; None: a comma counts where values lie between other marks.

        Raises:
            ValueError: A row has more or fewer columns than the first, or a value is no number; the line is named.
        """
        commas = decimal == "," or (decimal is None and self.separator in (";", "\t", "|"))
        if (quick := self._quickly(columns, commas=commas)) is not None:
            return quick
        self._check_width()
        table = [[values[column] for column in columns] for _, values in self.rows]
        if commas:
            table = [[text.replace(",", ".") if text.count(",") == 1 else text for text in row] for row in table]
        table = [[text or "nan" for text in row] for row in table]
        try:
            if any("_" in text for row in table for text in row):
                raise ValueError
            return np.array(table, np.float64).reshape(len(table), len(columns))
        except ValueError:
            for (line, values), row in zip(self.rows, table, strict=True):
                for column, text in zip(columns, row, strict=True):
                    if not _NUMBER.fullmatch(text):
                        raise ValueError(
                            f"line {line}: the value in column {column + 1} is not a number: '{values[column][:40]}'"
                        ) from None
            return np.array([[float(text.upper().replace("D", "E")) for text in row] for row in table], np.float64)

    def _quickly(self, columns: Sequence[int], *, commas: bool) -> np.ndarray | None:
        """The same by numpy's own parser, twenty times as fast; None for what it does not take."""
        texts = [text.replace(",", ".") if commas else text for _, text in self.lines]
        between = self.width - 1
        if self.separator is None or any(t.count(self.separator) != between or '"' in t or "_" in t for t in texts):
            return None
        try:
            return np.loadtxt(texts, np.float64, comments=None, delimiter=self.separator, usecols=columns, ndmin=2)
        except ValueError:
            return None

    def _check_width(self) -> None:
        for line, values in self.rows:
            if len(values) != self.width:
                raise ValueError(f"line {line} has {counted(len(values), 'column')}, not {self.width}")


def table(content: bytes, *, separator: str | None = None, skip: int = 0) -> TextTable:
    """A text file as rows of values; what counts as a row is as for `read`.

    Args:
        content: The whole file.
        separator: What lies between values; None: as the first row shows it.
        skip: So many rows behind the names are left out.

    Raises:
        ValueError: It is no text, or has no rows of values.
    """
    rows = _rows(content)
    delimiter = _delimiter(rows) if separator is None else (None if separator == " " else separator)

    def is_of_values(text: str) -> bool:
        return any(_NUMBER.fullmatch(_plain(value, delimiter)) for value in _values(text, delimiter))

    names: tuple[str, ...] = ()
    if rows and not is_of_values(rows[0][1]) and (len(rows) == 1 or is_of_values(rows[1][1])):
        names = tuple(value.strip('"') for value in _values(rows[0][1], delimiter))
        del rows[0]
    rows = rows[skip:]
    if not rows:
        raise ValueError("it has no rows" + (f" below the names {', '.join(names)[:80]}" if names else ""))
    return TextTable(names, tuple(rows), delimiter)


def _rows(content: bytes) -> list[tuple[int, str]]:
    """Number and text of each line that holds something."""
    coding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeError as error:
        text = content.decode("latin-1")
        if coding != "utf-8" or _CONTROL.search(text) or sum(byte > 127 for byte in content) > _FEW * len(content):
            raise ValueError("it is not text in UTF-8") from error
    if "\0" in text:
        raise ValueError("it is not text: it holds zero bytes")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbered = ((number, line.strip(" ")) for number, line in enumerate(lines, start=1))
    return [(number, line) for number, line in numbered if line.strip() and not line.lstrip().startswith(_COMMENTS)]


def _is_of_names(values: Sequence[str], delimiter: str | None) -> bool:
    """Whether a row holds something, and no number."""
    return any(values) and not any(_NUMBER.fullmatch(_plain(value, delimiter)) for value in values)


def _values(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    values = [value.strip() for value in next(csv.reader([line], delimiter=delimiter))] if '"' in line else None
    values = values or [value.strip() for value in line.split(delimiter)]
    # Some programs end a row as they end a value.
    return values[:-1] if len(values) > 1 and not values[-1] and not line.rstrip().endswith(delimiter * 2) else values


def _plain(value: str, delimiter: str | None) -> str:
    """A number with a decimal point."""
    is_decimal = delimiter in (";", "\t", "|") and value.count(",") == 1 and "." not in value
    return value.replace(",", ".") if is_decimal else value
