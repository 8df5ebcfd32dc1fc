"""Shows a built site in a browser, from this machine to this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import threading
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

from kdbench.errors import UsageError
from kdbench.leaderboard.build import MARK

HOST = "127.0.0.1"
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
SECONDS = 30
"""How long a request may take from its first byte to the last one of its answer."""
CONNECTIONS = 64
"""How many are answered at a time; more have to wait."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
    ".bib": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".png": "image/png",
}
_ALLOWED = "GET, HEAD"
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Server(ThreadingHTTPServer):
    """A server of one site.

    Args:
        site: Its folder.
        host: Where it listens.
        port: The same.
    """

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, site: Path, host: str, port: int) -> None:
        self.site = site.absolute()
        self.host = host
        self._places = threading.Semaphore(CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: str) -> None:
        """Answers one connection, in bounded time, when there is a place."""
        with self._places:
            # A client that sends or takes a byte per second would hold its place for hours.
            timer = threading.Timer(SECONDS, _cut, [request])
            timer.daemon = True
            timer.start()
            try:
                super().process_request_thread(request, client_address)
            finally:
                timer.cancel()

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a client that went away."""


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = SECONDS
    server_version = "kdbench"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def __getattr__(self, name: str) -> object:
        # Every other method, whatever its name.
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, "this site is only read")

    def _answer(self, *, with_content: bool) -> None:
        if not self._named_rightly():
            # A stranger's page whose name was made to lead here must not read the site.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this site has another name")
            return
        try:
            path = urllib.parse.urlsplit(self.path).path
            opened = self._found(path)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "this is not an address of a page")
            return
        if opened is None:
            self.send_error(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        with opened as file:
            size = os.fstat(file.fileno()).st_size
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _TYPES.get(Path(file.name).suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if with_content:
                shutil.copyfileobj(file, self.wfile)

    def _named_rightly(self) -> bool:
        """Whether the request asks for this server by one of its names; only a name can lead elsewhere."""
        named = self.headers.get_all("Host", [])
        if len(named) != 1:
            return False
        try:
            host = urllib.parse.urlsplit(f"//{named[0]}").hostname
        except ValueError:
            return False
        return host in {"localhost", self.server.host.lower(), self.connection.getsockname()[0]}

    def _found(self, path: str) -> BinaryIO | None:
        """The file of a page, opened; None where there is none, or it lies behind a link.

        Raises:
            ValueError: The address is none.
        """
        plain = urllib.parse.unquote(path, errors="strict")
        if not plain.startswith("/") or not plain.isprintable() or "\\" in plain:
            raise ValueError(plain)
        names = [name for name in plain.split("/") if name]
        # What is hidden, such as the mark of a site, is no page.
        if any(name.startswith(".") for name in names):
            return None
        place = self.server.site
        try:
            for name in names[:-1]:
                place = place / name
                if not stat.S_ISDIR(os.lstat(place).st_mode):
                    return None
            last = place / names[-1] if names else place
            if plain.endswith("/"):
                if not stat.S_ISDIR(os.lstat(last).st_mode):
                    return None
                last = last / "index.html"
            file = open(last, "rb", opener=_opener)  # noqa: SIM115
        except OSError:
            return None
        # Looked at once it is open: something else may have taken its place since.
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            return None
        return file

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Allow", _ALLOWED)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _opener(path: str, _: int) -> int:
    return os.open(path, _FLAGS)


def server(site: Path, port: int = 0, host: str = HOST) -> Server:
    """A server of a site, bound to this machine alone by default; `serve_forever` starts it.

    Args:
        site: The site's folder.
        port: Where it listens; 0 takes any free one.
        host: The name or address that it is bound to; requests for another name are refused.

    Raises:
        UsageError: There is no site in the folder, or the address cannot be used.
    """
    if not (site / MARK).is_file():
        raise UsageError(f"there is no site in {site}", hint="Build it: kdbench leaderboard build")
    try:
        return Server(site, host, port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{host}, port {port}, cannot be used: {reason}", hint="Choose another: --port 0 takes any free one."
        ) from error
