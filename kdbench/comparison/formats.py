"""A comparison as Markdown, CSV, LaTeX, JSON or HTML."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kdbench.comparison.html import html
from kdbench.comparison.text_table import TextTable
from kdbench.comparison.text_tables import left_out, text_tables
from kdbench.errors import unknown

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
_NEGATIVE = re.compile(r"(?<![\w.-])-(?=\d)")
"""A hyphen that is a minus sign."""
# Stands for two hyphens until every sign has been escaped.
_OPTION = "\0"
_LONGEST_FLOAT = 25
"""Rows of a float at most; a longer table breaks over pages."""
LATEX_NEEDS = r"% needs \usepackage{booktabs}, \usepackage{graphicx} and \usepackage{longtable}"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "–": "--",
    _OPTION: "{-}{-}",
    "−": "$-$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "<": "$<$",
    ">": "$>$",
}


def markdown(comparison: ComparedTables) -> str:
    """GitHub's Markdown."""
    parts = []
    for table in text_tables(comparison):
        parts.append(f"## {_md(table.title)}\n")
        if table.caption:
            parts.append(f"{_md(table.caption)}\n")
        rules = [":--" if place in table.words else "--:" for place in range(len(table.headers))]
        lines = [_md_row(map(_md, table.headers)), _md_row(rules), *(_md_row(map(_md, row)) for row in table.rows)]
        parts.append("\n".join(lines) + "\n")
        if table.notes:
            parts.append("\n".join(f"- {_md(note)}" for note in table.notes) + "\n")
    if lines := left_out(comparison):
        parts.append("\n".join(f"- {_md(line)}" for line in lines) + "\n")
    return "\n".join(parts)


def csv(comparison: ComparedTables) -> str:
    """The frame of methods; shares in [0, 1]."""
    return comparison.methods.to_csv(index=False)


def latex(comparison: ComparedTables) -> str:
    """Tables for the package booktabs; long ones break over pages. Bold: shown to be better than all others."""
    parts = [LATEX_NEEDS, *(latex_table(table) for table in text_tables(comparison))]
    parts += [f"% {tex(line)}" for line in left_out(comparison)]
    return "\n\n".join(parts) + "\n"


def as_json(comparison: ComparedTables) -> str:
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
        "agreements": [
            {"tables": [one.first, one.second], "differs": one.differs, **dataclasses.asdict(one.ranks)}
            for one in comparison.agreements
        ],
        "references": [vars(one) for one in comparison.references],
    }
    for name in ("methods", "pairs", "seeds", "per_class"):
        # By way of pandas, which writes null where a number is missing.
        content[name] = json.loads(getattr(comparison, name).to_json(orient="records", double_precision=12))
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, tuple[str, Callable[[ComparedTables], str]]] = {
    "md": ("md", markdown),
    "csv": ("csv", csv),
    "latex": ("tex", latex),
    "html": ("html", html),
    "json": ("json", as_json),
}
"""Name of a format → ending of its file, and what writes it."""


def render(comparison: ComparedTables, name: str) -> str:
    """A comparison in a format of `FORMATS`.

    Raises:
        UsageError: There is no such format.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS, hint="Name one of them; --save FOLDER writes all.")
    return FORMATS[name][1](comparison)


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _md_row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def tex(text: str) -> str:
    """A text as LaTeX prints it, in one line: every sign that means something to it is escaped."""
    # Two hyphens of an option would become one dash.
    signed = _NEGATIVE.sub("−", " ".join(text.split())).replace("--", _OPTION)
    return "".join(_LATEX.get(sign, sign) for sign in signed)


def latex_table(table: TextTable) -> str:
    """One table; a long one breaks over pages."""
    columns = "".join("l" if place in table.words else "r" for place in range(len(table.headers)))
    caption = tex(f"{table.title}. {table.caption.rstrip('.')}." if table.caption else f"{table.title}.")
    head = "\n".join([r"\toprule", " & ".join(map(tex, table.headers)) + r" \\", r"\midrule"])
    rows = "\n".join(_latex_row(table, number) for number in range(len(table.rows)))
    notes = "".join(rf"\par\smallskip\footnotesize {tex(note.rstrip('.'))}." + "\n" for note in table.notes)
    if len(table.rows) > _LONGEST_FLOAT:
        return (
            f"{{\\scriptsize\\setlength{{\\tabcolsep}}{{3pt}}\n\\begin{{longtable}}{{{columns}}}\n\\caption{{{caption}}}\\\\\n"
            f"{head}\n\\endfirsthead\n{head}\n\\endhead\n\\bottomrule\n\\endfoot\n"
            f"{rows}\n\\end{{longtable}}\n{notes}}}"
        )
    return (
        f"\\begin{{table}}\n\\caption{{{caption}}}\n\\centering\\resizebox{{\\linewidth}}{{!}}{{%\n"
        f"\\begin{{tabular}}{{{columns}}}\n{head}\n{rows}\n\\bottomrule\n\\end{{tabular}}}}\n{notes}\\end{{table}}"
    )


def _latex_row(table: TextTable, number: int) -> str:
    cells = [
        rf"\textbf{{{tex(text)}}}" if (number, place) in table.marks else tex(text)
        for place, text in enumerate(table.rows[number])
    ]
    return " & ".join(cells) + r" \\"
