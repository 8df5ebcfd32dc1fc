"""YAML as one reads it in a terminal: in few lines, none of them wider than it must be."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from kdbench.util import plain_yaml


def as_yaml(content: Mapping[str, Any], width: int) -> str:
    """YAML in few lines, none of them wider than it must be: what fits stands in one."""
    lines: list[str] = []
    for key, value in content.items():
        in_one = _in_one({key: value})
        if len(in_one) <= width or not _holds_mappings(value):
            lines.append(wrapped(in_one, width))
        elif isinstance(value, Mapping):
            lines += [f"{key}:", textwrap.indent(as_yaml(value, width - 2), "  ")]
        else:
            lines += [f"{key}:", *(_item(entry, width) for entry in value)]
    return "\n".join(lines)


def _in_one(content: Mapping[str, Any]) -> str:
    """A key and its value as YAML in a line, however long; text of several lines keeps them."""
    ((_, value),) = content.items()
    is_nested = isinstance(value, Mapping | list)
    text = plain_yaml.dump(content, width=math.inf, default_flow_style=is_nested).strip()
    return text[1:-1] if is_nested else text


def in_flow(value: Any) -> str:
    """A value as YAML in one line, however long."""
    # In a list, since a plain scalar of its own would be ended by a marker.
    return plain_yaml.dump([value], width=math.inf, default_flow_style=True).strip()[1:-1]


def _holds_mappings(value: Any) -> bool:
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any((isinstance(entry, Mapping) and entry) or _holds_mappings(entry) for entry in entries)


def _item(value: Any, width: int) -> str:
    """An item of a list, below the list's key."""
    in_one = in_flow(value)
    if len(in_one) + 2 > width and _is_deep(value):
        return "- " + textwrap.indent(as_yaml(value, width - 2), "  ").lstrip()
    return wrapped(f"- {in_one}", width)


def _is_deep(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(entry, Mapping | list) for entry in value.values())


def wrapped(line: str, width: int) -> str:
    """A line folded to a width, its further lines indented; text of several lines is left alone."""
    if "\n" in line:
        return line
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
