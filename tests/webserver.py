"""A web server on this machine, with a certificate of its own, that can misbehave as real ones do."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Page:
    """What the server answers for one path.

    Attributes:
        content: The bytes.
        etag: Sent where it is not empty.
        ranges: Whether it goes on where it is asked to.
        cut_after: Bytes after which each answer's connection is closed, though the header promises all.
        status: Answered instead of the content where it is not 200.
        location: Where a redirect leads.
        headers: Sent besides, instead of those of the same name.
        pause: Seconds between two pieces.
        piece: Bytes of a piece.
        drip: Answers with a header that comes byte by byte, without end.
    """

    content: bytes = b""
    etag: str = ""
    ranges: bool = True
    cut_after: int | None = None
    status: int = 200
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0
    piece: int = 2**16
    drip: bool = False


@dataclass
class Server:
    """A running server: its address, its pages, and the requests that came."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def ranges_of(self, path: str) -> list[str | None]:
        """The `Range` header of each request for a path."""
        return [header for asked, header in self.asked if asked == path]


def certificate(folder: Path) -> Path:
    """Writes a certificate for this machine with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@contextlib.contextmanager
def serving(certificate: Path | None) -> Iterator[Server]:
    """Runs a server; https with a certificate, http without."""
    server: Server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.asked.append((self.path, asked))
            page = server.pages.get(self.path, Page(status=404))
            start, status = 0, page.status
            unchanged = self.headers.get("If-Range") in {None, page.etag}
            if asked and page.ranges and unchanged and status == 200:
                start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
                if start >= len(page.content):
                    status = 416
            body = page.content[start:] if status in {200, 206} else b""
            headers = {"Content-Length": str(len(body))}
            if page.etag:
                headers["ETag"] = page.etag
            if status == 206:
                headers["Content-Range"] = f"bytes {start}-{len(page.content) - 1}/{len(page.content)}"
            if status == 416:
                headers["Content-Range"] = f"bytes */{len(page.content)}"
            if page.location:
                headers["Location"] = page.location
            while page.drip:
                self.wfile.write(b"H")
                time.sleep(page.pause)
            self.send_response(status)
            for name, value in (headers | page.headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            for at in range(0, len(body[: page.cut_after]), page.piece):
                self.wfile.write(body[: page.cut_after][at : at + page.piece])
                time.sleep(page.pause)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as running:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            running.socket = context.wrap_socket(running.socket, server_side=True)
        server = Server(f"{'https' if certificate else 'http'}://localhost:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
