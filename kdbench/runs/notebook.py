"""A run as a notebook shows it: its scores in a table, its learning curves, and where it lies."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from kdbench.recipes.pairs import pair_of, title_of
from kdbench.recipes.track import words_of
from kdbench.runs.gain import gain_now

_METRICS = {"accuracy": "accuracy, %", "macro_f1": "macro F1, %", "map": "mAP, %"}
_PICTURES = ("learning_curves.png", "confusion_matrix.png")


def html(folder: Path, record: Mapping[str, Any]) -> str:
    """A finished run as HTML without a script; everything that a recipe or a user has named is escaped.

    Args:
        folder: Its folder.
        record: What its `run.json` says.
    """
    of = [title_of(*pair_of(record)), *(str(record[key]) for key in ("dataset", "protocol", "preset"))]
    title = ", ".join(filter(None, [*of, words_of(record["conditions"]), f"seed {record['seed']}"]))
    head = "".join(f"<th>{name}</th>" for name in ("", *_METRICS.values()))
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, cells in _rows(folder, record)
    )
    return (
        f'<div class="kdbench"><p><b>{escape(title)}</b></p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{_picture(folder)}<p><small>{escape(str(folder))}</small></p></div>"
    )


def _rows(folder: Path, record: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    yield ("student" if record["recipe"]["student"] else "teacher"), _percent(record["metrics"])
    if record["recipe"]["student"] and record.get("teacher"):
        yield "teacher", _percent(record["teacher"])
    for name, report in (record.get("teachers") or {}).items():
        yield f"teacher {name}", _percent(report)
    now = gain_now(folder.parent, record)
    if gain := now.record():
        yield f"gain over {now.over}", [*(f"{100 * gain[key]:+.2f}" for key in ("accuracy", "macro_f1")), ""]


def _percent(metrics: Mapping[str, Any]) -> list[str]:
    return ["" if metrics.get(key) is None else f"{100 * metrics[key]:.2f}" for key in _METRICS]


def _picture(folder: Path) -> str:
    """The learning curves inside the page; nothing where neither they nor a confusion matrix were drawn."""
    for name in _PICTURES:
        if (folder / name).is_file():
            data = base64.b64encode((folder / name).read_bytes()).decode()
            return f'<img alt="{name}" src="data:image/png;base64,{data}" style="max-width: 100%">'
    return ""
