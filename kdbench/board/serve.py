"""Shows a built site in a browser, from this machine to this machine."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kdbench.board.build import MARK
from kdbench.errors import UsageError

HOST = "127.0.0.1"
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".yaml": "text/plain; charset=utf-8",
        ".bib": "text/plain; charset=utf-8",
        ".tex": "text/plain; charset=utf-8",
        ".html": "text/html; charset=utf-8",
    }

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002
        """No lists of folders; a page is asked for by its name."""
        self.send_error(404, "there is no such page")

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def server(site: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a site, bound to this machine alone; `serve_forever` starts it.

    Args:
        site: The site's folder.
        port: Where it listens; 0 takes any free one.

    Raises:
        UsageError: There is no site in the folder, or the port is taken.
    """
    if not (site / MARK).is_file():
        raise UsageError(f"there is no site in {site}", hint="Build it: kdbench leaderboard build")
    try:
        return ThreadingHTTPServer((HOST, port), functools.partial(_Handler, directory=str(site)))
    except OSError as error:
        raise UsageError(f"port {port} cannot be used: {error.strerror}", hint="Choose another: --port 0") from error
