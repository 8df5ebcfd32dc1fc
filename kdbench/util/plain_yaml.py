"""YAML that people write: plain values alone, read within bounds and with every fault named by its line and key.

A file is read from the parser's events, so that nothing is built which is too deep or too large: an alias counts as
what it stands for. Beside that, a value is what it looks like: `1e-4` is a number; `2015-10-01`, `007` and `12:30`
are text; keys are always text, and a key that stands twice is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kdbench.errors import UsageError, shortened

MOST_BYTES = 4 * 2**20
MOST_VALUES = 200_000
DEEPEST = 40
LONGEST_NUMBER = 40

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    form: value
    for value, words in (
        (None, ("~", "null")),
        (True, ("true", "yes", "on")),
        (False, ("false", "no", "off")),
        (math.inf, (".inf", "+.inf")),
        (-math.inf, ("-.inf",)),
        (math.nan, (".nan",)),
    )
    for word in words
    for form in (word, word.title(), word.upper())
} | {"": None, ".NaN": math.nan}
_TAGGED: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
_QUOTE = "Put text in quotes where it could be taken for something else."
_FORM = "Close every bracket and quote; in a file, write KEY: VALUE, a line each."
_UNQUOTED = ("cannot start any token", "mapping values are not allowed")
"""What the parser says of text with `: ` in it, or with `@` or a backquote before it."""


class _Fault(Exception):
    """What is wrong at one place of a file, and what to do about it."""

    def __init__(self, message: str, mark: Any, *, hint: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.hint = hint


@dataclass
class _Open:
    """A mapping or list that is not yet closed."""

    held: Any
    anchor: str | None
    size: int = 1
    """Values in it, with those that its aliases stand for."""
    key: str | None = None
    """The key of which the value comes next."""
    own: set[str] = field(default_factory=set)
    """Keys that were written here, not merged."""
    merged: list[Any] = field(default_factory=list)


def read(path: Path, what: str) -> Any:
    """Reads a YAML file of plain values.

    Args:
        path: The file.
        what: What it should be, for messages: `recipe`, `card`.

    Raises:
        UsageError: It cannot be read, is too large, is not UTF-8, or holds what `parse` refuses.
    """
    try:
        if not path.is_file():
            wrong = f"the {what} {path} is not a file" if path.exists() else f"there is no {what} {path}"
            raise UsageError(wrong, hint=f"Name the YAML file of the {what}.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the {what} {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="Name a YAML file that may be read.",
        ) from error
    if len(content) > MOST_BYTES:
        raise UsageError(
            f"the {what} {path} has more than {MOST_BYTES // 2**20} MiB, which no {what} needs",
            hint=f"Name the YAML file of the {what}.",
        )
    try:
        # With or without the mark that some editors put first.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the {what} {path} is not valid YAML: byte {error.start + 1} is not UTF-8",
            hint="Save it as UTF-8 text.",
        ) from error
    return parse(text, f"the {what} {path}")


def parse(text: str, place: str) -> Any:
    """Reads YAML of plain values: text, numbers, true and false, null, lists and mappings.

    Args:
        text: The YAML.
        place: Where it stands, for messages: `the card PATH`.

    Raises:
        UsageError: It is not YAML, has several documents or other types, is nested too deep, is too large once its
            aliases are followed, holds a number of more than 40 digits, or a key twice.
    """
    try:
        return _built(yaml.parse(text, Loader=_LOADER))
    except _Fault as fault:
        raise UsageError(f"{place}{_line(fault.mark)}: {fault}", hint=fault.hint) from None
    except yaml.MarkedYAMLError as error:
        problems = ", ".join(part for part in (error.context, error.problem) if part)
        hint = _QUOTE if any(problem in problems for problem in _UNQUOTED) else _FORM
        if "\t" in text and "cannot start any token" in problems:
            hint = "Indent with spaces, not with tabs."
        raise UsageError(
            f"{place} is not valid YAML{_line(error.problem_mark)}: {shortened(problems, 200)}",
            hint=hint,
        ) from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise UsageError(
            f"{place} is not valid YAML: {shortened(' '.join(str(error).split()), 200)}",
            hint="Write it as text in UTF-8, without control characters.",
        ) from None


def dump(content: Any, **style: Any) -> str:
    """Writes plain values as YAML that `parse` reads back as the same values."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **style)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes text that `parse` would take for a number."""


for _kind, _number in (("int", _INT), ("float", _FLOAT)):
    _Dumper.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"^(?:{_number.pattern})$"), list("-+.0123456789"))


def _line(mark: Any) -> str:
    return "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"


