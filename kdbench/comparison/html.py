"""A comparison as one HTML page that needs nothing else: no script, no other origin, everything escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from kdbench.comparison.pictures import ComparisonPicture, accuracies, pictures
from kdbench.comparison.text_table import TextTable
from kdbench.comparison.text_tables import left_out, text_tables
from kdbench.recipes.track import track_of

if TYPE_CHECKING:
    from kdbench.comparison.result import ComparedTables


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.tabs > input { position: absolute; opacity: 0; }
.tabs > label { display: inline-block; padding: .5rem .9rem; margin: 0 .3rem .3rem 0; border: 1px solid #ccc;
  border-radius: .4rem; cursor: pointer; }
.tabs > input:checked + label { background: #222; color: #fff; border-color: #222; }
.tabs > input:focus-visible + label { outline: 3px solid #4a90d9; }
@media screen { .tabs > section { display: none; } .tabs h2.track { display: none; } }
@media print { .tabs > label { display: none; } }
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
    sheets = text_tables(comparison)
    tracks = _tables_by_track(comparison)
    if len(tracks) < 2:
        body = [*map(_section, sheets), *map(_image, drawn)]
    else:
        panels = {
            title: [
                *(_section(sheet) for sheet in sheets if sheet.number in numbers),
                *(_image(picture) for picture in drawn if picture.number in numbers),
            ]
            for title, numbers in tracks.items()
        }
        body = [
            *(_image(picture) for picture in drawn if not picture.number),
            _tabs(panels),
            *(_section(sheet) for sheet in sheets if not sheet.number),
        ]
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


def _tables_by_track(comparison: ComparedTables) -> dict[str, set[int]]:
    """The numbers of the tables of each track, by the track's name."""
    tracks: dict[str, set[int]] = {}
    for number, table in enumerate(comparison.tables, 1):
        tracks.setdefault(track_of(table.group.conditions).name, set()).add(number)
    return tracks


def _tabs(panels: Mapping[str, Sequence[str]]) -> str:
    """Panels of which one is shown, chosen by its tab: no script is needed. On paper all are there."""
    parts, rules = [], []
    for number, title in enumerate(panels, 1):
        checked = " checked" if number == 1 else ""
        parts.append(f'<input type="radio" name="track" id="tab{number}"{checked}>')
        parts.append(f'<label for="tab{number}">{escape(title)}</label>')
        rules.append(f"#tab{number}:checked ~ #panel{number}")
    shown = f"<style>@media screen {{ {', '.join(rules)} {{ display: block; }} }}</style>"
    for number, (title, body) in enumerate(panels.items(), 1):
        heading = f'<h2 class="track">{escape(title)}</h2>'
        parts.append(f'<section id="panel{number}">{heading}{"".join(body)}</section>')
    note = "Each tab is a track: what the student was given of the training part. Tracks are never ranked together."
    legend = f'<p class="about">{note}</p>'
    return f'{shown}{legend}<div class="tabs">{"".join(parts)}</div>'


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


def _image(picture: ComparisonPicture) -> str:
    return f"<h2>{escape(picture.title)}</h2>\n{_embedded(picture.title, picture.svg())}"


def _embedded(title: str, svg: bytes) -> str:
    # An SVG behind <img> runs no script, whatever its labels say.
    data = base64.b64encode(svg).decode()
    return f'<div class="picture"><img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}"></div>'
