"""A comparison as Markdown, CSV, LaTeX, JSON or HTML."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kdbench.comparison.html import html
from kdbench.comparison.sheets import Sheet, left_out, sheets
from kdbench.errors import unknown

if TYPE_CHECKING:
    from kdbench.comparison.result import Comparison


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
_NEGATIVE = re.compile(r"(?<![\w.-])-(?=\d)")
"""A hyphen that is a minus sign."""
_OPTION = "\0"
_LONGEST_FLOAT = 25
"""Rows of a float at most; a longer table breaks over pages."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "–": "--",
    _OPTION: "{-}{-}",
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
    """Tables for the package booktabs; long ones break over pages. Bold: shown to be better than all others."""
    parts = ["% needs \\usepackage{booktabs}, \\usepackage{graphicx} and \\usepackage{longtable}"]
    parts += [_latex_table(sheet) for sheet in sheets(comparison)]
    parts += [f"% {_tex(line)}" for line in left_out(comparison)]
    return "\n\n".join(parts) + "\n"


def as_json(comparison: Comparison) -> str:
    """Every frame as records, the notes, and the published numbers."""
    content: dict[str, Any] = {
        "population": comparison.population,
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
    # Two hyphens of an option would become one dash.
    signed = _NEGATIVE.sub("−", " ".join(text.split())).replace("--", _OPTION)
    return "".join(_LATEX.get(sign, sign) for sign in signed)


def _latex_table(sheet: Sheet) -> str:
    columns = "".join("l" if place in sheet.words else "r" for place in range(len(sheet.headers)))
    caption = _tex(f"{sheet.title}. {sheet.caption.rstrip('.')}." if sheet.caption else f"{sheet.title}.")
    head = " & ".join(map(_tex, sheet.headers)) + r" \\"
    rows = [_latex_row(sheet, number) for number in range(len(sheet.rows))]
    notes = [rf"\par\smallskip\footnotesize {_tex(note.rstrip('.'))}." for note in sheet.notes]
    if len(rows) > _LONGEST_FLOAT:
        top = [r"\toprule", head, r"\midrule"]
        return "\n".join(
            [
                r"{\scriptsize\setlength{\tabcolsep}{3pt}",
                rf"\begin{{longtable}}{{{columns}}}",
                rf"\caption{{{caption}}}\\",
                *top,
                r"\endfirsthead",
                *top,
                r"\endhead",
                r"\bottomrule",
                r"\endfoot",
                *rows,
                r"\end{longtable}",
                *notes,
                "}",
            ]
        )
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            r"\centering\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            *notes,
            r"\end{table}",
        ]
    )


def _latex_row(sheet: Sheet, number: int) -> str:
    cells = [
        rf"\textbf{{{_tex(text)}}}" if (number, place) in sheet.marks else _tex(text)
        for place, text in enumerate(sheet.rows[number])
    ]
    return " & ".join(cells) + r" \\"