def _built(events: Iterator[yaml.Event]) -> Any:
    """Plain values from a parser's events."""
    stack: list[_Open] = []
    anchored: dict[str | None, tuple[Any, int] | None] = {}
    documents: list[Any] = []
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent) and documents:
            raise _Fault(
                "it holds several documents (---), expected one",
                event.start_mark,
                hint="Keep one, and delete the lines ---.",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            if len(stack) >= DEEPEST:
                raise _Fault(
                    f"{_path(stack)} is nested more than {DEEPEST} deep",
                    event.start_mark,
                    hint="Write it with fewer levels.",
                )
            is_list = isinstance(event, yaml.SequenceStartEvent)
            _check_tag(event, "seq" if is_list else "map", stack)
            if stack and _waits_for_key(stack[-1]):
                raise _no_text(stack, event)
            # Known and not finished: an alias to it before its end would lead to itself.
            if event.anchor is not None:
                anchored[event.anchor] = None
            stack.append(_Open([] if is_list else {}, event.anchor))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            closed = stack.pop()
            _merge(closed)
            value, size, anchor = closed.held, closed.size, closed.anchor
        elif isinstance(event, yaml.ScalarEvent):
            value, size, anchor = _scalar(event, stack), 1, event.anchor
        elif isinstance(event, yaml.AliasEvent):
            known = anchored.get(event.anchor)
            if known is None:
                target = "to itself" if event.anchor in anchored else "to what does not stand above it"
                raise _Fault(
                    f"{_path(stack)} refers {target}: *{event.anchor}",
                    event.start_mark,
                    hint="Write the values out there." if event.anchor in anchored else _QUOTE,
                )
            (value, size), anchor = known, None
        else:
            continue
        if anchor is not None:
            anchored[anchor] = (value, size)
        if not stack:
            documents.append(value)
            continue
        _put(stack, value, size, event)
        if stack[-1].size > MOST_VALUES:
            raise _Fault(
                f"{_path(stack)} holds more than {MOST_VALUES:,} values",
                event.start_mark,
                hint="Write less into it, or repeat less of it by aliases.",
            )
    return documents[0] if documents else None


def _put(stack: list[_Open], value: Any, size: int, event: yaml.Event) -> None:
    """Puts a finished value into what is open."""
    into = stack[-1]
    into.size += size
    if isinstance(into.held, list):
        into.held.append(value)
    elif into.key is None:
        if not isinstance(value, str):
            raise _no_text(stack, event)
        if value in into.own:
            raise _Fault(
                f"the key {shortened(value)} stands twice{_under(stack)}",
                event.start_mark,
                hint="Delete one of the two.",
            )
        into.own.add(value)
        into.key = value
    else:
        key, into.key = into.key, None
        if key == "<<":
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise _Fault(
                    f"<< takes in mappings alone{_under(stack)}",
                    event.start_mark,
                    hint="Name mappings behind it, such as <<: *NAME",
                )
            into.merged += sources
        else:
            into.held[key] = value


def _merge(closed: _Open) -> None:
    """Takes in what `<<` names; own keys win, then the earlier of what is named."""
    for source in closed.merged:
        for key, value in source.items():
            closed.held.setdefault(key, value)


def _no_text(stack: list[_Open], event: yaml.Event) -> _Fault:
    return _Fault(
        f"{_path(stack)} has a key that is not text", event.start_mark, hint="Keys are text: write a word there."
    )


def _waits_for_key(into: _Open) -> bool:
    return isinstance(into.held, dict) and into.key is None


def _check_tag(event: Any, kind: str, stack: list[_Open]) -> None:
    if event.tag not in {None, "!", _TAG + kind}:
        tag = shortened(str(event.tag).replace(_TAG, "!!"))
        raise _Fault(f"{_path(stack)} has the type {tag}; expected plain values alone", event.start_mark, hint=_QUOTE)


def _scalar(event: yaml.ScalarEvent, stack: list[_Open]) -> Any:
    """The value of a scalar: what it looks like where it is plain, and text in quotes or as a key."""
    text: str = event.value
    if event.tag is None or event.tag == "!":
        is_text = not event.implicit[0] or (bool(stack) and _waits_for_key(stack[-1]))
        return text if is_text else _plain(event, stack)
    kind = event.tag.removeprefix(_TAG)
    if kind not in _TAGGED:
        _check_tag(event, "str", stack)
        return text
    value = _plain(event, stack)
    if not isinstance(value, _TAGGED[kind]) or (kind != "bool" and isinstance(value, bool)):
        raise _Fault(
            f"{_path(stack)} = '{shortened(text)}' is no !!{kind}",
            event.start_mark,
            hint=f"Leave !!{kind} out, or write such a value.",
        )
    return float(text.replace("_", "")) if kind == "float" and isinstance(value, int) else value


def _plain(event: yaml.ScalarEvent, stack: list[_Open]) -> Any:
    """What a scalar without quotes looks like."""
    text: str = event.value
    if text in _WORDS:
        return _WORDS[text]
    is_int = _INT.fullmatch(text) is not None
    if not is_int and not _FLOAT.fullmatch(text):
        return text
    if len(text) > LONGEST_NUMBER:
        raise _Fault(
            f"{_path(stack)} is a number of {len(text):,} digits, expected at most {LONGEST_NUMBER}",
            event.start_mark,
            hint=_QUOTE,
        )
    if is_int:
        return int(text.replace("_", ""), 0)
    number = float(text.replace("_", ""))
    if math.isinf(number):
        raise _Fault(f"{_path(stack)} = {text} is too large a number", event.start_mark, hint=_QUOTE)
    return number


def _path(stack: list[_Open]) -> str:
    """The dotted key at which the reader stands."""
    steps = [
        str(len(level.held)) if isinstance(level.held, list) else shortened(level.key) if level.key is not None else ""
        for level in stack
    ]
    return shortened(".".join(step for step in steps if step), 120) or "it"


def _under(stack: list[_Open]) -> str:
    above = _path(stack[:-1])
    return "" if above == "it" else f" under {above}"
