"""What a docstring says, as Markdown: formulas as mathematics, arguments as tables."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from griffe import Docstring

from kdbench.cli.docstring import prose
from pages.formulas import NoFormula, is_formula, latex

_LONG = 26
"""Formulas that define something and are longer stand on a line of their own, in characters of their code."""
_WIDEST = 44
"""So do all that are longer than this."""
_GIVEN = {"batch", "context", "dataset", "statistics"}


def text_of(component: Any) -> str:
    """Its docstring, without indent."""
    return inspect.getdoc(component) or ""


def paragraphs(text: str) -> Iterator[str]:
    """The prose of a docstring, a paragraph at a time, as Markdown."""
    for paragraph in prose(text):
        if "\n " in paragraph or paragraph.startswith("    "):
            yield from _with_block(paragraph)
        else:
            yield mathematical(paragraph)


def _with_block(paragraph: str) -> Iterator[str]:
    """A paragraph that has indented lines: formulas where all of them are, else as they stand."""
    lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
    if all(is_formula(line.rstrip(",.")) for line in lines):
        yield from (displayed(line) for line in lines)
    else:
        yield f"```text\n{textwrap.dedent(paragraph)}\n```"


def mathematical(text: str) -> str:
    """A paragraph in which code that is a formula becomes mathematics."""

    def one(found: re.Match[str]) -> str:
        code = " ".join(found[1].split())
        if not is_formula(code):
            return f"`{code}`"
        if (len(code) > _LONG and " = " in code) or len(code) > _WIDEST:
            return f"\n\n{displayed(code)}\n\n"
        return f"${latex(code, fractions=False)}$"

    parts = re.split(r"(`[^`]+`)", text)
    made = "".join(re.sub(r"`([^`]+)`", one, part) if part.startswith("`") else plain(part) for part in parts)
    made = re.sub(r"\n\$\$\s*\n\s*([,.;:])\s*", r"\1\n$$\n\n", made)
    return re.sub(r"\n{3,} *", "\n\n", made).strip()


def displayed(formula: str) -> str:
    """A formula on a line of its own."""
    return f"$$\n{latex(formula.rstrip(',.'))}\n$$"


def equation(line: str) -> str:
    """A line of a recipe's equations: mathematics where it is a formula, else as it stands."""
    words = re.findall(r"(?<![_^\w])[A-Za-z]{3,}\b", line)
    try:
        made = latex(line)
    except NoFormula:
        return f"`{line}`"
    known = re.findall(r"operatorname\{(\w+)\}|\\(\w+)", made)
    meant = {name for pair in known for name in pair} | {"eps", "sum", "sqrt"}
    return f"$$\n{made}\n$$" if set(words) <= meant else f"`{line}`"


def plain(text: str) -> str:
    """Text in which no character is markup."""
    return re.sub(r"([*_\[\]])", r"\\\1", text.replace("<", "&lt;").replace("$", "&#36;"))


def head(title: str, description: str) -> str:
    """What stands before a page: its title and a line for lists of results."""
    return f"---\ntitle: {json.dumps(title)}\ndescription: {json.dumps(description)}\n---\n\n# {title}"


def cell(text: str) -> str:
    """Text of one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown; empty without a row."""
    body = [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    names = list(headers)
    return "\n".join([f"| {' | '.join(names)} |", "|" + "---|" * len(names), *body]) if body else ""


def sections(text: str, kind: str) -> dict[str, str]:
    """What a docstring says of each of its arguments, attributes or errors.

    Args:
        text: The docstring.
        kind: `parameters`, `attributes` or `raises`.
    """
    found: dict[str, str] = {}
    for section in Docstring(text).parse("google", warn_missing_types=False, warn_unknown_params=False):
        if section.kind.name == kind:
            for entry in section.value:
                found[getattr(entry, "name", None) or str(entry.annotation)] = entry.description
    return found


def parameters(component: Any) -> str:
    """The table of those that a recipe may set; empty where there is none."""
    explained = sections(text_of(component), "parameters")
    rows = []
    for parameter in inspect.signature(component).parameters.values():
        optional = parameter.default is not parameter.empty
        if parameter.name in _GIVEN or not (parameter.kind is parameter.KEYWORD_ONLY or optional):
            continue
        default = f"`{parameter.default!r}`" if optional else "required"
        rows.append([f"`{parameter.name}`", default, mathematical(explained.get(parameter.name, ""))])
    return table(("parameter", "default", "what it does"), ([name, value, cell(words)] for name, value, words in rows))


def given(component: Any) -> str:
    """The table of what kdbench hands over, with shapes; empty where the docstring names none."""
    explained = sections(text_of(component), "parameters")
    settable = {
        parameter.name
        for parameter in inspect.signature(component).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty
    } - _GIVEN
    rows = [[f"`{name}`", cell(mathematical(words))] for name, words in explained.items() if name not in settable]
    return table(("takes", "what it is"), rows)
