"""What a test of the built site asks of it: its pages, and what each of them links and loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""Tags that make a browser fetch something."""


@dataclass
class SitePage(HTMLParser):
    """One page of HTML.

    Attributes:
        path: Its file.
        ids: Anchors in it.
        links: Where its links lead.
        loads: What a browser fetches to show it.
        tags: How often each tag stands in it.
    """

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.ids |= {given[key] or "" for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in LOADS and given.get(LOADS[tag]) and given.get("rel") != "canonical":
            self.loads.append(given[LOADS[tag]] or "")


def dead(pages: dict[Path, SitePage]) -> list[str]:
    """The links and files that lead nowhere, as `page -> address`.

    Args:
        pages: Every page of the site by its resolved path.
    """
    found = []
    for page in pages.values():
        for address in {*page.links, *page.loads}:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
            anchor = unquote(parts.fragment)
            # What begins with __ is set by the theme's script.
            named = not anchor or anchor.startswith("__") or target not in pages or anchor in pages[target].ids
            if not (target.is_file() and named):
                found.append(f"{page.path} -> {address}")
    return sorted(found)


def elsewhere(page: SitePage) -> list[str]:
    """What a browser would fetch from another place than the site itself."""
    return [address for address in page.loads if urlsplit(address).scheme not in ("", "data") or address[:2] == "//"]
