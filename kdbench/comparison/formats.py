"""A comparison as Markdown, CSV, LaTeX, JSON or HTML."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

from kdbench.comparison.html import html
from kdbench.comparison.result import Comparison
from kdbench.comparison.sheets import Sheet, left_out, sheets
from kdbench.errors import unknown

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "–": "--",
    "−": "$-$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "<": "$<$",
    ">": "$>$",
}


def markdown(comparison: Comparison) -> str:
    """GitHub's Markdown."""
    parts = []
    for sheet in sheets(comparison):
        parts.append(f"## {_md(sheet.title)}\n")
        if sheet.caption:
            parts.append(f"{_md(sheet.caption)}\n")
        rules = [":--" if place in sheet.words else "--:" for place in range(len(sheet.headers))]
        lines = [_md_row(map(_md, sheet.headers)), _md_row(rules), *(_md_row(map(_md, row)) for row in sheet.rows)]
        parts.append("\n".join(lines) + "\n")
        if sheet.notes:
            parts.append("\n".join(f"- {_md(note)}" for note in sheet.notes) + "\n")
    if lines := left_out(comparison):
        parts.append("\n".join(f"- {_md(line)}" for line in lines) + "\n")
    return "\n".join(parts)


def csv(comparison: Comparison) -> str:
    """The frame of methods; shares in [0, 1]."""
    return comparison.methods.to_csv(index=False)


def latex(comparison: Comparison) -> str:
    """Tables for the package booktabs."""
    parts = ["% needs \\usepackage{booktabs} and \\usepackage{graphicx}"]
    parts += [_latex_table(sheet) for sheet in sheets(comparison)]
    parts += [f"% {_tex(line)}" for line in left_out(comparison)]
    return "\n\n".join(parts) + "\n"


def as_json(comparison: Comparison) -> str:
    """Every frame as records, the notes, and the published numbers."""
    content: dict[str, Any] = {
        "about": comparison.about,
        "metric": comparison.metric,
        "tables": [
            {
                "table": number,
                "title": table.group.title,
                "about": table.comparison.about if table.comparison else None,
                "conditions": table.group.conditions,
                "apart_from_table_1": [str(one) for one in comparison.apart(table)],
                "across": {key: dict(values) for key, values in table.group.across.items()},
                "notes": list(table.notes),
            }
            for number, table in enumerate(comparison.tables, 1)
        ],
        "left_out": [{"folder": one.folder.name, "why": one.why} for one in comparison.left_out],
        "rankings": [
            {"tables": [number for number, _ in one.blocks], **dataclasses.asdict(one.ranks)}
            for one in comparison.rankings
        ],
        "references": [vars(one) for one in comparison.references],
    }
    for name in ("methods", "pairs", "seeds", "per_class"):
        content[name] = json.loads(getattr(comparison, name).to_json(orient="records", double_precision=12))
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, tuple[str, Callable[[Comparison], str]]] = {
    "md": ("md", markdown),
    "csv": ("csv", csv),
    "latex": ("tex", latex),
    "html": ("html", html),
    "json": ("json", as_json),
}
"""Name of a format → ending of its file, and what writes it."""


def render(comparison: Comparison, name: str) -> str:
    """A comparison in a format of `FORMATS`.

    Raises:
        UsageError: There is no such format.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name][1](comparison)


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _md_row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _tex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def _latex_table(sheet: Sheet) -> str:
    columns = "".join("l" if place in sheet.words else "r" for place in range(len(sheet.headers)))
    rows = [" & ".join(map(_tex, row)) + r" \\" for row in sheet.rows]
    caption = f"{sheet.title}. {sheet.caption}." if sheet.caption else f"{sheet.title}."
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_tex(caption)}}}",
            r"\centering\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_tex, sheet.headers)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip\footnotesize {_tex(note)}." for note in sheet.notes),
            r"\end{table}",
        ]
    )
