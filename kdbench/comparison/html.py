"""A comparison as one HTML page that needs nothing else: no script, no other origin, everything escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from kdbench.comparison.pictures import ComparisonPicture, accuracies, pictures
from kdbench.comparison.text_table import TextTable
from kdbench.comparison.text_tables import left_out, text_tables

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
td.word { overflow-wrap: anywhere; min-width: 7rem; } td.word:first-child { min-width: 11rem; }
th { border-bottom: 2px solid #222; vertical-align: bottom; } th.word, td.word { text-align: left; }
td.best { font-weight: bold; }
p.about, ul { color: #555; font-size: .87rem; } img { max-width: 100%; height: auto; margin: .8rem 0; }
@media (max-width: 44rem) {
  thead { display: none; } table, tbody, tr, td { display: block; width: 100%; }
  tr { border-bottom: 2px solid #ccc; padding: .5rem 0; }
  td, td.word { text-align: left; border: 0; padding: .1rem 0; overflow-wrap: anywhere; }
  td:first-child { font-weight: bold; } td:not(:first-child)::before { content: attr(data-head) ": "; color: #666; }
  .picture { overflow-x: auto; } .picture img { min-width: 46rem; max-width: none; }
  .picture::before { content: "Wider than the screen: swipe it sideways."; font-size: .87rem; color: #666; }
}
"""
_DRAWN = 3
"""Tables whose picture a notebook shows."""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html(comparison: ComparedTables, drawn: Sequence[ComparisonPicture] | None = None) -> str:
    """The page, with its pictures inside.

    Args:
        comparison: What was compared.
        drawn: Its pictures, where they are drawn already.
    """
    drawn = pictures(comparison) if drawn is None else drawn
    body = [_section(table) for table in text_tables(comparison)]
    body += [_image(picture.title, picture.svg()) for picture in drawn]
    if lines := left_out(comparison):
        body.append(_list(lines))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>kdbench: comparison</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        "<h1>Comparison of methods</h1>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def fragment(comparison: ComparedTables) -> str:
    """The main tables and the accuracies of the first ones as pictures, for a page that has its own style."""
    parts = [_section(table) for table in text_tables(comparison, {"results"})]
    parts += [_embedded(picture.title, picture.svg()) for picture in accuracies(comparison, _DRAWN)]
    return f'<div class="kdbench">{"".join([*parts, _list(left_out(comparison))])}</div>'


def _section(table: TextTable) -> str:
    head = "".join(
        f"<th{' class=word' if place in table.words else ''} scope=col>{escape(text)}</th>"
        for place, text in enumerate(table.headers)
    )
    rows = "\n".join(
        f"<tr>{''.join(_cell(table, (number, place), text) for place, text in enumerate(row))}</tr>"
        for number, row in enumerate(table.rows)
    )
    caption = f'<p class="about">{escape(table.caption)}</p>\n' if table.caption else ""
    return (
        f'<h2>{escape(table.title)}</h2>\n{caption}<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>\n{_list(table.notes)}"
    )


def _cell(table: TextTable, at: tuple[int, int], text: str) -> str:
    kinds = [name for name, true in (("word", at[1] in table.words), ("best", at in table.marks)) if true]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f'<td{kind} data-head="{escape(table.headers[at[1]])}">{escape(_unbroken(text))}</td>'


def _unbroken(text: str) -> str:
    """An interval stays on one line."""
    return re.sub(r"(?<=\d), (?=[+-]?\d)", ",\u00a0", text)


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _image(title: str, svg: bytes) -> str:
    return f"<h2>{escape(title)}</h2>\n{_embedded(title, svg)}"


def _embedded(title: str, svg: bytes) -> str:
    # An SVG behind <img> runs no script, whatever its labels say.
    data = base64.b64encode(svg).decode()
    return f'<div class="picture"><img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}"></div>'
