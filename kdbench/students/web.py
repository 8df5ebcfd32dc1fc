"""A stream as a page in a browser of this machine."""

from __future__ import annotations

import io
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from kdbench.errors import RunFailed, UsageError
from kdbench.students.stream import Watched
from kdbench.students.student import Student
from kdbench.text.wording import counted

HOST = "127.0.0.1"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FILES = Path(__file__).parent / "page"
_KEPT = 2000
"""Windows that the page can ask for; older ones are dropped."""
_TOP = 5
_START_SECONDS = 15.0


class Page:
    """Serves a stream on this machine alone, from a thread of its own.

    Args:
        student: Whose stream it is.
        port: Where it listens; 0 takes any free one.

    Raises:
        UsageError: The port cannot be used.

    Attributes:
        address: Of the page.
    """

    def __init__(self, student: Student, port: int = 0) -> None:
        self._classes = student.classes
        self._about = (
            f"{', '.join(student.sources)} → {counted(len(student.classes), 'class')}, {student.program.runtime}"
        )
        self._seen: list[Watched] = []
        self._over: str | None = None
        self._lock = threading.Lock()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            raise UsageError(
                f"port {port} of {HOST} cannot be used: {error.strerror or error}",
                hint="Choose another: --port 0 takes any free one.",
            ) from error
        self.address = f"http://{HOST}:{self._socket.getsockname()[1]}/"
        config = uvicorn.Config(self._app(), log_level="error", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True, name="page"
        )

    def __enter__(self) -> Page:
        """Starts to serve.

        Raises:
            RunFailed: It does not start.
        """
        self._thread.start()
        began = time.monotonic()
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() - began > _START_SECONDS:
                raise RunFailed("the page cannot be served", hint="Go without it: leave out --web.")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def add(self, watched: Watched) -> None:
        """Shows a window."""
        with self._lock:
            self._seen = [*self._seen[-_KEPT + 1 :], watched]

    def end(self, why: str) -> None:
        """Says that nothing more comes.

        Args:
            why: In a few words.
        """
        self._over = why

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._file("index.html")),
            Route("/page.css", self._file("page.css")),
            Route("/page.js", self._file("page.js")),
            Route("/state.json", self._state),
            Route("/shown.png", self._picture),
        ]
        # A stranger's page whose name was made to lead here must not read the stream.
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
        return Starlette(routes=routes, middleware=[hosts])

    @staticmethod
    def _file(name: str) -> Any:
        async def answer(_: Request) -> Response:
            return FileResponse(_FILES / name, headers=HEADERS)

        return answer

    async def _state(self, request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "-1"))
        except ValueError:
            return JSONResponse({"error": "after is a number"}, status_code=400, headers=HEADERS)
        with self._lock:
            new = [each for each in self._seen if each.number > after]
        state = {"student": self._about, "over": self._over, "windows": [self._plain(each) for each in new]}
        return JSONResponse(state, headers=HEADERS)

    async def _picture(self, request: Request) -> Response:
        from PIL import Image

        with self._lock:
            shown = [each for each in self._seen if str(each.number) == request.query_params.get("window")]
        if not shown or shown[0].shown is None:
            return Response(status_code=404, headers=HEADERS)
        content = io.BytesIO()
        Image.fromarray(shown[0].shown).save(content, "png")
        return Response(content.getvalue(), media_type="image/png", headers=HEADERS)

    def _plain(self, watched: Watched) -> dict[str, Any]:
        smoothed = watched.smoothed
        order = [] if smoothed is None else (-smoothed).argsort(kind="stable")[:_TOP].tolist()
        return {
            "number": watched.number,
            "start": watched.start,
            "end": watched.end,
            "place": order[0] if order else None,
            "label": self._classes[order[0]] if order else None,
            "missing": watched.missing or "nothing to be seen",
            "top": [[self._classes[place], float(smoothed[place])] for place in order] if smoothed is not None else [],
            "latency_ms": watched.latency_ms,
            "holds_hz": watched.holds_hz,
            "has_picture": watched.shown is not None,
        }
