"""What MkDocs does besides rendering: pages made of kdbench itself, the leaderboard, formulas without a script."""

from __future__ import annotations

import html
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Link, Navigation
from mkdocs.structure.pages import Page
from pages import board, command_line, losses, methods, overviews, parts, schemas, tutorials

GENERATED = (losses, methods, parts, schemas, command_line, tutorials)
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])</(?P=tag)>', re.DOTALL
)
_CODE = re.compile(r"(?<!<pre>)<code>([^<]*)</code>")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
_WORDS = 5
"""Spaces of a code that is read as a sentence."""
_scratch: list[str] = []


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the generated pages, and pages that no section names, into the navigation."""
    sections = {
        "Losses": [f"{losses.FOLDER}/{name}.md" for name in losses.names()],
        "Methods": [f"{methods.FOLDER}/{name}.md" for name in methods.names()],
    }
    listed = set(_named(config.nav))
    unlisted = sorted(path.name for path in Path(config.docs_dir).glob("*.md") if path.name not in listed)
    for entry in config.nav or ():
        for name, children in entry.items():
            if isinstance(children, list):
                children[:] = [_filled(child, sections) for child in children]
            if name == "How to":
                children += unlisted
    return config


def _filled(entry: Any, sections: dict[str, list[str]]) -> Any:
    """An entry of the navigation; one of `sections` gets its pages behind its own."""
    ((title, path),) = entry.items() if isinstance(entry, dict) else [("", entry)]
    return {title: [path, *sections[title]]} if title in sections else entry


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav or ()
    return [path for entry in inner for path in _named(entry)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages, the palette that the leaderboard has too, and the leaderboard."""
    for source in GENERATED:
        for path, content in source.pages():
            files.append(File.generated(config, path, content=content))
    files.append(File.generated(config, "stylesheets/palette.css", content=board.palette()))
    scratch = tempfile.mkdtemp(prefix="kdbench-board-")
    _scratch.append(scratch)
    for path, content in (*tutorials.pictures(), *board.files(Path(scratch))):
        files.append(File.generated(config, path, content=content))
    return files


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Puts the leaderboard, which is no page of MkDocs, at the end."""
    nav.items.append(Link("Leaderboard", f"{board.FOLDER}/index.html"))
    return nav


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links the names in overviews."""
    return overviews.linked(page.file.src_uri, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas become MathML, which browsers draw without a script; no line ends behind the dashes of an option.

    What is a sentence in code, such as a message in a table, may be broken into lines.
    """

    def drawn(found: re.Match[str]) -> str:
        return _mathml(found["inline"] or found["block"], block=found["block"] is not None)

    def whole(found: re.Match[str]) -> str:
        sentence = ' class="sentence"' if found[1].count(" ") >= _WORDS else ""
        return f"<code{sentence}>{_OPTION.sub(_unbroken, found[1])}</code>"

    return _CODE.sub(whole, _FORMULA.sub(drawn, content))


def _unbroken(found: re.Match[str]) -> str:
    return f'<span class="option">{found[0]}</span>'


@cache
def _mathml(escaped: str, *, block: bool) -> str:
    latex = html.unescape(escaped).strip()
    made = convert(latex, display="block" if block else "inline")
    # One that is wider than a phone is scrolled, with the keyboard as well.
    return f'<div class="formula" tabindex="0">{made}</div>' if block else f'<span class="formula">{made}</span>'


def on_post_build(config: MkDocsConfig) -> None:
    """Removes what was made aside, and of the theme's files those that no page asks for."""
    while _scratch:
        shutil.rmtree(_scratch.pop(), ignore_errors=True)
    for folder, _, names in os.walk(config.site_dir):
        for name in names:
            if name.endswith(".map"):
                Path(folder, name).unlink()
