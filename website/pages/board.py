"""The leaderboard, as a part of the same site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdbench.leaderboard.build import build

ROOT = Path(__file__).parents[2]
FOLDER = "leaderboard"


def palette() -> str:
    """The colours that leaderboard and documentation share."""
    return (ROOT / "leaderboard/site/palette.css").read_text(encoding="utf-8")


def files(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file of the built leaderboard.

    Args:
        scratch: An empty folder, to build in.
    """
    site = build(ROOT / "leaderboard", scratch / "site", docs="../index.html").folder
    for path in sorted(site.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield f"{FOLDER}/{path.relative_to(site).as_posix()}", path.read_bytes()
