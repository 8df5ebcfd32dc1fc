"""Checks what people write against a model, and says all that is wrong with it in plain sentences."""

from __future__ import annotations

import datetime
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kdbench.errors import KdbenchError, UsageError, near_misses, shortened
from kdbench.text.wording import counted

LISTED = 10
_LONGEST = 300
_Model = TypeVar("_Model", bound=BaseModel)
_Path = tuple[str | int, ...]

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "iterable": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
    "none": "null",
    "path": "a path",
}
"""What the first word of an error's type wants."""
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_PATTERNS = {
    r"^[0-9a-f]{64}$": "the 64 hexadecimal digits of a sha256",
    r"^[0-9a-f]{12}$": "12 hexadecimal digits",
}


def checked(
    model: type[_Model],
    content: Any,
    what: str,
    *,
    error: type[KdbenchError] = UsageError,
    hint: str | Callable[[], str],
) -> _Model:
    """Checks content against a model.

    Args:
        model: The model.
        content: What was read, plain values.
        what: What it is, for the message: `the card PATH`.
        error: What is raised.
        hint: The next step, or what makes it where it takes long to make.

    Raises:
        KdbenchError: It does not fit; every fault is listed with its key, what was found and what was expected.
    """
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        sentences = faults(fault, model, content)
    except RecursionError:
        sentences = ["it is nested too deep"]
    hint = hint() if callable(hint) else hint
    if len(sentences) == 1:
        raise error(f"{what}: {sentences[0]}", hint=hint)
    listed = "\n".join(f"  - {line}" for line in _some(sentences))
    raise error(f"{what} has {counted(len(sentences), 'fault')}:\n{listed}", hint=hint)


def in_a_line(fault: ValidationError, model: Any, content: Any) -> str:
    """The faults of content in one line, for lists of which each line is another file."""
    return "; ".join(_some(faults(fault, model, content)))


def faults(fault: ValidationError, model: Any, content: Any) -> list[str]:
    """What is wrong with content: a sentence a key, with what was found and what was expected.

    Args:
        fault: What pydantic says.
        model: The model, or any other type that was validated.
        content: What was validated.
    """
    by_path: dict[_Path, list[ErrorDetails]] = {}
    for detail in _details(fault):
        by_path.setdefault(_path(detail, content), []).append(detail)
    # Of a union (a number, or a mapping), the member that goes deeper is the one that was meant.
    deeper = {path[:end] for path in by_path for end in range(len(path))}
    unknown = [path for path, details in by_path.items() if details[0]["type"] == "extra_forbidden"]
    sentences = []
    for path, details in by_path.items():
        kind = details[0]["type"]
        if kind == "missing" and any(_meant(other, path) for other in unknown):
            continue
        # Pydantic does not count the entries that are wrong themselves.
        if path in deeper and (kind == "too_short" or (len(details[0]["loc"]) > len(path) and kind != "missing")):
            continue
        sentences.append(shortened(_sentence(path, details, model), _LONGEST))
    return sentences


def _some(sentences: list[str]) -> list[str]:
    more = len(sentences) - LISTED
    return sentences if more <= 0 else [*sentences[:LISTED], f"and {more} more"]


def _meant(unknown: _Path, missing: _Path) -> bool:
    """Whether a key that is missing is there, misspelt."""
    return unknown[:-1] == missing[:-1] and "did you mean" in near_misses(str(unknown[-1]), [str(missing[-1])])


def _details(fault: ValidationError) -> Iterator[ErrorDetails]:
    """Pydantic's errors, with those of a model that was checked inside a validator in their place."""
    for detail in fault.errors(include_url=False):
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            for below in _details(inner):
                below["loc"] = (*detail["loc"], *below["loc"])
                yield below
        else:
            yield detail


def _path(detail: ErrorDetails, content: Any) -> _Path:
    """Where a fault lies in the content: pydantic's location without the members of unions that it tried."""
    path: list[str | int] = []
    value = content
    last = len(detail["loc"]) - 1
    for number, step in enumerate(detail["loc"]):
        is_key = isinstance(value, Mapping) and step in value
        if is_key or (isinstance(value, list | tuple) and isinstance(step, int) and step < len(value)):
            value = value[step]
        # What is not in the content is a member of a union, unless it is the very key that is missing or unknown.
        elif number != last or detail["type"] not in {"missing", "extra_forbidden"}:
            continue
        path.append(step)
    return tuple(path)


