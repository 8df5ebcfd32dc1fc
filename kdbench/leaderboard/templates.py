"""The templates of the site, with what every page has."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import __version__
from kdbench.leaderboard.tables import sees
from kdbench.leaderboard.tier import Tier
from kdbench.leaderboard.verdicts import pair_cell, signed
from kdbench.plotting import svg
from kdbench.recipes.track import words_of
from kdbench.text.wording import counted
from kdbench.util import paths
from kdbench.util.templates import templates

if TYPE_CHECKING:
    from jinja2 import Environment


def policy(style: str, script: str) -> str:
    """The content-security policy of every page: its own style and script by their hashes, embedded pictures, no more.

    Hashes instead of `'self'`, which a page that is opened from the disk cannot rely on.
    """
    return (
        f"default-src 'none'; script-src '{_hashed(script)}'; style-src '{_hashed(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def environment_of(docs: str | None) -> Environment:
    """The templates.

    Args:
        docs: Where the documentation lies, as a path from the site's folder; None where no page links it.
    """
    from markupsafe import Markup

    folder = paths.folder("leaderboard") / "site"
    palette, board, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("palette.css", "board.css", "board.js")
    )
    style = palette + board
    environment = templates(folder)
    environment.globals |= {
        # Our own files; nothing of a submission is ever marked as safe.
        "style": Markup(style),
        "script": Markup(script),
        "policy": policy(style, script),
        "version": __version__,
        "docs": docs,
        "area": svg,
        "scatter": svg.scatter,
        "pair_cell": pair_cell,
        "sees": sees,
        "signed": signed,
        "tiers": list(Tier),
        "counted": counted,
        "track_words": words_of,
    }
    return environment


def page(environment: Environment, template: str, **values: Any) -> str:
    """A page as text."""
    return environment.get_template(template).render(**values)


def write_text(path: Path, text: str) -> None:
    """Writes a file of the site, and makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