def _sentence(path: _Path, details: list[ErrorDetails], model: Any) -> str:
    kind, value, location = details[0]["type"], details[0]["input"], details[0]["loc"]
    key, above = _dotted(path), _dotted(path[:-1])
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        name = str(path[-1])
        under = f" under {above}" if above else ""
        return f"unknown key '{shortened(name)}'{under}{near_misses(name, known_keys(model, path[:-1]))}"
    if kind in {"value_error", "assertion_error"}:
        message = details[0]["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if isinstance(value, Mapping | BaseModel):
            return f"{key}: {message}" if key else message
        return f"{key or 'it'} = {found(value)}: {message}"
    expected = " or ".join(dict.fromkeys(_wanted(detail, path, model) for detail in details))
    if "[key]" in location:
        return f"the key '{shortened(str(path[-1]))}' under {above or 'it'}: expected {expected}"
    if expected == "text" and isinstance(value, bool | int | float):
        expected = "text, in quotes"
    return f"{key or 'it'} = {found(value)}: expected {expected}"


def _wanted(detail: ErrorDetails, path: _Path, model: Any) -> str:
    """What a value should have been."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {context[bound]}"
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        options = str(context.get("expected", context.get("expected_tags", "")))
        names = [name.strip().strip("'") for name in options.replace(" or ", ", ").split(",")]
        near = near_misses(detail["input"], names).partition(" (known")[0] if isinstance(detail["input"], str) else ""
        return f"{options}{near}"
    if kind == "finite_number":
        return "a finite number"
    if kind in {"too_short", "too_long", "string_too_short", "string_too_long"}:
        words, bound = ("at least", "min_length") if kind.endswith("short") else ("at most", "max_length")
        count = context[bound]
        unit = "character" if isinstance(detail["input"], str) else "entry"
        return f"{words} {count} {unit if count == 1 else 'entries' if unit == 'entry' else 'characters'}"
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        # A pattern against control characters says nothing to a reader.
        if "x1f" in pattern:
            return "text without control characters"
        return _PATTERNS.get(pattern, f"text of the form {pattern}")
    if kind.startswith(("model", "dataclass")):
        keys = known_keys(model, path)
        return f"a mapping with the keys {', '.join(keys)}" if keys else "a mapping"
    if kind == "int_from_float":
        return "a whole number"
    if kind == "int_parsing_size":
        return "a smaller number"
    for word, wanted in _KINDS.items():
        if kind.startswith(f"{word}_"):
            return wanted
    return detail["msg"].replace("Input should be ", "").replace("valid ", "")


def found(value: Any) -> str:
    """A value as a message shows it, in a few words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"'{shortened(value, 40)}'"
    if isinstance(value, int):
        return f"{value}" if value.bit_length() < 130 else f"a number of {round(value.bit_length() * 0.30103):,} digits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{shortened(', '.join(map(str, value)), 40)}}}"
    if isinstance(value, Sequence | set | frozenset):
        return f"a list of {len(value)}"
    return "a date" if isinstance(value, datetime.date) else f"a {type(value).__name__}"


def known_keys(model: Any, path: Iterable[str | int]) -> list[str]:
    """The keys that a model knows at a path; empty where any key may stand there."""
    owners = [model]
    for step in path:
        owners = [inner for owner in owners for inner in _inside(owner, step)]
    fields: dict[str, None] = {}
    for plain in (plain for owner in owners for plain in _plain(owner)):
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            fields.update(dict.fromkeys(field.alias or name for name, field in plain.model_fields.items()))
    return list(fields)


def _inside(annotation: Any, step: str | int) -> list[Any]:
    """The types that a type has at a key or position."""
    inner: list[Any] = []
    for plain in _plain(annotation):
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            inner += [field.annotation for name, field in plain.model_fields.items() if step in (field.alias, name)]
        elif arguments := [argument for argument in get_args(plain) if argument is not Ellipsis]:
            inner.append(arguments[-1])
    return inner


def _plain(annotation: Any) -> list[Any]:
    """The members of a union, without what annotates them."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [plain for member in get_args(annotation) for plain in _plain(member)]
    return [annotation]


def _dotted(path: _Path) -> str:
    return shortened(".".join(shortened(str(step)) for step in path), 150)
